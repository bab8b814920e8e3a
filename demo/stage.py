"""Runs commands in view: the command as typed, what it prints, and whether that was expected."""

from __future__ import annotations

import os
import shlex
import subprocess
import sys
import textwrap
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

BIN: Final = Path(sys.executable).parent
COMMAND_DEADLINE_S: Final = 60
_IS_TERMINAL: Final = sys.stdout.isatty()


class Unexpected(Exception):
    """Something differs from what the demonstration promises."""


def heading(text: str) -> None:
    """Begin a chapter."""
    print(f"\n{_styled(text, '1')}\n{'-' * len(text)}", flush=True)


def say(text: str) -> None:
    """Tell what is going on."""
    print(textwrap.fill(text, 96), flush=True)


def expect(condition: object, promise: str) -> None:
    """End the demonstration unless a promise holds.

    Raises:
        Unexpected: it does not.
    """
    if not condition:
        raise Unexpected(promise)
    print(f"  {_styled('=>', '32')} {promise}", flush=True)


@dataclass(frozen=True, slots=True)
class Person:
    """Somebody at a terminal, with a home and a working directory of their own."""

    name: str
    home: Path
    environment: Mapping[str, str]

    @classmethod
    def at(cls, name: str, home: Path, socket: Path) -> Person:
        """Make a home, and point hwkm at a daemon."""
        home.mkdir(mode=0o700)
        kept = {
            key: value for key, value in os.environ.items() if not key.startswith(("HWKM_", "XDG_", "AWS_"))
        }
        path = f"{BIN}{os.pathsep}{os.environ.get('PATH', os.defpath)}"
        environment = kept | {"HOME": str(home), "HWKM_SOCKET": str(socket), "PATH": path}
        return cls(name, home, environment)

    def types(self, command: str, *, status: int = 0, shows: Sequence[str] = ()) -> str:
        """Run a command line in view; return what it printed.

        Raises:
            Unexpected: another exit status than ``status``, or one of ``shows`` is missing.
        """
        print(f"\n{_styled(f'{self.name} $', '36')} {command}", flush=True)
        done = self._run(shlex.split(command))
        print(textwrap.indent(done.stdout.rstrip(), "  "), flush=True)
        if done.returncode != status:
            raise Unexpected(f"exit status {done.returncode} instead of {status}")
        missing = [text for text in shows if text not in done.stdout]
        if missing:
            raise Unexpected(f"the output lacks {missing[0]!r}")
        return done.stdout

    def quietly(self, command: str) -> str:
        """Run a command line out of view; return what it printed.

        Raises:
            Unexpected: it failed.
        """
        done = self._run(shlex.split(command))
        if done.returncode != 0:
            raise Unexpected(f"{command}: exit status {done.returncode}: {done.stdout}")
        return done.stdout

    def _run(self, arguments: list[str]) -> subprocess.CompletedProcess[str]:
        return subprocess.run(
            [str(BIN / arguments[0]), *arguments[1:]],
            cwd=self.home,
            env=self.environment,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.PIPE,
            stderr=subprocess.STDOUT,
            text=True,
            timeout=COMMAND_DEADLINE_S,
            check=False,
        )


def _styled(text: str, code: str) -> str:
    return f"\033[{code}m{text}\033[0m" if _IS_TERMINAL else text
