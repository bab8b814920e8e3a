"""The inner ciphertext: one format for every interface (``docs/spec/ciphertext.md``).

Each ciphertext has a key of its own, derived from the customer master key inside the hardware (SP
800-108 counter mode, one block of HMAC-SHA-256). Here are the bytes: the head, what goes into the
derivation, what is authenticated beside the plaintext. The rules are in :mod:`hwkm.thm.data_keys`.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final, Self

from hwkm.crypto import labels
from hwkm.crypto.aead import TAG_BYTES
from hwkm.errors import FormatError
from hwkm.formats.key_kind import KEY_ID_BYTES, KeyName

NONCE_BYTES: Final = 16
PLAINTEXT_BYTES_MAX: Final = 4096

_FORMAT: Final = 1
_HEAD: Final = struct.Struct(f">B{KEY_ID_BYTES}sI{NONCE_BYTES}s")
HEAD_BYTES: Final = _HEAD.size
OVERHEAD_BYTES: Final = HEAD_BYTES + TAG_BYTES
CIPHERTEXT_BYTES_MAX: Final = OVERHEAD_BYTES + PLAINTEXT_BYTES_MAX

# SP 800-108r1, 4.1: counter i (u32) = 1, label, 00, context, length L of the key in bits (u32) = 256.
_BEFORE: Final = b"\0\0\0\1" + labels.DATA_KEY + b"\0"
_AFTER: Final = b"\0\0\1\0"


@dataclass(frozen=True, slots=True)
class CiphertextHead:
    """The first 37 bytes: which version of which key, and the nonce (16) that makes the key unique."""

    name: KeyName
    nonce: bytes

    def encode(self) -> bytes:
        """The head's bytes."""
        return _HEAD.pack(_FORMAT, self.name.key_id, self.name.version, self.nonce)

    @classmethod
    def parse(cls, ciphertext: bytes) -> Self:
        """Read the head of a whole ciphertext (54 to 4,149 bytes).

        Raises:
            FormatError: it is not a ciphertext of this format.
        """
        if not OVERHEAD_BYTES < len(ciphertext) <= CIPHERTEXT_BYTES_MAX:
            raise FormatError("a ciphertext has the wrong length")
        version, key_id, key_version, nonce = _HEAD.unpack_from(ciphertext)
        if version != _FORMAT:
            raise FormatError(f"ciphertext format {version} is not {_FORMAT}")
        return cls(KeyName(key_id, key_version), nonce)


def derivation_input(head: bytes, context_digest: bytes) -> bytes:
    """What the hardware computes the HMAC of: 94 bytes, from a head (37) and a context's digest (32)."""
    name, nonce = head[1:-NONCE_BYTES], head[-NONCE_BYTES:]
    return _BEFORE + name + context_digest + nonce + _AFTER


def associated_data(head: bytes, context_digest: bytes) -> bytes:
    """What is authenticated beside the plaintext (69 bytes)."""
    return head + context_digest
