"""One HTTP/1.1 connection: aiohttp's, with the peer's identity, and a limit on everything it waits for.

aiohttp parses and frames; what it would answer by itself (HTML or text, for broken HTTP) is
replaced by typed JSON. A connection over a limit is told so and closed before any of its bytes
are parsed.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from dataclasses import dataclass
from typing import Any, Final, cast

from aiohttp import http_exceptions, web
from aiohttp.web_protocol import RequestHandler

from hwkm.errors import HwkmError, LimitExceeded
from hwkm.server import answers
from hwkm.server.limits import Connections
from hwkm.server.peer import NOBODY, Peer, peer_of
from hwkm.server.policy import Granted
from hwkm.wire.problems import status_of

HEADERS_MAX: Final = 64
SWEEP_INTERVAL_S: Final = 1.0
LINGERING_S: Final = 1.0
"""How long the rest of a body is read that was refused, so that the answer is not lost to a reset."""

_REFUSAL: Final = (
    "HTTP/1.1 {status} Refused\r\nContent-Type: application/json\r\nContent-Length: {length}\r\n"
    "Retry-After: 1\r\nConnection: close\r\n\r\n"
)


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Sizes in bytes, times in seconds."""

    header_bytes: int
    body_bytes: int
    request_timeout_s: float
    response_timeout_s: float
    idle_timeout_s: float


class HttpConnection(RequestHandler):
    """One connection of one caller."""

    __slots__ = ("_admitted", "_limits", "_receiving_since", "_sending_since", "_server", "granted", "peer")

    def __init__(self, server: HttpServer, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop) -> None:
        super().__init__(
            server,
            loop=loop,
            keepalive_timeout=limits.idle_timeout_s,
            tcp_keepalive=False,
            access_log=None,  # type: ignore[arg-type]  # aiohttp tests for it
            max_line_size=limits.header_bytes,
            max_field_size=limits.header_bytes,
            max_headers=HEADERS_MAX,
            lingering_time=LINGERING_S,
            # A compressed body is refused, not unpacked: it could be a thousand times larger.
            auto_decompress=False,
        )
        self._server = server
        self._limits = limits
        self._admitted = False
        self._receiving_since: float | None = None
        self._sending_since: float | None = None
        self.peer = NOBODY
        self.granted: Granted | None = None
        """What the policy grants the peer; kept here by the dispatch."""

    # --- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        stream = cast(asyncio.Transport, transport)  # uvloop's is one in all but its class
        try:
            self.peer = self._server.identify(stream.get_extra_info("socket"))
            self._server.open_connections.open(self.peer.uid)
        except OSError:
            stream.abort()
        except HwkmError as exc:
            self._server.on_refused()
            _refuse(stream, exc)
        else:
            self._admitted = True
            super().connection_made(transport)

    def data_received(self, data: bytes) -> None:
        if not self._admitted:
            return
        if self._receiving_since is None and self._current_request is None:
            self._receiving_since = self._loop.time()
        super().data_received(data)

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._admitted:
            self._admitted = False
            self._server.open_connections.close(self.peer.uid)
            super().connection_lost(exc)

    # --- for the daemon ----------------------------------------------------------------------

    def request_received(self) -> None:
        """The whole request has arrived; its handler takes the time it takes."""
        self._receiving_since = None

    def close_if_slow(self, now: float) -> None:
        """Cut off a caller who sends or reads too slowly."""
        slow_request = _is_over(self._receiving_since, self._limits.request_timeout_s, now)
        slow_response = _is_over(self._sending_since, self._limits.response_timeout_s, now)
        if (slow_request or slow_response) and self.transport is not None:
            self.transport.abort()

    # --- aiohttp -----------------------------------------------------------------------------

    async def finish_response(
        self, request: web.BaseRequest, resp: web.StreamResponse, start_time: float | None
    ) -> tuple[web.StreamResponse, bool]:
        self._receiving_since = None
        self._sending_since = self._loop.time()
        try:
            return await super().finish_response(request, resp, start_time)
        finally:
            self._sending_since = None

    def handle_error(
        self,
        request: web.BaseRequest,
        status: int = 500,
        exc: BaseException | None = None,
        message: str | None = None,
    ) -> web.StreamResponse:
        """Answer what is no HTTP. The text of aiohttp's errors is not passed on: it quotes the bytes."""
        response = _transport_problem(status, exc, self._limits)
        response.force_close()
        return response


class HttpServer(web.Server):
    """Makes the connections, and cuts off the slow ones."""

    def __init__(
        self,
        handler: Any,
        limits: ConnectionLimits,
        open_connections: Connections,
        *,
        on_refused: Any,
        loop: asyncio.AbstractEventLoop,
        identify: Callable[[Any], Peer] = peer_of,
    ) -> None:
        super().__init__(handler, request_factory=self._request, loop=loop)
        self._limits = limits
        self.open_connections = open_connections
        self.on_refused = on_refused
        self.identify = identify
        self._sweep = loop.call_later(SWEEP_INTERVAL_S, self._close_slow_connections)

    def __call__(self) -> HttpConnection:
        return HttpConnection(self, self._limits, self._loop)

    async def shutdown(self, timeout: float | None = None) -> None:  # noqa: ASYNC109  (aiohttp's signature)
        self._sweep.cancel()
        await super().shutdown(timeout)

    def _request(self, message: Any, payload: Any, protocol: Any, writer: Any, task: Any) -> web.BaseRequest:
        return web.BaseRequest(
            message, payload, protocol, writer, task, self._loop, client_max_size=self._limits.body_bytes
        )

    def _close_slow_connections(self) -> None:
        now = self._loop.time()
        for connection in self.connections:
            assert isinstance(connection, HttpConnection)
            connection.close_if_slow(now)
        self._sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._close_slow_connections)


def _is_over(since: float | None, limit_s: float, now: float) -> bool:
    return since is not None and now - since > limit_s


def _refuse(transport: asyncio.Transport, error: HwkmError) -> None:
    body = answers.problem_body(error)
    head = _REFUSAL.format(status=status_of(error), length=len(body))
    transport.write(head.encode() + body)
    transport.close()


def _transport_problem(status: int, exc: BaseException | None, limits: ConnectionLimits) -> web.Response:
    if isinstance(exc, http_exceptions.LineTooLong):
        too_long = LimitExceeded(f"a line of the request's head is longer than {limits.header_bytes} bytes")
        return answers.problem(too_long, 431)
    if status == 400:
        return answers.not_http()
    return answers.problem(HwkmError("an unexpected error; the daemon's log says where"), 500)
