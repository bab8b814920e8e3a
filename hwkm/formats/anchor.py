"""The anchor: 73 bytes in the token's non-volatile memory (``docs/spec/anchor.md``).

======  ====  =====================================================
offset  size  field
======  ====  =====================================================
0       1     format version, 1
1       8     epoch, u64 big endian; plus one for every commit
9       32    root: SHA-256 of the tree's root node, zeros if empty
41      32    cohort: SHA-256 of the cohort public key (65 bytes)
======  ====  =====================================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass
from typing import Final

from hwkm.errors import FormatError

ANCHOR_BYTES: Final = 73
EMPTY_ROOT: Final = bytes(32)

_VERSION: Final = 1
_LAYOUT: Final = struct.Struct(">BQ32s32s")
_EPOCH_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class AnchorState:
    """Which root is true at which epoch, and for which cohort key."""

    epoch: int
    root: bytes
    cohort: bytes

    def __post_init__(self) -> None:
        if not 0 <= self.epoch <= _EPOCH_MAX:
            raise FormatError("anchor epoch is not an unsigned 64-bit number")
        if len(self.root) != 32 or len(self.cohort) != 32:
            raise FormatError("anchor root and cohort digest must be 32 bytes each")

    def encode(self) -> bytes:
        """Return the 73 bytes."""
        return _LAYOUT.pack(_VERSION, self.epoch, self.root, self.cohort)

    @classmethod
    def parse(cls, data: bytes) -> AnchorState:
        """Read 73 bytes.

        Raises:
            FormatError: wrong length or version.
        """
        if len(data) != ANCHOR_BYTES:
            raise FormatError(f"anchor has {len(data)} bytes, not {ANCHOR_BYTES}")
        version, epoch, root, cohort = _LAYOUT.unpack(data)
        if version != _VERSION:
            raise FormatError(f"anchor format version {version} is not {_VERSION}")
        return cls(epoch, root, cohort)
