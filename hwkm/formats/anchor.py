"""The anchor: 73 or 75 bytes in the token's non-volatile memory (``docs/spec/anchor.md``).

======  ====  ==========================================================
offset  size  field
======  ====  ==========================================================
0       1     format version: 1 for a module alone, 2 for a member
1       8     epoch, u64 big endian; plus one for every commit
9       32    root: SHA-256 of the tree's root node, zeros if empty
41      32    cohort: SHA-256 of the cohort public key (65 bytes)
73      1     version 2 only: number of this member of the cohort, from 0
74      1     version 2 only: members of the cohort in all, 2 to 16
======  ====  ==========================================================
"""

from __future__ import annotations

import struct
from dataclasses import dataclass, replace
from typing import Final

from hwkm.errors import FormatError
from hwkm.formats.membership import ALONE, Membership

ANCHOR_BYTES: Final = 73
"""Of a module that is alone in its cohort."""
MEMBER_ANCHOR_BYTES: Final = 75
"""Of one member of several."""
EMPTY_ROOT: Final = bytes(32)

_VERSION: Final = 1
_MEMBER_VERSION: Final = 2
_LAYOUT: Final = struct.Struct(">BQ32s32s")
_MEMBER: Final = struct.Struct(">BB")
_EPOCH_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class AnchorState:
    """Which root is true at which epoch, for which cohort key, and which member of the cohort this is."""

    epoch: int
    root: bytes
    cohort: bytes
    membership: Membership = ALONE

    def __post_init__(self) -> None:
        if not 0 <= self.epoch <= _EPOCH_MAX:
            raise FormatError("anchor epoch is not an unsigned 64-bit number")
        if len(self.root) != 32 or len(self.cohort) != 32:
            raise FormatError("anchor root and cohort digest must be 32 bytes each")

    def next(self, root: bytes) -> AnchorState:
        """The state after a commit: one epoch later, with a new root (32 bytes); all else stays."""
        return replace(self, epoch=self.epoch + 1, root=root)

    def encode(self) -> bytes:
        """Return the 73 bytes of a module alone, the 75 of a member of several."""
        if self.membership.members == 1:
            return _LAYOUT.pack(_VERSION, self.epoch, self.root, self.cohort)
        state = _LAYOUT.pack(_MEMBER_VERSION, self.epoch, self.root, self.cohort)
        return state + _MEMBER.pack(self.membership.number, self.membership.members)

    @classmethod
    def parse(cls, data: bytes) -> AnchorState:
        """Read 73 or 75 bytes.

        Raises:
            FormatError: wrong length or version, or no such membership.
        """
        if len(data) not in _VERSION_OF:
            raise FormatError(f"anchor has {len(data)} bytes, not {ANCHOR_BYTES} or {MEMBER_ANCHOR_BYTES}")
        version, epoch, root, cohort = _LAYOUT.unpack(data[:ANCHOR_BYTES])
        if version != _VERSION_OF[len(data)]:
            raise FormatError(f"anchor format version {version} does not have {len(data)} bytes")
        return cls(epoch, root, cohort, _parse_membership(data[ANCHOR_BYTES:]))


_VERSION_OF: Final = {ANCHOR_BYTES: _VERSION, MEMBER_ANCHOR_BYTES: _MEMBER_VERSION}


def _parse_membership(data: bytes) -> Membership:
    if not data:
        return ALONE
    membership = Membership(*_MEMBER.unpack(data))
    if membership.members == 1:
        raise FormatError("a module alone has an anchor of version 1")
    return membership
