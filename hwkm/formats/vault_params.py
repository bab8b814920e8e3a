"""Vault params: what is bound to a vault, 94 bytes (``docs/spec/vault.md``).

======  ====  ================================================
offset  size  field
======  ====  ================================================
0       65    cohort public key, uncompressed P-256 point
65      8     counter id, u64 little endian
73      4     max attempts, u32 little endian
77      17    vault handle: type byte, 16 bytes of the device
======  ====  ================================================

Source: AOSP ``KeySyncUtils.packVaultParams``. Android leaves the handle's length open; without a
length prefix that would let a claim's params and challenge be cut in two ways, so it is fixed.
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from hwkm.crypto import p256
from hwkm.errors import FormatError, InvalidKeyError

HANDLE_BYTES: Final = 17
VAULT_PARAMS_BYTES: Final = 94

_LAYOUT: Final = struct.Struct("<65sQI17s")


@dataclass(frozen=True, slots=True)
class VaultParams:
    """Cohort public key (65), counter id (u64), max attempts (u32), handle (17)."""

    cohort_public_key: bytes
    counter_id: int
    max_attempts: int
    handle: bytes

    def __post_init__(self) -> None:
        if len(self.handle) != HANDLE_BYTES:
            raise FormatError(f"a vault handle is {HANDLE_BYTES} bytes")
        if not 0 <= self.counter_id < 2**64:
            raise FormatError("a counter id is an unsigned 64-bit number")
        if not 0 <= self.max_attempts < 2**32:
            raise FormatError("max attempts is an unsigned 32-bit number")
        try:
            p256.load_point(self.cohort_public_key)
        except InvalidKeyError as exc:
            raise FormatError(f"cohort public key in vault params: {exc}") from None

    def encode(self) -> bytes:
        """Return the 94 bytes."""
        return _LAYOUT.pack(self.cohort_public_key, self.counter_id, self.max_attempts, self.handle)

    @classmethod
    def parse(cls, data: bytes) -> VaultParams:
        """Read 94 bytes.

        Raises:
            FormatError: wrong length, or the key is not a point on P-256.
        """
        if len(data) != VAULT_PARAMS_BYTES:
            raise FormatError(f"vault params have {len(data)} bytes, not {VAULT_PARAMS_BYTES}")
        return cls(*_LAYOUT.unpack(data))
