"""The one load generator of the comparison: prebuilt HTTP/1.1 requests over keep-alive connections.

A closed loop: each connection has one request outstanding, and the next one of the list goes out when
its answer is whole. No asyncio, no HTTP library and no parsing of bodies, so that the generator takes
little of a machine that the servers need, and takes the same from each of them. It speaks TCP and
Unix sockets (wrk 4.1 has no Unix sockets, and signed requests differ one from another).
"""

from __future__ import annotations

import select
import socket
import statistics
import time
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path

Address = Path | int
"""A Unix socket, or a port of 127.0.0.1."""

_DEADLINE_S = 60.0
_HEAD_END = b"\r\n\r\n"


class RequestFailed(Exception):
    """A server refused; the message is its answer."""


@dataclass(frozen=True, slots=True)
class Load:
    """What a closed loop saw; ``bodies`` in the order of the requests."""

    seconds: float
    latencies_s: tuple[float, ...]
    bodies: tuple[bytes, ...]

    @property
    def rate(self) -> float:
        """Requests answered in a second."""
        return len(self.latencies_s) / self.seconds

    def quantile_ms(self, percent: int) -> float:
        """The latency that so many percent of the requests did not exceed, in milliseconds."""
        return statistics.quantiles(self.latencies_s, n=100, method="inclusive")[percent - 1] * 1e3


def request(method: str, path: str, body: bytes, headers: Sequence[tuple[str, str]] = ()) -> bytes:
    """One request as bytes; ``headers`` may bring a Host of their own."""
    lines = [f"{method} {path} HTTP/1.1", f"Content-Length: {len(body)}"]
    if not any(name.lower() == "host" for name, _ in headers):
        lines.append("Host: localhost")
    lines += [f"{name}: {value}" for name, value in headers]
    return "\r\n".join(lines).encode() + _HEAD_END + body


def ask(address: Address, message: bytes) -> bytes:
    """Send one request; return the body of its answer. 204 is a success too.

    Raises:
        RequestFailed: the answer was neither.
    """
    return run(address, [message]).bodies[0]


def run(address: Address, requests: Sequence[bytes], connections: int = 1) -> Load:
    """Send every request once over so many connections.

    Raises:
        RequestFailed: an answer was neither 200 nor 204.
    """
    connected = [_Connection(address) for _ in range(min(connections, len(requests)))]
    try:
        return _loop(connected, requests)
    finally:
        for connection in connected:
            connection.close()


def _loop(connected: Sequence[_Connection], requests: Sequence[bytes]) -> Load:
    clock, total = time.perf_counter, len(requests)
    latencies, bodies = [0.0] * total, [b""] * total
    by_descriptor = {connection.descriptor: connection for connection in connected}
    poll = select.epoll()
    for descriptor in by_descriptor:
        poll.register(descriptor, select.EPOLLIN)
    started, following, answered = clock(), 0, 0
    for connection in connected:
        connection.send(following, requests[following], clock())
        following += 1
    while answered < total:
        ready = poll.poll(_DEADLINE_S)
        if not ready:
            raise TimeoutError(f"no answer for {_DEADLINE_S} s")
        for descriptor, _ in ready:
            connection = by_descriptor[descriptor]
            body = connection.receive()
            if body is None:
                continue
            now = clock()
            latencies[connection.number], bodies[connection.number] = now - connection.sent, body
            answered += 1
            if following < total:
                connection.send(following, requests[following], now)
                following += 1
    return Load(clock() - started, tuple(latencies), tuple(bodies))


class _Connection:
    """One keep-alive connection and the request that it waits for."""

    def __init__(self, address: Address) -> None:
        if isinstance(address, int):
            self._socket = socket.create_connection(("127.0.0.1", address))
            self._socket.setsockopt(socket.IPPROTO_TCP, socket.TCP_NODELAY, 1)
        else:
            self._socket = socket.socket(socket.AF_UNIX)
            self._socket.connect(str(address))
        self.descriptor = self._socket.fileno()
        self.number, self.sent = -1, 0.0
        self._received = b""

    def send(self, number: int, message: bytes, now: float) -> None:
        self.number, self.sent, self._received = number, now, b""
        self._socket.sendall(message)

    def receive(self) -> bytes | None:
        """The body, once the answer is whole."""
        chunk = self._socket.recv(1 << 20)
        if not chunk:
            raise ConnectionError("the server hung up")
        self._received += chunk
        head, found, rest = self._received.partition(_HEAD_END)
        body = _whole_body(head, rest) if found else None
        if body is not None and not head.startswith((b"HTTP/1.1 200", b"HTTP/1.1 204")):
            raise RequestFailed((head + _HEAD_END + body).decode())
        return body

    def close(self) -> None:
        self._socket.close()


def _whole_body(head: bytes, rest: bytes) -> bytes | None:
    """What follows the head, or None while some of it is still to come."""
    lowered = head.lower()
    _, found, value = lowered.partition(b"\r\ncontent-length:")
    if found:
        return rest if len(rest) >= int(value.partition(b"\r\n")[0]) else None
    if b"\r\ntransfer-encoding: chunked" in lowered:
        return _joined(rest) if rest.endswith(b"0\r\n\r\n") else None
    if lowered.startswith(b"http/1.1 204"):
        return b""
    raise RequestFailed(head.decode())


def _joined(chunks: bytes) -> bytes:
    """The body of a chunked answer (RFC 9112, 7.1); no server here sends extensions or trailers."""
    body = b""
    while chunks:
        size, _, chunks = chunks.partition(b"\r\n")
        length = int(size, 16)
        body, chunks = body + chunks[:length], chunks[length + 2 :]
    return body
