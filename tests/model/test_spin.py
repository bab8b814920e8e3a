"""The commit protocol in ``docs/model``, checked by spin: right as it stands, wrong with each mistake."""

from __future__ import annotations

import importlib
import re
import subprocess
from pathlib import Path
from typing import Any, Final

import pytest

DIRECTORY: Final = Path(__file__).resolve().parents[2] / "docs" / "model"
MODEL: Final = DIRECTORY / "attempts.pml"
README: Final = DIRECTORY / "README.md"

pytestmark = pytest.mark.needs("spin", "gcc")

# How the checker prints the assertion of each name; ONLY_LIMIT leaves only the first.
ASSERTIONS: Final = {
    "LIMIT_HOLDS": "since_success<=",
    "NO_FALSE_ALARM": "accepted||tampered",
    "CHARGED_ONCE": "charged>>",
}

SEEDED: Final = {
    "RELEASE_BEFORE_ANCHOR": "LIMIT_HOLDS",
    "CHARGE_AFTER_EVALUATION": "LIMIT_HOLDS",
    "OPTIMISTIC_CLEAR": "LIMIT_HOLDS",
    "CLEAR_AFTER_RELEASE": "LIMIT_HOLDS",
    "REPLAY_CLEARS": "LIMIT_HOLDS",
    "PLANTED_BLOB_CLEARS": "LIMIT_HOLDS",
    "OLD_ROOT_ACCEPTED": "LIMIT_HOLDS",
    "NEWEST_NODES_TRUSTED": "LIMIT_HOLDS",
    "UNCERTAIN_IS_APPLIED": "LIMIT_HOLDS",
    "UNCERTAIN_IS_REFUSED": "NO_FALSE_ALARM",
    "HELD_WRITE": "LIMIT_HOLDS",
    "PAID_FORGOTTEN": "CHARGED_ONCE",
    "OBSOLETE_DELETED_EARLY": "NO_FALSE_ALARM",
}


def check(directory: Path, *switches: str, optimised: bool) -> str:
    """Search all states of the model with these switches; return what the checker printed."""
    flags = [f"-D{switch}" for switch in switches]
    compiler = ["gcc", "-O2" if optimised else "-O0", "-w", "-DSAFETY", "-DMEMLIM=3000", "-o", "pan", "pan.c"]
    for command in (["spin", "-a", *flags, str(MODEL)], compiler):
        subprocess.run(command, cwd=directory, check=True, capture_output=True)
    search = ["./pan", "-m1000000", "-w22"]
    return subprocess.run(search, cwd=directory, check=True, capture_output=True, text=True).stdout


def errors(output: str) -> int:
    found = re.search(r"errors: (\d+)", output)
    assert found, output
    return int(found[1])


@pytest.mark.parametrize(
    "bounds",
    [
        pytest.param(("LIMIT=2", "CLAIMS=7"), id="limit of 2, 7 claims"),
        pytest.param(("LIMIT=3", "CLAIMS=5"), id="limit of 3, 5 claims"),
        pytest.param(("LIMIT=2", "CLAIMS=3", "SNAPSHOTS"), id="limit of 2, 3 claims, any snapshot"),
        pytest.param(("LIMIT=3", "CLAIMS=6"), id="limit of 3, 6 claims", marks=pytest.mark.slow),
        pytest.param(
            ("LIMIT=2", "CLAIMS=4", "SNAPSHOTS"),
            id="limit of 2, 4 claims, any snapshot",
            marks=pytest.mark.slow,
        ),
    ],
)
def test_protocol_keeps_the_limit_in_every_interleaving(tmp_path: Path, bounds: tuple[str, ...]) -> None:
    output = check(tmp_path, *bounds, optimised=True)
    assert errors(output) == 0, output
    assert "Search not completed" not in output
    assert "too small" not in output  # the depth of the search was enough
    dead = [line for line in output.partition("unreached in")[2].splitlines() if ", state " in line]
    assert [line for line in dead if '"-end-"' not in line] == []


@pytest.mark.parametrize("mistake", SEEDED)
def test_seeded_mistake_is_found(tmp_path: Path, mistake: str) -> None:
    broken = SEEDED[mistake]
    only = ["ONLY_LIMIT"] if broken == "LIMIT_HOLDS" else []
    switches = ["LIMIT=2", "CLAIMS=5", "SNAPSHOTS", f"SEEDED_{mistake}", *only]
    output = check(tmp_path, *switches, optimised=False)
    assert errors(output) == 1, output
    violation = next(line for line in output.splitlines() if "assertion violated" in line)
    assert ASSERTIONS[broken] in violation


def test_clearing_after_the_answer_loses_more_than_one_attempt(tmp_path: Path) -> None:
    output = check(tmp_path, "LIMIT=2", "CLAIMS=3", "SEEDED_CLEAR_AFTER_RELEASE", optimised=False)
    assert errors(output) == 1, output
    violation = next(line for line in output.splitlines() if "assertion violated" in line)
    assert "told" in violation


def test_readme_lists_every_seeded_mistake_and_what_it_breaks() -> None:
    rows = re.findall(r"^\| `([A-Z_]+)` \|.*\| `([A-Z_]+)` \|$", README.read_text(), re.MULTILINE)
    assert dict(rows) == SEEDED
    assert set(re.findall(r"SEEDED_([A-Z_]+)", MODEL.read_text())) == set(SEEDED)


def implementing() -> list[str]:
    """Every name of our code in the README."""
    return sorted(set(re.findall(r"`(hwkm\.[\w.]+)`", README.read_text())))


@pytest.mark.parametrize("name", implementing())
def test_every_function_that_the_readme_names_exists(name: str) -> None:
    parts = name.split(".")
    for length in range(len(parts), 0, -1):
        try:
            found: Any = importlib.import_module(".".join(parts[:length]))
        except ModuleNotFoundError:
            continue
        for attribute in parts[length:]:
            found = getattr(found, attribute)
        return
    pytest.fail(f"{name} does not exist")
