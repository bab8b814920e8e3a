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
        self._bodies: deque[bytes] = deque()
        # Not select(2): a daemon with a thousand connections hands in a descriptor beyond its reach.
        self._poll = select.poll()
        self._poll.register(sock, select.POLLIN)
        self._wake = select.poll()
        self._wake.register(sock, select.POLLIN)

    def wake_on(self, descriptor: int) -> None:
        """Let :meth:`receive` also return when ``descriptor`` becomes readable."""
        self._wake.register(descriptor, select.POLLIN)

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
        if not self._bodies and not self._woken(timeout_s):
            return []
        while self._readable():
            self._read()
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

    def _woken(self, timeout_s: float | None) -> bool:
        return bool(self._wake.poll(None if timeout_s is None else math.ceil(timeout_s * 1000)))

    def _readable(self) -> bool:
        return bool(self._poll.poll(0))

    def _read(self) -> None:
        try:
            data = self._socket.recv(_READ_BYTES)
        except OSError as exc:
            raise ChannelClosed from exc
        if not data:
            raise ChannelClosed
        self._bodies.extend(self._reader.feed(data))
