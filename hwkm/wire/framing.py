"""Frames on the private channel: a length (u32 big endian), then that many bytes."""

from __future__ import annotations

import struct
from collections.abc import Iterator
from typing import Final

from hwkm.errors import FormatError

FRAME_BYTES_MAX: Final = 1024 * 1024 + 64 * 1024
REQUEST_BYTES_MAX: Final = 1024 * 1024
"""A reply to a request is never more than 64 KiB longer than it, or than 1 MiB."""
HEAD: Final = struct.Struct(">I")


def encode_frame(body: bytes) -> bytes:
    """Prefix ``body`` (up to 1,088 KiB) with its length.

    Raises:
        FormatError: it is too long.
    """
    if len(body) > FRAME_BYTES_MAX:
        raise FormatError(f"a frame holds at most {FRAME_BYTES_MAX} bytes")
    return HEAD.pack(len(body)) + body


class FrameReader:
    """Cuts a byte stream into frames."""

    def __init__(self) -> None:
        self._buffer = bytearray()

    def feed(self, data: bytes | memoryview) -> Iterator[bytes]:
        """Take in bytes and yield the bodies that are now whole.

        Raises:
            FormatError: a frame announces more than 1,088 KiB.
        """
        self._buffer += data
        while len(self._buffer) >= HEAD.size:
            (length,) = HEAD.unpack_from(self._buffer)
            if length > FRAME_BYTES_MAX:
                raise FormatError(f"a frame announces {length} bytes, at most {FRAME_BYTES_MAX}")
            end = HEAD.size + length
            if len(self._buffer) < end:
                return
            body = bytes(self._buffer[HEAD.size : end])
            del self._buffer[:end]
            yield body
