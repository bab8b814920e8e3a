"""One HTTP/1.1 connection: the peer's identity, one request at a time, and a limit on everything it waits for.

A connection over a limit is told so and closed before any of its bytes are parsed. Requests that
arrive while one is worked on wait, at most as many as one read of the socket brings; meanwhile
nothing more is read.
"""

from __future__ import annotations

import asyncio
from collections import deque
from collections.abc import Callable, Coroutine
from dataclasses import dataclass
from typing import Any, Final, cast

from hwkm.errors import HwkmError, LimitExceeded
from hwkm.server import answers
from hwkm.server.http_messages import CLOSE, KEEP_ALIVE, Request, Response
from hwkm.server.http_parser import RequestParser, SizeLimits, TakesBody
from hwkm.server.limits import Connections
from hwkm.server.logs import get_log
from hwkm.server.peer import NOBODY, Peer
from hwkm.server.policy import Granted

SWEEP_INTERVAL_S: Final = 1.0
LINGERING_S: Final = 1.0
"""How long what still comes is read and dropped after a last answer, so that it is not lost to a reset."""

_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"

Handler = Callable[[Request, "HttpConnection"], Coroutine[Any, Any, Response]]


@dataclass(frozen=True, slots=True)
class ConnectionLimits:
    """Sizes in bytes, times in seconds."""

    header_bytes: int
    body_bytes: int
    request_timeout_s: float
    response_timeout_s: float
    idle_timeout_s: float

    @property
    def sizes(self) -> SizeLimits:
        """What the parser bounds."""
        return SizeLimits(self.header_bytes, self.body_bytes)


class HttpConnection(asyncio.Protocol):
    """One connection of one caller."""

    def __init__(self, server: HttpServer, limits: ConnectionLimits, loop: asyncio.AbstractEventLoop) -> None:
        self._server = server
        self._limits = limits
        self._loop = loop
        self._parser = RequestParser(limits.sizes, server.takes_body)
        self._transport: asyncio.Transport | None = None  # None before it is admitted, and when it is lost
        self._waiting: deque[Request] = deque()
        self.task: asyncio.Task[None] | None = None
        """The request that is being worked on."""
        self._closing = False
        self._reading_is_paused = self._writing_is_paused = False
        # Since when, by the loop's clock, it has been waiting for the caller; None while it does not.
        self._idle_since: float | None = None
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
            stream.write(answers.problem(exc).encode(connection=CLOSE))
            stream.close()
        else:
            self._transport = stream
            self._idle_since = self._loop.time()
            self._server.connections.add(self)

    def data_received(self, data: bytes) -> None:
        if self._transport is None or self._closing or self._parser.is_over:
            return
        if self._receiving_since is None:
            self._receiving_since = self._loop.time()
        self._waiting += self._parser.feed(data)
        if self._parser.receiving is None and (self._waiting or self._parser.is_over):
            self._receiving_since = None
        elif self._parser.wants_leave and self.task is None and not self._waiting:
            self._parser.wants_leave = False
            self._transport.write(_CONTINUE)
        self._idle_since = None
        self._go_on()

    def pause_writing(self) -> None:
        self._writing_is_paused = True

    def resume_writing(self) -> None:
        self._writing_is_paused = False
        self._sending_since = self._loop.time()
        self._go_on()

    def connection_lost(self, exc: BaseException | None) -> None:
        if self._transport is not None:
            self._transport = None
            self._waiting.clear()
            self._server.open_connections.close(self.peer.uid)
            self._server.connections.discard(self)

    # --- for the server ----------------------------------------------------------------------

    def close_if_slow(self, now: float) -> None:
        """Cut off a caller who sends or reads too slowly, or says nothing."""
        transport = self._transport
        if transport is None:
            return
        if self._sending_since is not None and not transport.get_write_buffer_size():
            self._sending_since = None
        if _is_over(self._sending_since, self._limits.response_timeout_s, now):
            transport.abort()
        elif _is_over(self._receiving_since, self._limits.request_timeout_s, now):
            self._end_slow_request(transport)
        elif _is_over(self._idle_since, self._limits.idle_timeout_s, now):
            transport.abort() if transport.get_write_buffer_size() else transport.close()

    def stop(self) -> None:
        """Take no more requests; close when what was taken is answered."""
        self._parser.is_over = True
        self._go_on()

    def end(self) -> None:
        """Close now; what is being worked on gets no answer."""
        if self._transport is None:
            return
        if self.task is None:
            self._transport.close()
        else:
            self.task.cancel()
            self._transport.abort()

    # --- requests, one after the other ---------------------------------------------------------

    def _go_on(self) -> None:
        """Begin the next request if its turn has come, end what is over, read if there is room."""
        transport = self._transport
        if transport is None or self._closing:
            return
        if self.task is None and not self._writing_is_paused:
            if self._waiting:
                self._idle_since = None
                self.task = self._loop.create_task(self._answer(self._waiting.popleft()))
            elif self._parser.broken is not None:
                self._send(transport, self._parser.broken, CLOSE)
                self._close_after_answer(transport)
                return
            elif self._parser.is_over:
                self._close_after_answer(transport)
                return
        self._pause_reading(transport, bool(self._waiting))

    async def _answer(self, request: Request) -> None:
        response = await self._handled(request)
        self.task = None
        transport = self._transport
        if transport is None:
            return
        connection = CLOSE if response.close or not request.keep_alive or self._is_last() else ""
        if not connection and request.is_http_1_0:
            connection = KEEP_ALIVE
        self._send(transport, response, connection, with_body=request.method != "HEAD")
        if connection == CLOSE:
            self._close_after_answer(transport)
            return
        if self._receiving_since is None:
            self._idle_since = self._loop.time()
        if self._waiting or self._parser.is_over or self._reading_is_paused:
            self._go_on()

    async def _handled(self, request: Request) -> Response:
        try:
            return await self._server.handler(request, self)
        except Exception as exc:  # noqa: BLE001  (whatever it is, it is answered and logged)
            get_log().error("unexpected error", exc_info=exc)
            return answers.problem(HwkmError("an unexpected error; the daemon's log says where"), 500)

    def _is_last(self) -> bool:
        return self._parser.is_over and not self._waiting and self._parser.broken is None

    def _send(
        self, transport: asyncio.Transport, response: Response, connection: str, *, with_body: bool = True
    ) -> None:
        if self._sending_since is None or not transport.get_write_buffer_size():
            self._sending_since = self._loop.time()
        transport.write(response.encode(connection=connection, with_body=with_body))

    def _close_after_answer(self, transport: asyncio.Transport) -> None:
        """Close; where a body or garbage is still on its way, only after it was dropped for a while."""
        self._closing = True
        self._waiting.clear()
        self._receiving_since = self._idle_since = None
        if self._parser.is_whole:
            transport.close()
        else:
            self._pause_reading(transport, False)
            self._loop.call_later(LINGERING_S, transport.close)

    def _end_slow_request(self, transport: asyncio.Transport) -> None:
        """Answer a request whose body does not arrive; without a whole head there is none."""
        if self._parser.receiving is None:
            transport.abort()
            return
        self._receiving_since = None
        limit_s = self._limits.request_timeout_s
        error = LimitExceeded(f"the request took longer than {limit_s:g} s to arrive")
        self._waiting += self._parser.refuse_body(error)
        self._go_on()

    def _pause_reading(self, transport: asyncio.Transport, pause: bool) -> None:
        if pause is not self._reading_is_paused:
            self._reading_is_paused = pause
            # The caller is not to blame for the time that we do not read.
            waits = not pause and self._parser.receiving is not None
            self._receiving_since = self._loop.time() if waits else None
            transport.pause_reading() if pause else transport.resume_reading()


class HttpServer:
    """Makes the connections, and cuts off the slow ones."""

    def __init__(
        self,
        handler: Handler,
        limits: ConnectionLimits,
        open_connections: Connections,
        *,
        on_refused: Callable[[], object],
        identify: Callable[[Any], Peer],
        takes_body: TakesBody = lambda _request: True,
    ) -> None:
        self.handler = handler
        self.open_connections = open_connections
        self.on_refused = on_refused
        self.identify = identify
        self.takes_body = takes_body
        self.connections: set[HttpConnection] = set()
        self._limits = limits
        self._loop = asyncio.get_running_loop()
        self._sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._close_slow_connections)

    def __call__(self) -> HttpConnection:
        return HttpConnection(self, self._limits, self._loop)

    async def shutdown(self, timeout_s: float) -> None:
        """Let the requests that were taken be answered, for so long, then close what is left."""
        self._sweep.cancel()
        for connection in list(self.connections):
            connection.stop()
        deadline = self._loop.time() + timeout_s
        while (tasks := self._in_work()) and (left_s := deadline - self._loop.time()) > 0:
            await asyncio.wait(tasks, timeout=left_s)
        for connection in list(self.connections):
            connection.end()

    def _in_work(self) -> list[asyncio.Task[None]]:
        return [connection.task for connection in self.connections if connection.task is not None]

    def _close_slow_connections(self) -> None:
        now = self._loop.time()
        for connection in list(self.connections):
            connection.close_if_slow(now)
        self._sweep = self._loop.call_later(SWEEP_INTERVAL_S, self._close_slow_connections)


def _is_over(since: float | None, limit_s: float, now: float) -> bool:
    return since is not None and now - since > limit_s
