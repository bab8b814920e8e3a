"""How a command of hwkmd asks the daemon that is running, by its own socket."""

from __future__ import annotations

import http.client
import os
import socket
from pathlib import Path
from typing import Final

import msgspec

from hwkm.errors import AccessDenied, FormatError, HwkmError, Unavailable
from hwkm.wire.operations import Operation
from hwkm.wire.problems import ProblemBody, error_of

TIMEOUT_S: Final = 120.0


class _UnixConnection(http.client.HTTPConnection):
    """HTTP/1.1 over a Unix socket."""

    def __init__(self, path: Path, timeout_s: float) -> None:
        super().__init__("hwkmd", timeout=timeout_s)
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX, socket.SOCK_STREAM | socket.SOCK_CLOEXEC)
        self.sock.settimeout(self.timeout)
        self.sock.connect(os.fspath(self._path))


def ask_daemon(
    socket_path: Path, operation: Operation, body: msgspec.Struct | None = None, timeout_s: float = TIMEOUT_S
) -> msgspec.Struct:
    """Send one operation and return its response.

    Raises:
        Unavailable: no daemon answers there.
        AccessDenied: the socket may not be used, or the policy does not allow it.
        HwkmError: the daemon's answer, by its own code.
    """
    content = b"" if body is None else msgspec.json.encode(body)
    connection = _UnixConnection(socket_path, timeout_s)
    try:
        connection.request(operation.method, operation.path, content)
        answer = connection.getresponse()
        return _read(operation, answer.status, answer.read())
    except PermissionError as exc:
        raise AccessDenied(f"{socket_path} may not be used by this user") from exc
    except (OSError, http.client.HTTPException) as exc:
        raise Unavailable(f"no hwkmd answers at {socket_path}; is the service running?") from exc
    finally:
        connection.close()


def _read(operation: Operation, status: int, content: bytes) -> msgspec.Struct:
    try:
        if status == 200:
            return msgspec.json.decode(content, type=operation.response)
        error: HwkmError = error_of(msgspec.json.decode(content, type=ProblemBody).error)
    except msgspec.DecodeError as exc:
        raise FormatError("what answers is not hwkmd") from exc
    raise error
