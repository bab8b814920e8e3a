"""The core's end of the private channel: frames in, frames out, one thread."""

from __future__ import annotations

import math
import select
import socket
from collections import deque
from collections.abc import Sequence
from typing import Final

import msgspec

from hwkm.wire.core_messages import CoreStart, CoreStarted, ReplyFrame, RequestFrame
from hwkm.wire.framing import FrameReader, encode_frame

_READ_BYTES: Final = 256 * 1024

_start_decoder: Final[msgspec.msgpack.Decoder[CoreStart]] = msgspec.msgpack.Decoder(CoreStart)
_request_decoder: Final = msgspec.msgpack.Decoder(RequestFrame)
_encoder: Final = msgspec.msgpack.Encoder()


class ChannelClosed(Exception):
    """The daemon has closed its end, or is gone."""


class Channel:
    """Typed frames over a connected stream socket, which it owns."""

    def __init__(self, sock: socket.socket) -> None:
        sock.setblocking(True)
        self._socket = sock
        self._reader = FrameReader()
        # One buffer for all time, wiped after each use: 256 KiB from the allocator and back, overwritten
        # when freed, would cost more than the rest of a request.
        self._buffer = memoryview(bytearray(_READ_BYTES))
        self._bodies: deque[bytes] = deque()
        # Not select(2): a daemon with a thousand connections hands in a descriptor beyond its reach.
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._descriptor = sock.fileno()

    def wake_on(self, descriptor: int) -> None:
        """Let :meth:`receive` also return when ``descriptor`` becomes readable."""
        self._poll.register(descriptor, select.POLLIN)

    def receive_start(self) -> CoreStart:
        """Wait for the first message.

        Raises:
            ChannelClosed: the daemon is gone.
            msgspec.DecodeError, UnicodeDecodeError, FormatError: it is not a start message.
        """
        while not self._bodies:
            self._read()
        return _start_decoder.decode(self._bodies.popleft())

    def receive(self, timeout_s: float | None) -> list[RequestFrame]:
        """Return every request that has arrived; wait up to ``timeout_s`` for the first, or to be woken.

        Raises:
            ChannelClosed: the daemon is gone.
            msgspec.DecodeError, UnicodeDecodeError, FormatError: the daemon does not keep to the message set.
        """
        if not self._bodies and not self._readable(timeout_s):
            return []
        # One read takes all that waits, unless it fills the buffer.
        while self._read() == _READ_BYTES and self._readable(0):
            pass
        frames = [_request_decoder.decode(body) for body in self._bodies]
        self._bodies.clear()
        return frames

    def send_started(self, message: CoreStarted) -> None:
        """Answer the start message."""
        self._send(encode_frame(_encoder.encode(message)))

    def send(self, replies: Sequence[ReplyFrame]) -> None:
        """Send replies in one write."""
        self._send(b"".join(encode_frame(_encoder.encode(reply)) for reply in replies))

    def _send(self, data: bytes) -> None:
        try:
            self._socket.sendall(data)
        except OSError as exc:
            raise ChannelClosed from exc

    def _readable(self, timeout_s: float | None) -> bool:
        """Whether a request is there; False as well when :meth:`wake_on`'s descriptor is readable alone."""
        ready = self._poll.poll(None if timeout_s is None else math.ceil(timeout_s * 1000))
        return any(descriptor == self._descriptor for descriptor, _ in ready)

    def _read(self) -> int:
        try:
            length = self._socket.recv_into(self._buffer)
        except OSError as exc:
            raise ChannelClosed from exc
        if not length:
            raise ChannelClosed
        self._bodies.extend(self._reader.feed(self._buffer[:length]))
        self._buffer[:length] = bytes(length)
        return length
