"""How the files of an exchange between two modules are written: u16 lengths, big endian.

Shared by :mod:`hwkm.formats.domain_token` and :mod:`hwkm.formats.cohort_invitation`.
"""

from __future__ import annotations

import struct
from typing import Final

from hwkm.errors import FormatError
from hwkm.formats.wrapped_key import Backend

_FORMAT: Final = 1
_U16: Final = struct.Struct(">H")


class Reader:
    """Takes bytes off the front; past the end is a FormatError."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def head(self) -> Backend:
        """Read format version and backend."""
        version, backend = self.take(2)
        if version != _FORMAT:
            raise FormatError(f"format {version} of an exchange between modules is not {_FORMAT}")
        try:
            return Backend(backend)
        except ValueError:
            raise FormatError(f"no backend has the number {backend}") from None

    def take(self, size: int) -> bytes:
        """Read ``size`` bytes."""
        end = self._at + size
        if end > len(self._data):
            raise FormatError("it is cut short")
        piece = self._data[self._at : end]
        self._at = end
        return piece

    def u16(self) -> int:
        """Read a number of two bytes."""
        return int(_U16.unpack(self.take(_U16.size))[0])

    def sized(self, limit: int, *, least: int = 1) -> bytes:
        """Read a part with its length before it, of ``least`` to ``limit`` bytes."""
        size = self.u16()
        if not least <= size <= limit:
            raise FormatError(f"a part of it has {size} bytes, not {least} to {limit}")
        return self.take(size)

    def end(self) -> None:
        """See that nothing is left."""
        if self._at != len(self._data):
            raise FormatError("bytes follow it")


def head(backend: Backend) -> bytes:
    """Return format version and backend."""
    return bytes((_FORMAT, backend))


def u16(number: int) -> bytes:
    """Return a number in two bytes."""
    return _U16.pack(number)


def sized(data: bytes) -> bytes:
    """Return a part with its length before it."""
    return _U16.pack(len(data)) + data
