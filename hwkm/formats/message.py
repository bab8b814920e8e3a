"""Encrypted files: the AWS Encryption SDK's message format 2, framed (``docs/spec/file-format.md``).

======  ====  =============================================================================
offset  size  field of the header; numbers are big endian
======  ====  =============================================================================
0       1     version, 2
1       2     suite, 0x0478 or 0x0578
3       32    message id
35      2     length of the encryption context, c; 0 if it has no pairs
37      c     encryption context (:mod:`hwkm.formats.context`)
37+c    2     number of wrapped data keys, 1 to 16
39+c    n     each: provider id, key info, wrapped key; u16 length and bytes each
39+c+n  1     content type, 2 (framed)
40+c+n  4     frame length
44+c+n  32    commitment
76+c+n  16    tag over every byte before it
======  ====  =============================================================================

Then frames: number (4), IV (12), ciphertext of one frame length, tag (16). The last is
``ffffffff``, number, IV, length (4), ciphertext of that length, tag. Suite 0x0578 adds a footer:
length (2) and an ECDSA signature over all before it.

This module knows bytes only. Keys are :mod:`hwkm.client.files.message_keys`.
"""

from __future__ import annotations

import struct
from collections.abc import Mapping
from dataclasses import dataclass, replace
from enum import IntEnum
from typing import Final, Self

from hwkm.errors import FormatError
from hwkm.formats.context import EMPTY_CONTEXT, encode_context, parse_context

VERSION: Final = 2
MESSAGE_ID_BYTES: Final = 32
COMMITMENT_BYTES: Final = 32
TAG_BYTES: Final = 16
IV_BYTES: Final = 12
FRAMED: Final = 2

HEADER_BYTES_MAX: Final = 64 * 1024
"""Header and tag. Context and wrapped keys of this service need less than a fifth of it."""

DATA_KEYS_MAX: Final = 16
FRAME_BYTES_MAX: Final = 16 * 1024 * 1024
"""A frame is held in memory. The SDK writes 4 KiB unless told otherwise."""

FRAMES_MAX: Final = 2**32 - 1
LAST_FRAME: Final = b"\xff\xff\xff\xff"
HEADER_IV: Final = bytes(IV_BYTES)

_FRAME: Final = b"AWSKMSEncryptionClient Frame"
_FINAL_FRAME: Final = b"AWSKMSEncryptionClient Final Frame"
_U16_MAX: Final = 0xFFFF


class Suite(IntEnum):
    """AES-256-GCM under a key by HKDF-SHA-512, with a commitment to it; the second also signed."""

    COMMITTED = 0x0478
    COMMITTED_SIGNED = 0x0578


@dataclass(frozen=True, slots=True)
class WrappedDataKey:
    """One wrapping of the data key. Provider ``aws-kms``: the key info is the key's ARN."""

    provider: bytes
    key_info: bytes
    wrapped: bytes

    def encode(self) -> bytes:
        """Return three parts, each after its length (u16)."""
        return b"".join(_with_length(part) for part in (self.provider, self.key_info, self.wrapped))


@dataclass(frozen=True, slots=True)
class MessageHeader:
    """Everything before the header's tag."""

    suite: Suite
    message_id: bytes
    context: Mapping[str, str]
    data_keys: tuple[WrappedDataKey, ...]
    frame_bytes: int
    commitment: bytes

    def __post_init__(self) -> None:
        if len(self.message_id) != MESSAGE_ID_BYTES or len(self.commitment) != COMMITMENT_BYTES:
            raise FormatError("a message id and a commitment are 32 bytes each")
        if not 1 <= len(self.data_keys) <= DATA_KEYS_MAX:
            raise FormatError(f"an encrypted file has 1 to {DATA_KEYS_MAX} wrapped data keys")
        if not 1 <= self.frame_bytes <= FRAME_BYTES_MAX:
            raise FormatError(f"frames are of 1 to {FRAME_BYTES_MAX} bytes, not {self.frame_bytes}")
        for part in (part for key in self.data_keys for part in (key.provider, key.key_info, key.wrapped)):
            if len(part) > _U16_MAX:
                raise FormatError("a part of a wrapped data key is longer than 65,535 bytes")

    def encode(self) -> bytes:
        """Return every byte before the tag.

        Raises:
            FormatError: it would be longer than :data:`HEADER_BYTES_MAX`.
        """
        context = encode_context(self.context) if self.context else b""
        keys = b"".join(key.encode() for key in self.data_keys)
        encoded = b"".join(
            (
                struct.pack(">BH", VERSION, self.suite),
                self.message_id,
                _with_length(context),
                struct.pack(">H", len(self.data_keys)),
                keys,
                struct.pack(">BI", FRAMED, self.frame_bytes),
                self.commitment,
            )
        )
        if len(encoded) + TAG_BYTES > HEADER_BYTES_MAX:
            raise FormatError(f"the header of an encrypted file is over {HEADER_BYTES_MAX} bytes")
        return encoded

    @classmethod
    def parse(cls, data: bytes) -> tuple[Self, int]:
        """Read a header from the start of ``data``; return it, unverified, and its length without the tag.

        ``data`` is the first :data:`HEADER_BYTES_MAX` bytes of a file, or all of a shorter one.

        Raises:
            FormatError: it does not start with a whole header, or one with what is not read here.
        """
        cursor = _Cursor(data)
        suite = _parse_start(cursor)
        message_id = cursor.take(MESSAGE_ID_BYTES)
        context = _parse_context(cursor.take_with_length())
        data_keys = tuple(_parse_data_key(cursor) for _ in range(_count_of_keys(cursor)))
        content_type, frame_bytes = struct.unpack(">BI", cursor.take(5))
        if content_type != FRAMED:
            raise FormatError("the file is not framed; hwkm reads framed files only")
        header = cls(suite, message_id, context, data_keys, frame_bytes, cursor.take(COMMITMENT_BYTES))
        return header, cursor.position

    def with_data_key(self, index: int, key: WrappedDataKey) -> Self:
        """The same header with one wrapping of the data key exchanged."""
        keys = (*self.data_keys[:index], key, *self.data_keys[index + 1 :])
        return replace(self, data_keys=keys)


def is_message(start: bytes) -> bool:
    """Whether a file that starts so is one of this format, as far as three bytes can tell."""
    return len(start) >= 3 and start[0] == VERSION and int.from_bytes(start[1:3], "big") in set(Suite)


def frame_iv(number: int) -> bytes:
    """The IV of a frame: its number, 1 for the first. The header's tag has the IV 0."""
    return number.to_bytes(IV_BYTES, "big")


def frame_aad(message_id: bytes, number: int, length: int, *, is_final: bool) -> bytes:
    """What is authenticated with a frame's plaintext of ``length`` bytes."""
    return message_id + (_FINAL_FRAME if is_final else _FRAME) + struct.pack(">IQ", number, length)


def frame_head(number: int, length: int, *, is_final: bool) -> bytes:
    """The bytes of a frame before its ciphertext of ``length`` bytes."""
    if is_final:
        return LAST_FRAME + struct.pack(">I", number) + frame_iv(number) + struct.pack(">I", length)
    return struct.pack(">I", number) + frame_iv(number)


def _with_length(part: bytes) -> bytes:
    return len(part).to_bytes(2, "big") + part


class _Cursor:
    """A place in bytes that moves on as they are taken."""

    def __init__(self, data: bytes) -> None:
        self._data = data
        self.position = 0

    def take(self, count: int) -> bytes:
        """The next ``count`` bytes."""
        end = self.position + count
        if end > min(len(self._data), HEADER_BYTES_MAX - TAG_BYTES):
            raise FormatError("the header of the encrypted file is cut short or too long")
        taken = self._data[self.position : end]
        self.position = end
        return taken

    def take_u16(self) -> int:
        """The next number of two bytes."""
        return int.from_bytes(self.take(2), "big")

    def take_with_length(self) -> bytes:
        """The next part, after its length."""
        return self.take(self.take_u16())


def _parse_start(cursor: _Cursor) -> Suite:
    start = cursor.take(3)
    if not is_message(start):
        raise FormatError("this is no encrypted file, or one of a version or suite not read here")
    return Suite(int.from_bytes(start[1:], "big"))


def _parse_context(encoded: bytes) -> dict[str, str]:
    """No pairs are no bytes; the two bytes 0 would be a second encoding of that."""
    if encoded == EMPTY_CONTEXT:
        raise FormatError("an encryption context without pairs takes no bytes in a header")
    return parse_context(encoded) if encoded else {}


def _count_of_keys(cursor: _Cursor) -> int:
    count = cursor.take_u16()
    if not 1 <= count <= DATA_KEYS_MAX:
        raise FormatError(f"the file has {count} wrapped data keys; 1 to {DATA_KEYS_MAX} are read")
    return count


def _parse_data_key(cursor: _Cursor) -> WrappedDataKey:
    return WrappedDataKey(cursor.take_with_length(), cursor.take_with_length(), cursor.take_with_length())
