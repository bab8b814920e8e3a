"""The Unix socket on which the daemon listens, made so that nobody slips in before its mode is set."""

from __future__ import annotations

import errno
import grp
import os
import shutil
import socket
import stat
from pathlib import Path
from typing import Final

from hwkm.errors import ConfigError, Unavailable

BACKLOG: Final = 1024


class Listener:
    """A listening socket; it knows whether its file is ours to remove."""

    def __init__(self, sock: socket.socket, path: Path | None) -> None:
        self.socket = sock
        self._path = path

    @classmethod
    def inherited(cls, sock: socket.socket) -> Listener:
        """One that systemd made and keeps."""
        return cls(sock, None)

    @classmethod
    def make(cls, path: Path, *, mode: int, group: str) -> Listener:
        """Make one at ``path``; the file of a daemon that is gone is replaced.

        Raises:
            Unavailable: another hwkmd listens there.
            ConfigError: it cannot be made there, or there is no such group.
        """
        try:
            path.parent.mkdir(mode=0o755, parents=True, exist_ok=True)
            _remove_stale(path)
            listener = _bind(path, mode, _gid(group))
        except OSError as exc:
            raise ConfigError(f"socket {path}: {exc.strerror}") from exc
        return cls(listener, path)

    def close(self) -> None:
        """Stop listening, and remove the file if it is ours."""
        self.socket.close()
        if self._path is not None:
            self._path.unlink(missing_ok=True)


def is_listening(path: Path) -> bool:
    """Whether somebody accepts connections at ``path``.

    Raises:
        OSError: it cannot be told (no permission).
    """
    with socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC) as probe:
        try:
            probe.connect(os.fspath(path))
        except OSError as exc:
            if exc.errno in (errno.ENOENT, errno.ECONNREFUSED, errno.ENOTSOCK):
                return False
            if exc.errno == errno.EAGAIN:  # its backlog is full: very much alive
                return True
            raise
    return True


def _remove_stale(path: Path) -> None:
    try:
        status = path.lstat()
    except FileNotFoundError:
        return
    if not stat.S_ISSOCK(status.st_mode):
        raise ConfigError(f"{path} is there and is not a socket; it is not touched")
    if is_listening(path):
        raise Unavailable(f"another hwkmd is running: it listens at {path}")
    path.unlink()


def _gid(group: str) -> int:
    if not group:
        return -1
    try:
        return grp.getgrnam(group).gr_gid
    except KeyError:
        raise ConfigError(f"socket_group: this system has no group {group!r}") from None


def _bind(path: Path, mode: int, gid: int) -> socket.socket:
    """Bind for ourselves only, set group and mode, and only then listen."""
    listener = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
    previous = os.umask(0o177)
    try:
        listener.bind(os.fspath(path))
    except BaseException:
        listener.close()
        raise
    finally:
        os.umask(previous)
    try:
        _open_to(path, mode, gid)
        listener.listen(BACKLOG)
    except BaseException:
        listener.close()
        path.unlink(missing_ok=True)
        raise
    return listener


def _open_to(path: Path, mode: int, gid: int) -> None:
    if gid >= 0:
        shutil.chown(path, group=gid)
    path.chmod(mode)
