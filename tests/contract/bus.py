"""A listener on the bus between core and TPM: records every byte, and may answer or alter.

It relays whole commands and answers between a Unix socket of its own and a swtpm.
"""

from __future__ import annotations

import socket
import socketserver
import threading
from collections.abc import Callable
from types import TracebackType
from typing import Final, Self

from tests.hardware import Swtpm

_HEADER_BYTES: Final = 10

NV_WRITE: Final = 0x137
NV_READ: Final = 0x14E
ECDH_ZGEN: Final = 0x154


def command_code(command: bytes) -> int:
    """Return which command this is."""
    return int.from_bytes(command[6:10], "big")


def refusal(code: int) -> bytes:
    """Return the answer of a TPM that refuses with a response code."""
    return b"\x80\x01\x00\x00\x00\x0a" + code.to_bytes(4, "big")


class Bus:
    """``uri`` leads to the TPM by way of this listener.

    ``answer(command)`` may return an answer, so that the TPM never sees the command;
    ``alter(command, answer)`` may return another answer than the TPM's.
    """

    def __init__(self, swtpm: Swtpm) -> None:
        self.traffic: list[bytes] = []
        self.answer: Callable[[bytes], bytes | None] = lambda command: None
        self.alter: Callable[[bytes, bytes], bytes] = lambda command, answer: answer
        path = swtpm.directory / "bus.sock"
        # The TCTI wants a control socket beside the other, and says nothing on it that matters.
        (swtpm.directory / "bus.sock.ctrl").symlink_to(f"{swtpm.socket_path}.ctrl")
        self.uri = f"tpm:tcti=swtpm:path={path}"
        self._upstream = str(swtpm.socket_path)
        bus = self

        class Handler(socketserver.StreamRequestHandler):
            def handle(self) -> None:
                bus._serve(self.request)

        class Server(socketserver.ThreadingUnixStreamServer):
            daemon_threads = True

        self._server = Server(str(path), Handler)
        self._thread = threading.Thread(target=self._server.serve_forever, args=(0.05,))

    def commands(self, code: int) -> int:
        """Return how many commands of this kind went by."""
        return sum(1 for frame in self.traffic[::2] if command_code(frame) == code)

    def __enter__(self) -> Self:
        self._thread.start()
        return self

    def __exit__(
        self, kind: type[BaseException] | None, error: BaseException | None, trace: TracebackType | None
    ) -> None:
        self._server.shutdown()
        self._thread.join()
        self._server.server_close()

    def _serve(self, client: socket.socket) -> None:
        with socket.socket(socket.AF_UNIX) as tpm:
            tpm.connect(self._upstream)
            while command := _frame(client):
                answer = self.answer(command)
                if answer is None:
                    tpm.sendall(command)
                    answer = self.alter(command, _frame(tpm))
                self.traffic += [command, answer]
                client.sendall(answer)
                if len(answer) < _HEADER_BYTES:
                    return  # and hang up, or the TCTI would wait for the rest


def _frame(connection: socket.socket) -> bytes:
    """Return one whole command or answer, or nothing if the peer hung up."""
    header = _exactly(connection, _HEADER_BYTES)
    return header and header + _exactly(connection, int.from_bytes(header[2:6], "big") - _HEADER_BYTES)


def _exactly(connection: socket.socket, size: int) -> bytes:
    data = b""
    while len(data) < size:
        piece = connection.recv(size - len(data))
        if not piece:
            return b""
        data += piece
    return data
