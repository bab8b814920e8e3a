"""The directory that holds what the daemon keeps: of mode 0700, and of one daemon at a time."""

from __future__ import annotations

import fcntl
import os
import stat
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hwkm.errors import ConfigError, Unavailable

LOCK_NAME: Final = "lock"


class StateDirectory:
    """A locked state directory. The kernel drops the lock when the process ends, however it ends."""

    def __init__(self, path: Path, lock: int) -> None:
        self.path = path
        self._lock = lock

    @classmethod
    def take(cls, path: Path, *, create: bool = False) -> Self:
        """Check and lock the directory; ``create`` makes one that is absent, mode 0700.

        Raises:
            ConfigError: it is absent, not a directory, not ours, or open to others.
            Unavailable: another hwkmd uses it.
        """
        try:
            if create:
                path.mkdir(mode=0o700, parents=True, exist_ok=True)
            check_directory(path)
            lock = os.open(path / LOCK_NAME, os.O_RDWR | os.O_CREAT | os.O_CLOEXEC | os.O_NOFOLLOW, 0o600)
        except OSError as exc:
            raise ConfigError(f"state directory {path}: {exc.strerror}; hwkmd init makes it") from exc
        try:
            fcntl.flock(lock, fcntl.LOCK_EX | fcntl.LOCK_NB)
        except BlockingIOError:
            os.close(lock)
            raise Unavailable(f"another hwkmd is running: it uses state directory {path}") from None
        return cls(path, lock)

    def release(self) -> None:
        """Let another daemon have it."""
        os.close(self._lock)

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        trace: TracebackType | None,
    ) -> None:
        self.release()


def check_directory(path: Path) -> None:
    """See that only we can use the directory.

    Raises:
        ConfigError: others can.
        OSError: it cannot be looked at.
    """
    status = path.stat()
    if not stat.S_ISDIR(status.st_mode):
        raise ConfigError(f"state directory {path} is not a directory")
    if status.st_uid != os.geteuid():
        raise ConfigError(f"state directory {path} belongs to uid {status.st_uid}, not to uid {os.geteuid()}")
    if status.st_mode & 0o077:
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"state directory {path} has mode {mode:04o}; run: chmod 700 {path}")
