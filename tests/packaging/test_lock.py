"""The locks: every package by hash, those of hwkm agreeing, no registry's host anywhere."""

from __future__ import annotations

import ast
import importlib.metadata
import json
import re
import subprocess
import sys
import tomllib
from pathlib import Path

import pytest

ROOT = Path(__file__).parents[2]
REQUIREMENTS = ROOT / "requirements"
LOCKS = ("build", "runtime", "dev", "interop")

# Written in two halves, so that this file is not a finding of its own test.
REGISTRY_WORDS = (
    "py" + "pi.org",
    "files.python" + "hosted",
    "registry.npm" + "js",
    "deb.deb" + "ian.org",
    "archive.ubu" + "ntu",
    "index-" + "url",
    "find-" + "links",
    "proxy.go" + "lang",
)

Pins = dict[str, tuple[str, frozenset[str]]]


def committed_files() -> list[Path]:
    listing = subprocess.run(
        ["git", "-c", "safe.directory=*", "ls-files", "-z", "--cached", "--others", "--exclude-standard"],
        cwd=ROOT,
        capture_output=True,
        check=True,
    )
    return [ROOT / name for name in listing.stdout.decode().split("\0") if name]


def locked(name: str) -> Pins:
    """Map package name to (version with marker, hashes)."""
    pins: Pins = {}
    text = (REQUIREMENTS / f"{name}.txt").read_text().replace("\\\n", " ")
    for line in text.splitlines():
        requirement, *hashes = re.split(r"\s+--hash=", line.strip())
        package, version = requirement.split("==", 1)
        pins[package] = (version, frozenset(hashes))
    return pins


def asked_for(name: str) -> set[str]:
    """Names in an .in file, without those of the files that it includes."""
    lines = (REQUIREMENTS / f"{name}.in").read_text().splitlines()
    return {line for line in map(str.strip, lines) if line and not line.startswith(("#", "-"))}


@pytest.mark.parametrize("name", LOCKS)
def test_every_locked_package_has_one_version_and_sha256_hashes(name: str) -> None:
    pins = locked(name)
    assert pins
    for package, (version, hashes) in pins.items():
        assert re.match(r"[0-9][\w.!+]*( ; .+)?$", version), package
        assert hashes, package
        assert all(re.fullmatch(r"sha256:[0-9a-f]{64}", digest) for digest in hashes), package


@pytest.mark.parametrize("name", LOCKS)
def test_everything_asked_for_is_locked(name: str) -> None:
    assert asked_for(name) <= locked(name).keys()


@pytest.mark.parametrize("name", ["build", "runtime"])
def test_the_locks_agree_with_each_other(name: str) -> None:
    dev = locked("dev")
    for package, (version, hashes) in locked(name).items():
        assert dev[package][0].partition(" ;")[0] == version.partition(" ;")[0], package
        assert dev[package][1] == hashes, package


def test_pyproject_depends_on_what_the_lock_was_made_from() -> None:
    project = tomllib.loads((ROOT / "pyproject.toml").read_text())["project"]
    assert set(project["dependencies"]) == asked_for("runtime")


def test_no_committed_file_names_a_registry() -> None:
    found = []
    for path in committed_files():
        if not path.is_file():
            continue  # deleted in the work tree, not yet in the index
        text = path.read_bytes().decode("utf-8", "replace").lower()
        name = path.relative_to(ROOT).as_posix()
        found += [(name, word) for word in REGISTRY_WORDS if word in text]
    assert found == []


def test_the_lock_files_hold_no_option_and_no_address() -> None:
    for name in LOCKS:
        text = (REQUIREMENTS / f"{name}.txt").read_text()
        assert "://" not in text
        assert not re.search(r"^-", text, re.MULTILINE)


def test_the_javascript_lock_has_a_hash_of_each_package_and_no_address() -> None:
    packages = json.loads((REQUIREMENTS / "interop-js" / "package-lock.json").read_text())["packages"]
    wanted = json.loads((REQUIREMENTS / "interop-js" / "package.json").read_text())["dependencies"]
    assert packages.pop("")["dependencies"] == wanted
    assert wanted.keys() <= {name.removeprefix("node_modules/") for name in packages}
    for name, package in packages.items():
        assert package["integrity"].startswith("sha512-"), name
        assert "resolved" not in package, name


def imported_packages() -> set[str]:
    """Top-level names that hwkm imports and that are neither its own nor Python's."""
    nodes = (node for path in (ROOT / "hwkm").rglob("*.py") for node in ast.walk(ast.parse(path.read_text())))
    names: set[str] = set()
    for node in nodes:
        if isinstance(node, ast.Import):
            names.update(alias.name.split(".")[0] for alias in node.names)
        elif isinstance(node, ast.ImportFrom) and node.level == 0 and node.module:
            names.add(node.module.split(".")[0])
    return names - sys.stdlib_module_names - {"hwkm"}


def test_what_hwkm_imports_is_locked_for_those_who_only_run_it() -> None:
    pins = locked("runtime")
    distributions = importlib.metadata.packages_distributions()
    of = {
        name: {dist.lower().replace("_", "-") for dist in distributions[name]} for name in imported_packages()
    }
    assert "typer" in of
    assert {name: found for name, found in of.items() if not found & pins.keys()} == {}
