"""A :class:`Person` whose commands run in this process: the same command line, without a start of Python each time."""

from __future__ import annotations

import contextlib
import subprocess
from collections.abc import Mapping
from pathlib import Path

from typer.testing import CliRunner

from hwkm.cli.main import app
from tests.cli.person import HWKM, Person


class Resident(Person):
    """Runs commands in place; what runs on a terminal or in a pipe has a process of its own still."""

    def run(
        self,
        *arguments: str | Path,
        pin: str | None = None,
        status: int = 0,
        environment: Mapping[str, str] | None = None,
    ) -> subprocess.CompletedProcess[str]:
        """As :meth:`Person.run`."""
        command = [str(argument) for argument in arguments]
        if pin is not None:
            command += ["--pin-file", str(self.pin_file(pin))]
        with contextlib.chdir(self.home):
            done = CliRunner().invoke(app, command, env={**self.environment, **(environment or {})})
        if done.exception and not isinstance(done.exception, SystemExit):
            raise done.exception
        assert done.exit_code == status, f"{done.exit_code}: {done.stdout}{done.stderr}"
        return subprocess.CompletedProcess([*HWKM, *command], done.exit_code, done.stdout, done.stderr)
