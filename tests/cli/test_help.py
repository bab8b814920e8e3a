"""The command line: documented, complete, and without a way to give away a PIN."""

from __future__ import annotations

import re
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import typer

import hwkm
from hwkm.cli.main import app
from hwkm.cli.reference import reference

ROOT = Path(__file__).parents[2]
PRINTS_NO_DATA = {
    "hwkm vault delete", "hwkm cohort trust", "hwkm completion",
    "hwkm audit key", "hwkm audit export", "hwkm audit prove", "hwkm audit consistency", "hwkm audit accept",
    "hwkm fleet keygen", "hwkm fleet public-key", "hwkm fleet init-root", "hwkm fleet rotate-root",
    "hwkm fleet propose", "hwkm fleet sign", "hwkm fleet countersign", "hwkm fleet publish",
    "hwkm fleet witness", "hwkm fleet add-cosignature", "hwkm fleet trust", "hwkm fleet trust-android",
    "hwkm fleet evidence combine", "hwkm fleet evidence challenge", "hwkm fleet evidence sign",
    "hwkm audit witness-key", "hwkm audit cosign",
}  # fmt: skip


def commands(command: Any = None, name: str = "hwkm") -> Iterator[tuple[str, Any]]:
    """Every command that does something, with its whole name."""
    command = command or typer.main.get_command(app)
    if not hasattr(command, "commands"):
        yield name, command
        return
    for word, child in command.commands.items():
        yield from commands(child, f"{name} {word}")


every_command = pytest.mark.parametrize(("name", "command"), list(commands()), ids=[n for n, _ in commands()])


def options(command: Any) -> dict[str, Any]:
    return {opt: parameter for parameter in command.params for opt in parameter.opts}


def run(*arguments: str) -> subprocess.CompletedProcess[str]:
    return subprocess.run(
        [sys.executable, "-m", "hwkm.cli.main", *arguments], capture_output=True, text=True, timeout=60
    )


def test_the_document_is_that_of_the_command() -> None:
    assert (ROOT / "docs" / "cli.md").read_text() == reference(), "run: make docs"


def test_every_command_that_was_promised_is_there() -> None:
    assert {name.removeprefix("hwkm ") for name, _ in commands()} >= {
        "status", "doctor", "completion",
        "vault create", "vault open", "vault list", "vault show", "vault rotate", "vault change-pin",
        "vault delete", "vault resume",
        "backup encrypt", "backup restore",
        "audit checkpoint", "audit key", "audit verify", "audit show", "audit export", "audit prove",
        "audit check-proof", "audit consistency", "audit accept", "audit witness-key", "audit cosign",
        "cohort show", "cohort trust",
        "key create", "key list", "key show", "key describe", "key rotate", "key rotation", "key enable",
        "key disable", "key schedule-deletion", "key cancel-deletion", "key alias", "key unalias", "key tag",
        "key recorded", "key public-key", "encrypt", "decrypt", "rewrap", "rewrap-rows",
    }  # fmt: skip


@every_command
def test_no_option_takes_a_pin_and_none_comes_from_the_environment(name: str, command: Any) -> None:
    for opt, parameter in options(command).items():
        secret = re.search(r"pin|password|passphrase|pattern|secret|recovery-key", opt)
        takes_value = not getattr(parameter, "is_flag", False)
        assert not (secret and takes_value) or opt.endswith("-file"), f"{name} {opt} takes a secret"
        if parameter.envvar:
            assert opt in {"-S", "--socket"}, f"{name} {opt} reads the environment"


@every_command
def test_data_can_be_had_as_json(name: str, command: Any) -> None:
    assert ("--json" in options(command)) != (name in PRINTS_NO_DATA)


@every_command
def test_help_has_a_sentence_for_everything(name: str, command: Any) -> None:
    assert command.help, name
    for parameter in command.params:
        assert getattr(parameter, "help", None), f"{name} {parameter.name}"


def test_help_and_version_are_printed() -> None:
    done = run("--version")
    assert (done.returncode, done.stdout) == (0, f"hwkm {hwkm.__version__}\n")
    for arguments in (["--help"], ["-h"], ["vault", "open", "-h"]):
        assert run(*arguments).returncode == 0


@pytest.mark.parametrize("arguments", [["nonsense"], ["vault", "open"], ["status", "--nonsense"], ["vault"]])
def test_wrong_usage_is_2(arguments: list[str]) -> None:
    assert run(*arguments).returncode == 2


@pytest.mark.parametrize("shell", ["bash", "zsh", "fish"])
def test_completion_scripts_are_printed(shell: str) -> None:
    done = run("completion", shell)
    assert done.returncode == 0, done.stderr
    assert "_HWKM_COMPLETE" in done.stdout


def test_the_bash_completion_script_is_valid_and_completes() -> None:
    script = run("completion", "bash").stdout
    check = subprocess.run(["bash", "-n"], input=script, text=True, capture_output=True, timeout=60)
    assert check.returncode == 0, check.stderr
    done = subprocess.run(
        [Path(sys.executable).parent / "hwkm"],
        env={"_HWKM_COMPLETE": "complete_bash", "COMP_WORDS": "hwkm vault ch", "COMP_CWORD": "2"},
        text=True,
        capture_output=True,
        timeout=60,
    )
    assert done.stdout.split() == ["change-pin"], done.stderr


def test_without_a_terminal_a_pin_is_not_read_from_standard_input(tmp_path: Path) -> None:
    done = subprocess.run(
        [sys.executable, "-m", "hwkm.cli.main", "vault", "create", "x", "-S", str(tmp_path / "none")],
        input="0417\n0417\n",
        text=True,
        capture_output=True,
        timeout=60,
        start_new_session=True,
    )
    assert done.returncode == 2
    assert "--pin-file" in done.stderr
    assert "0417" not in done.stdout + done.stderr
