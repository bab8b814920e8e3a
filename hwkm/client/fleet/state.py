"""What a client remembers of a fleet: TUF's trusted metadata and what was accepted last.

One directory, in which ``current`` leads to the state in force. A change is made in a copy and takes
effect by one rename, so a list that is refused leaves nothing behind.
"""

from __future__ import annotations

import fcntl
import os
import secrets
import shutil
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hwkm.errors import ConfigError
from hwkm.fleet.list_log import LogEntry, LogState

_CURRENT: Final = "current"
_ACCEPTED: Final = "accepted.json"
_STATE_PREFIX: Final = "state-"

_Digest = Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]


class FollowedLog(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """How far the log was followed (:class:`hwkm.fleet.list_log.LogState`)."""

    origin: str
    size: Annotated[int, Meta(ge=0)]
    frontier: tuple[_Digest, ...]
    newest: tuple[LogEntry, ...]

    @classmethod
    def of(cls, state: LogState) -> FollowedLog:
        """Write down a state."""
        frontier = tuple(one.hex() for one in state.frontier)
        newest = tuple(state.newest[kind] for kind in sorted(state.newest))
        return cls(origin=state.origin, size=state.size, frontier=frontier, newest=newest)

    def state(self) -> LogState:
        """Return the state."""
        frontier = tuple(map(bytes.fromhex, self.frontier))
        return LogState(self.origin, self.size, frontier, {entry.kind: entry for entry in self.newest})


class Accepted(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    """What was accepted last: the list's epoch and SHA-256, and how far the log was followed."""

    epoch: Annotated[int, Meta(ge=1)]
    digest: _Digest
    log: FollowedLog


class FleetState:
    """The directory. One process at a time changes it."""

    def __init__(self, directory: Path) -> None:
        self._directory = directory

    def accepted(self) -> Accepted | None:
        """What was accepted last, or None before the first time.

        Raises:
            ConfigError: it cannot be read.
        """
        return read_accepted(self._directory / _CURRENT)

    @contextmanager
    def change(self) -> Iterator[Path]:
        """Give a copy of the state to work in; it comes into force if nothing is raised.

        Raises:
            ConfigError: the directory cannot be used.
        """
        try:
            self._directory.mkdir(mode=0o700, parents=True, exist_ok=True)
            with self._alone():
                draft = self._draft()
                try:
                    yield draft
                    self._put_in_force(draft)
                except BaseException:
                    shutil.rmtree(draft, ignore_errors=True)
                    raise
        except OSError as exc:
            raise ConfigError(f"{self._directory}: {exc.strerror or exc}") from exc

    @contextmanager
    def _alone(self) -> Iterator[None]:
        with (self._directory / "lock").open("a") as lock:
            fcntl.flock(lock, fcntl.LOCK_EX)
            yield

    def _draft(self) -> Path:
        draft = self._directory / f"{_STATE_PREFIX}{secrets.token_hex(8)}"
        current = self._directory / _CURRENT
        if current.exists():
            shutil.copytree(current, draft, symlinks=True)
        else:
            draft.mkdir(mode=0o700)
        return draft

    def _put_in_force(self, draft: Path) -> None:
        for path in (*(p for p in draft.rglob("*") if p.is_file()), draft):
            _sync(path)
        link = self._directory / f"{_CURRENT}.new"
        link.unlink(missing_ok=True)
        link.symlink_to(draft.name)
        link.replace(self._directory / _CURRENT)
        _sync(self._directory)
        for old in self._directory.glob(f"{_STATE_PREFIX}*"):
            if old.name != draft.name:
                shutil.rmtree(old, ignore_errors=True)


def read_accepted(state: Path) -> Accepted | None:
    """Read what was accepted last from one state.

    Raises:
        ConfigError: it cannot be read.
    """
    path = state / _ACCEPTED
    try:
        return msgspec.json.decode(path.read_bytes(), type=Accepted)
    except FileNotFoundError:
        return None
    except (OSError, msgspec.DecodeError, UnicodeDecodeError) as exc:
        raise ConfigError(f"{path}: {exc}") from exc


def write_accepted(state: Path, accepted: Accepted) -> None:
    """Write what is accepted into a draft.

    Raises:
        OSError: it could not be written.
    """
    (state / _ACCEPTED).write_bytes(msgspec.json.encode(accepted) + b"\n")


def _sync(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
