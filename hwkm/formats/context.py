"""Encryption context: a map of strings bound to a ciphertext, never secret (``docs/spec/context.md``).

The canonical encoding has the pairs sorted by the UTF-8 bytes of their keys, so that equal maps have
equal bytes and equal digests, in whatever order somebody wrote them.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Final

from hwkm.errors import FormatError

CONTEXT_PAIRS_MAX: Final = 64
CONTEXT_BYTES_MAX: Final = 8192
CONTEXT_DIGEST_BYTES: Final = 32
EMPTY_CONTEXT: Final = b"\0\0"

_U16: Final = struct.Struct(">H")
_pack_u16: Final = _U16.pack


def encode_context(context: Mapping[str, str]) -> bytes:
    """Return the canonical encoding: 2 to 8,192 bytes. Keys are not empty, values may be.

    Raises:
        FormatError: too many pairs, too long, an empty key, or not encodable as UTF-8.
    """
    if not context:
        return EMPTY_CONTEXT
    if len(context) > CONTEXT_PAIRS_MAX:
        raise FormatError(f"an encryption context has at most {CONTEXT_PAIRS_MAX} pairs, not {len(context)}")
    encoded = _pack_u16(len(context))
    for key, value in _sorted_utf8(context):
        if not key:
            raise FormatError("a key of an encryption context is not empty")
        if len(encoded) + len(key) + len(value) > CONTEXT_BYTES_MAX:
            raise _too_long()
        encoded += _pack_u16(len(key)) + key + _pack_u16(len(value)) + value
    _check_length(encoded)
    return encoded


def parse_context(data: bytes) -> dict[str, str]:
    """Read what :func:`encode_context` wrote, and nothing else.

    Raises:
        FormatError: it is not a canonical encoding.
    """
    _check_length(data)
    reader = _Reader(data)
    count = reader.u16()
    if count > CONTEXT_PAIRS_MAX:
        raise FormatError(f"an encryption context has at most {CONTEXT_PAIRS_MAX} pairs, not {count}")
    context: dict[str, str] = {}
    before = b""
    for _ in range(count):
        key, value = reader.string(), reader.string()
        if key <= before:
            raise FormatError("keys of an encryption context are not empty, sorted, each there once")
        before = key
        context[_text(key)] = _text(value)
    reader.end()
    return context


def context_digest(encoded: bytes) -> bytes:
    """SHA-256 of a canonical encoding: what a ciphertext is bound to (32 bytes)."""
    return hashlib.sha256(encoded).digest()


class _Reader:
    def __init__(self, data: bytes) -> None:
        self._data = data
        self._at = 0

    def u16(self) -> int:
        return int.from_bytes(self._take(_U16.size), "big")

    def string(self) -> bytes:
        return self._take(self.u16())

    def end(self) -> None:
        if self._at != len(self._data):
            raise FormatError("an encryption context ends before its bytes do")

    def _take(self, length: int) -> bytes:
        end = self._at + length
        if end > len(self._data):
            raise FormatError("an encryption context is cut short")
        taken = self._data[self._at : end]
        self._at = end
        return taken


def _check_length(encoded: bytes) -> None:
    if len(encoded) > CONTEXT_BYTES_MAX:
        raise _too_long()


def _too_long() -> FormatError:
    return FormatError(f"an encryption context encodes to at most {CONTEXT_BYTES_MAX} bytes")


def _sorted_utf8(context: Mapping[str, str]) -> list[tuple[bytes, bytes]]:
    try:
        return sorted([(key.encode(), value.encode()) for key, value in context.items()])
    except UnicodeEncodeError:
        raise FormatError("an encryption context holds text that is not Unicode") from None


def _text(data: bytes) -> str:
    try:
        return data.decode()
    except UnicodeDecodeError:
        raise FormatError("an encryption context is not UTF-8") from None
