"""The daemon's end of the private channel to one life of the trusted core."""

from __future__ import annotations

import asyncio
from typing import Final, cast

import msgspec

from hwkm.errors import FormatError, HwkmError, LimitExceeded, Unavailable
from hwkm.wire.core_messages import (
    CoreReply,
    CoreRequest,
    CoreStart,
    CoreStarted,
    Failed,
    ReplyFrame,
    RequestFrame,
)
from hwkm.wire.framing import REQUEST_BYTES_MAX, FrameReader, encode_frame
from hwkm.wire.problems import Problem, error_of

_encoder: Final = msgspec.msgpack.Encoder()
_started_decoder: Final[msgspec.msgpack.Decoder[CoreStarted]] = msgspec.msgpack.Decoder(CoreStarted)
_reply_decoder: Final = msgspec.msgpack.Decoder(ReplyFrame)


class CoreLink(asyncio.Protocol):
    """Numbers requests and hands each reply to whoever waits for it."""

    def __init__(self) -> None:
        loop = asyncio.get_running_loop()
        self._started: asyncio.Future[CoreStarted] = loop.create_future()
        self.closed: asyncio.Future[None] = loop.create_future()
        self._reader = FrameReader()
        self._transport: asyncio.Transport | None = None
        self._waiting: dict[int, asyncio.Future[CoreReply]] = {}
        self._number = 0

    @property
    def queue_depth(self) -> int:
        """Requests sent and not yet answered."""
        return len(self._waiting)

    async def start(self, message: CoreStart) -> CoreStarted:
        """Send the start message and wait for the answer to it.

        Raises:
            HwkmError: the core could not do it, by its own code.
            Unavailable: the core ended without an answer.
        """
        self._write(_encoder.encode(message))
        started = await self._started
        if isinstance(started, Failed):
            raise _error_of(started)
        return started

    async def call(self, request: CoreRequest, timeout_s: float | None = None) -> CoreReply:
        """Send a request and wait for its reply, up to ``timeout_s``.

        Raises:
            TimeoutError: there was no reply in time. It is passed over when it comes.
            HwkmError: the core refused, by its own code.
            LimitExceeded: the request has more than 1 MiB; it was not sent.
            Unavailable: the core ended; a claim may be presented again as it is.
        """
        self._number += 1
        encoded = _encoder.encode(RequestFrame(self._number, request))
        if len(encoded) > REQUEST_BYTES_MAX:
            raise LimitExceeded(f"a request has {len(encoded)} bytes, at most {REQUEST_BYTES_MAX}")
        loop = asyncio.get_running_loop()
        reply: asyncio.Future[CoreReply] = loop.create_future()
        self._waiting[self._number] = reply
        self._write(encoded)
        # Cheaper than asyncio.timeout, which is the most of what a request costs here.
        timer = None if timeout_s is None else loop.call_later(timeout_s, _give_up_on, reply)
        try:
            answered = await reply
        finally:
            if timer is not None:
                timer.cancel()
        if isinstance(answered, Failed):
            raise _error_of(answered)
        return answered

    def close(self) -> None:
        """Close our end; the core settles and ends."""
        if self._transport is not None:
            self._transport.close()

    # --- asyncio.Protocol --------------------------------------------------------------------

    def connection_made(self, transport: asyncio.BaseTransport) -> None:
        self._transport = cast("asyncio.Transport", transport)

    def data_received(self, data: bytes) -> None:
        try:
            for body in self._reader.feed(data):
                self._take(body)
        except (FormatError, msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            # The core does not keep to the message set: whatever it is, it is not relied on.
            self.close()

    def connection_lost(self, exc: Exception | None) -> None:
        gone = Unavailable("the trusted core is restarting; try again shortly")
        if not self._started.done():
            self._started.set_exception(gone)
        for waiting in self._waiting.values():
            if not waiting.done():
                waiting.set_exception(gone)
        self._waiting.clear()
        if not self.closed.done():
            self.closed.set_result(None)

    # --- inside ------------------------------------------------------------------------------

    def _take(self, body: bytes) -> None:
        if not self._started.done():
            self._started.set_result(_started_decoder.decode(body))
            return
        frame = _reply_decoder.decode(body)
        waiting = self._waiting.pop(frame.number, None)
        if waiting is not None and not waiting.done():
            waiting.set_result(frame.body)

    def _write(self, body: bytes) -> None:
        if self._transport is None or self._transport.is_closing():
            raise Unavailable("the trusted core is restarting; try again shortly")
        self._transport.write(encode_frame(body))


def _give_up_on(reply: asyncio.Future[CoreReply]) -> None:
    if not reply.done():
        reply.set_exception(TimeoutError())


def _error_of(failed: Failed) -> HwkmError:
    return error_of(Problem(code=failed.code, message=failed.message))
