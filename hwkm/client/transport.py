"""HTTP over a Unix socket: the only module of the client that touches the network stack.

Whatever goes wrong on the way becomes :class:`Unavailable` (nobody there, or the connection was
lost: the outcome is not known) or :class:`AccessDenied` (the socket may not be used); no httpx
exception leaves this module.
"""

from __future__ import annotations

import errno
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

import httpx

from hwkm.client.calls import ANSWER_BYTES_MAX, Call
from hwkm.errors import AccessDenied, HwkmError, LimitExceeded, Unavailable

TIMEOUT_SECONDS: Final = 60.0
"""Claims on one vault wait for each other, and a real TPM takes its time."""

CONNECT_TIMEOUT_SECONDS: Final = 5.0

_BASE_URL: Final = "http://hwkmd"
_HEADERS: Final = {"Content-Type": "application/json", "Accept": "application/json"}


class Transport:
    """A blocking connection to one daemon."""

    def __init__(self, socket_path: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._socket_path = socket_path
        self._client = httpx.Client(
            transport=httpx.HTTPTransport(uds=str(socket_path)),
            base_url=_BASE_URL,
            headers=_HEADERS,
            timeout=_timeout(timeout_seconds),
            trust_env=False,
        )

    def send(self, call: Call[Any]) -> Any:
        """Carry one call and return its typed answer.

        Raises:
            HwkmError: as :meth:`Call.read_answer`; Unavailable, AccessDenied, LimitExceeded.
        """
        with (
            _translated(self._socket_path),
            self._client.stream(call.method, call.target, content=call.body) as answer,
        ):
            received = bytearray()
            for part in answer.iter_raw():
                received += _within_limit(received, part)
        return call.read_answer(answer.status_code, bytes(received))

    def close(self) -> None:
        """Close the connection. May be called again."""
        self._client.close()


class AsyncTransport:
    """The same for asyncio."""

    def __init__(self, socket_path: Path, *, timeout_seconds: float = TIMEOUT_SECONDS) -> None:
        self._socket_path = socket_path
        self._client = httpx.AsyncClient(
            transport=httpx.AsyncHTTPTransport(uds=str(socket_path)),
            base_url=_BASE_URL,
            headers=_HEADERS,
            timeout=_timeout(timeout_seconds),
            trust_env=False,
        )

    async def send(self, call: Call[Any]) -> Any:
        """As :meth:`Transport.send`."""
        with _translated(self._socket_path):
            async with self._client.stream(call.method, call.target, content=call.body) as answer:
                received = bytearray()
                async for part in answer.aiter_raw():
                    received += _within_limit(received, part)
        return call.read_answer(answer.status_code, bytes(received))

    async def close(self) -> None:
        """Close the connection. May be called again."""
        await self._client.aclose()


def _timeout(seconds: float) -> httpx.Timeout:
    return httpx.Timeout(seconds, connect=CONNECT_TIMEOUT_SECONDS)


def _within_limit(received: bytearray, part: bytes) -> bytes:
    if len(received) + len(part) > ANSWER_BYTES_MAX:
        raise LimitExceeded(f"the daemon's answer is longer than {ANSWER_BYTES_MAX} bytes")
    return part


@contextmanager
def _translated(socket_path: Path) -> Iterator[None]:
    try:
        yield
    except httpx.ConnectError as exc:
        raise _no_connection(socket_path, _errno_of(exc)) from exc
    except httpx.ReadTimeout as exc:
        raise Unavailable("the daemon took the request and did not answer in time") from exc
    except httpx.HTTPError as exc:
        raise Unavailable(f"the connection to the daemon was lost ({type(exc).__name__})") from exc


def _errno_of(exc: BaseException | None) -> int:
    """The number of the operating system's error at the bottom of a chain of exceptions."""
    while exc is not None:
        if isinstance(exc, OSError) and exc.errno is not None:
            return exc.errno
        exc = exc.__cause__ or exc.__context__
    return 0


def _no_connection(path: Path, number: int) -> HwkmError:
    match number:
        case errno.ENOENT:
            return Unavailable(f"there is no socket {path}: is hwkmd running, and is this its socket?")
        case errno.ECONNREFUSED:
            return Unavailable(f"nobody listens on {path}: hwkmd is not running (the socket is stale)")
        case errno.EACCES | errno.EPERM:
            return AccessDenied(f"you may not use {path}: you are not in the group it is for")
        case _:
            return Unavailable(f"cannot connect to {path}")
