"""The TPM proxy: a Unix socket between the core and swtpm that obeys a board.

tpm2-tss's TCTI ``swtpm:path=X`` sends commands to the socket ``X`` and control messages
(locality, cancel) to ``X.ctrl``. Commands are parsed and passed on; the control socket is not of
interest, so the proxy's is a symbolic link to swtpm's.

It is a thread of the test and takes 60 to 100 microseconds a command; the benchmark has a quicker one,
which only counts and delays (``tpm_relay.py``).
"""

from __future__ import annotations

import os
import signal
import socket
import struct
import threading
import time
from contextlib import suppress
from pathlib import Path
from types import TracebackType
from typing import Final, Self

from tests.harness.board import PASSED, Board, Order
from tests.harness.plan import Act
from tests.harness.tpm_commands import kind_of

_HEADER: Final = struct.Struct(">HII")  # tag, size, command or response code (part 1, 18.2)
_NO_SESSIONS: Final = 0x8001
_PEER_CREDENTIALS: Final = struct.Struct("iII")

# Response codes (TPM 2.0 part 2, 6.6.3).
RC_FAILURE: Final = 0x101
RC_LOCKOUT: Final = 0x921
RC_NV_RATE: Final = 0x920
RC_NV_SPACE: Final = 0x14B
RC_NV_UNAVAILABLE: Final = 0x923
RC_RETRY: Final = 0x922


class _Hung(Exception):
    """One side has closed its connection."""


class TpmProxy:
    """Serves one client at a time, as swtpm does."""

    def __init__(self, upstream: Path, listen: Path, board: Board) -> None:
        """Listen at ``listen`` for commands to the swtpm at ``upstream``."""
        self.uri = f"tpm:tcti=swtpm:path={listen}"
        self.withheld: list[bytes] = []
        """Commands that the plan kept from the TPM, as they were sent."""
        self._upstream = upstream
        self._board = board
        self._closing = threading.Event()
        listen.with_name(listen.name + ".ctrl").symlink_to(f"{upstream}.ctrl")
        self._listener = socket.socket(socket.AF_UNIX)
        self._listener.bind(str(listen))
        self._listener.listen()
        self._client: socket.socket | None = None
        self._thread = threading.Thread(target=self.serve, name="tpm-proxy", daemon=True)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._closing.set()
        for end in (self._listener, self._client):
            if end is not None:
                with suppress(OSError):
                    end.shutdown(socket.SHUT_RDWR)
        self._thread.join()
        self._listener.close()

    def serve(self) -> None:
        """Accept and serve clients until closed."""
        while not self._closing.is_set():
            try:
                self._client, _ = self._listener.accept()
            except OSError:
                return
            with self._client, socket.socket(socket.AF_UNIX) as tpm, suppress(_Hung, OSError):
                tpm.connect(str(self._upstream))
                self._converse(self._client, tpm)

    def _converse(self, client: socket.socket, tpm: socket.socket) -> None:
        process = _pid_of(client)
        while True:
            command = _read_message(client)
            order = self._board.enter(kind_of(command))
            if order is not PASSED:
                self._obey(order, command, client, tpm, process)
            else:
                tpm.sendall(command)
                client.sendall(_read_message(tpm))

    def _obey(
        self, order: Order, command: bytes, client: socket.socket, tpm: socket.socket, process: int
    ) -> None:
        if order.act in {Act.KILL_BEFORE, Act.DROP, Act.REFUSE}:
            self.withheld.append(command)
            answer = _refusal(order.code)
        else:
            tpm.sendall(command)
            answer = _read_message(tpm)
        if order.delay_s:
            time.sleep(order.delay_s)
        if order.act in {Act.KILL_BEFORE, Act.KILL_EXECUTED}:
            _kill(process, client)
        if order.act in {Act.DROP, Act.DROP_ANSWER}:
            _read_message(client)  # nothing comes: the client waits until it ends
        client.sendall(_refusal(order.code) if order.act is Act.LIE else answer)
        if order.act is Act.KILL_ANSWERED:
            _kill(process, client)


def _read_message(end: socket.socket) -> bytes:
    """Read one command or answer; its header tells its size.

    Raises:
        _Hung: the other side is gone.
    """
    data = end.recv(4096)
    while len(data) < _HEADER.size or len(data) < _HEADER.unpack_from(data)[1]:
        more = end.recv(4096)
        if not more:
            raise _Hung
        data += more
    return data


def _refusal(code: int) -> bytes:
    return _HEADER.pack(_NO_SESSIONS, _HEADER.size, code)


def _kill(process: int, client: socket.socket) -> None:
    """SIGKILL the client, and return when it is gone."""
    os.kill(process, signal.SIGKILL)
    while client.recv(4096):
        pass
    raise _Hung


def _pid_of(client: socket.socket) -> int:
    credentials = client.getsockopt(socket.SOL_SOCKET, socket.SO_PEERCRED, _PEER_CREDENTIALS.size)
    pid: int = _PEER_CREDENTIALS.unpack(credentials)[0]
    return pid
