"""Documents that are scripts: their blocks are run as they stand, in one shell, in a directory with what they need."""

from __future__ import annotations

import os
import re
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack
from pathlib import Path

from tests.daemon import Daemon
from tests.hardware import Swtpm, TpmMaker

OPERATIONS = Path(__file__).parents[2] / "docs" / "operations"
BLOCK = re.compile(r"^```(sh|toml|python)( [^\n]*)?\n(.*?)^```$", re.MULTILINE | re.DOTALL)


def run(
    directory: Path, script: str, environment: Mapping[str, str] | None = None
) -> subprocess.CompletedProcess[str]:
    """Run shell lines with this checkout's commands."""
    scripts = Path(sys.executable).parent
    path = f"{scripts}:{os.environ['PATH']}"
    return subprocess.run(
        ["bash", "-euo", "pipefail", "-c", script],
        cwd=directory,
        env={**os.environ, "PATH": path, **(environment or {})},
        capture_output=True,
        text=True,
        timeout=120,
    )


def follow(
    document: str,
    directory: Path,
    environment: Mapping[str, str] | None = None,
    kinds: frozenset[str] = frozenset({""}),
) -> Iterator[tuple[str, str]]:
    """Do what a document says; yield each script with what it printed.

    A block ``toml file=NAME`` or ``python file=NAME`` is written to a file. Functions and variables of a shell
    live on. Shell blocks of a kind (``sh tpm``) are run if the kind is among ``kinds``.
    """
    before = ""
    for match in BLOCK.finditer((OPERATIONS / document).read_text()):
        language, info, text = match[1], (match[2] or "").strip(), match[3]
        if info.startswith("file="):
            (directory / info.removeprefix("file=")).write_text(text)
        elif language == "sh" and info in kinds:
            done = run(directory, f"{before}\n{text}", environment)
            assert done.returncode == 0, f"{text}\n{done.stdout}{done.stderr}"
            before = _carried(before, text)
            yield text, done.stdout


def _carried(before: str, text: str) -> str:
    """What later blocks need: functions and plain assignments on lines of their own."""
    kept = [line for line in text.splitlines() if re.match(r"\w+\(\) \{|\w+=", line)]
    return "\n".join([before, *kept])


def prepare_member(directory: Path, stack: ExitStack) -> None:
    """Put what an operator has into a directory: ``hwkmd.toml`` of a TPM that is set up, its maker's certificates."""
    maker = TpmMaker(directory / "maker")
    device = stack.enter_context(Swtpm(maker=maker))
    (directory / "member").mkdir()
    daemon = Daemon(device, directory=directory / "member")
    daemon.init()
    (directory / "hwkmd.toml").write_text(daemon.config_path.read_text())
    (directory / "ek-root.pem").write_bytes(maker.root.read_bytes())
    (directory / "ek-intermediates.pem").write_bytes(maker.intermediates.read_bytes())


def prepare_passphrase(directory: Path) -> None:
    """The file in which each party has its passphrase."""
    (directory / "passphrase").write_text("correct horse battery\n")
    (directory / "passphrase").chmod(0o600)
