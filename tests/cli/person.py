"""Somebody at a terminal: a home of their own, files with PINs, and the real ``hwkm`` command."""

from __future__ import annotations

import json
import os
import pty
import subprocess
import sys
from collections.abc import Mapping, Sequence
from pathlib import Path
from typing import Any

DEADLINE_S = 120
HWKM = (sys.executable, "-m", "hwkm.cli.main")
HEEDS_SIGNALS = ("env", "--default-signal=HUP,INT,TERM")
"""Put before a command: signals end it although the tests run under nohup or in the background."""
ROOT = Path(__file__).parents[2]


class Person:
    """Runs commands; every command's exit code is checked."""

    def __init__(self, home: Path, socket: Path) -> None:
        home.mkdir(exist_ok=True)
        self.home = home
        kept = {k: v for k, v in os.environ.items() if not k.startswith(("HWKM_", "XDG_"))}
        self.environment = {
            **kept,
            "HOME": str(home),
            "HWKM_SOCKET": str(socket),
            "PYTHONPATH": str(ROOT),
            "TERM": "dumb",
        }

    def pin_file(self, pin: str) -> Path:
        """A private file with a PIN; the same file for the same PIN."""
        path = self.home / f"pin-{pin}"
        if not path.exists():
            path.touch(mode=0o600)
            path.write_text(f"{pin}\n")
        return path

    def run(
        self,
        *arguments: str | Path,
        pin: str | None = None,
        status: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """Run ``hwkm`` and see that it ends with ``status``."""
        command = [*HWKM, *map(str, arguments)]
        if pin is not None:
            command += ["--pin-file", str(self.pin_file(pin))]
        done = subprocess.run(
            command,
            env={**self.environment, **(environment or {})},
            cwd=self.home,
            stdin=subprocess.DEVNULL,
            capture_output=True,
            text=True,
            timeout=DEADLINE_S,
        )
        assert done.returncode == status, f"{done.returncode}: {done.stdout}{done.stderr}"
        assert "Traceback" not in done.stderr
        return done

    def json(self, *arguments: str | Path, pin: str | None = None, status: int = 0) -> Any:
        """Run ``hwkm … --json`` and return what it printed."""
        return json.loads(self.run(*arguments, "--json", pin=pin, status=status).stdout)

    def create(self, name: str, *arguments: str | Path, pin: str = "0417", status: int = 0) -> Any:
        """Make a vault that is quick to open, as far as the PIN's stretching goes."""
        quick = ("--algorithm", "sha256")
        return self.json("vault", "create", name, *quick, *arguments, pin=pin, status=status)

    def type_at(self, *arguments: str | Path, entries: Sequence[str], status: int = 0) -> str:
        """Run ``hwkm`` on a terminal, typing an entry at each prompt; return what the terminal showed."""
        pid, terminal = pty.fork()
        if pid == 0:
            os.chdir(self.home)
            environment = {**self.environment, "TERM": "xterm"}
            os.execve(HWKM[0], [*HWKM, *map(str, arguments)], environment)  # noqa: S606  (ends the child)
        shown = _converse(terminal, list(entries))
        _, ended = os.waitpid(pid, 0)
        assert os.waitstatus_to_exitcode(ended) == status, shown
        return shown


def _converse(terminal: int, entries: list[str]) -> str:
    shown, answered = b"", 0
    while True:
        try:
            data = os.read(terminal, 4096)
        except OSError:  # what Linux says when the other side has closed
            data = b""
        if not data:
            os.close(terminal)
            return shown.decode()
        shown += data
        if entries and shown[answered:].endswith(b": "):
            answered = len(shown)
            os.write(terminal, f"{entries.pop(0)}\n".encode())
