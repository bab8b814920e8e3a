"""A PostgreSQL server of Debian's packages, with a cluster of its own on a Unix socket in a private directory."""

from __future__ import annotations

import os
import pwd
import shutil
import signal
import subprocess
import time
from pathlib import Path
from typing import Final, Self

from tests.hardware import short_directory

START_DEADLINE_S: Final = 60.0
STOP_DEADLINE_S: Final = 30.0
_POLL_S: Final = 0.05
_UNPRIVILEGED: Final = "postgres"


def programs() -> Path:
    """Where the newest server's programs are."""
    found = sorted(Path("/usr/lib/postgresql").glob("*/bin/initdb"), key=lambda path: int(path.parts[-3]))
    assert found, "install PostgreSQL: softhsm-config/provision.sh test"
    return found[-1].parent


class Postgres:
    """Enter it to start, leave it to stop. Root starts it as another user: it refuses to run as root."""

    def __init__(self) -> None:
        self.directory = short_directory()
        self._user = _UNPRIVILEGED if os.geteuid() == 0 else None
        if self._user:
            account = pwd.getpwnam(self._user)
            os.chown(self.directory, account.pw_uid, account.pw_gid)
        self._process: subprocess.Popen[bytes] | None = None

    @property
    def url(self) -> str:
        """The SQLAlchemy URL of its database."""
        return f"postgresql+psycopg://archive@/postgres?host={self.directory}"

    def __enter__(self) -> Self:
        data = self.directory / "data"
        self._run([str(programs() / "initdb"), "-D", str(data), "-U", "archive", "-A", "trust", "-N"])
        self._process = subprocess.Popen(
            [
                str(programs() / "postgres"),
                "-D",
                str(data),
                "-k",
                str(self.directory),
                "-c",
                "listen_addresses=",
            ],
            user=self._user,
            cwd=self.directory,
            stdin=subprocess.DEVNULL,
            stdout=subprocess.DEVNULL,
            stderr=subprocess.DEVNULL,
        )
        deadline = time.monotonic() + START_DEADLINE_S
        ready = [str(programs() / "pg_isready"), "-q", "-h", str(self.directory)]
        while subprocess.run(ready).returncode != 0:
            assert self._process.poll() is None, "PostgreSQL ended at once"
            assert time.monotonic() < deadline, "PostgreSQL does not answer"
            time.sleep(_POLL_S)
        return self

    def __exit__(self, *_: object) -> None:
        if self._process is not None:
            self._process.send_signal(signal.SIGINT)  # ends without waiting for clients
            try:
                self._process.wait(STOP_DEADLINE_S)
            except subprocess.TimeoutExpired:
                self._process.kill()
                self._process.wait()
        shutil.rmtree(self.directory, ignore_errors=True)

    def _run(self, command: list[str]) -> None:
        done = subprocess.run(command, user=self._user, cwd=self.directory, capture_output=True, text=True)
        assert done.returncode == 0, done.stderr
