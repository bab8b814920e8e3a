"""Where a cohort key of several TPMs may go: the inputs of its authPolicy (``docs/spec/evidence.md``).

======  ====  ==================================================================
offset  size  field
======  ====  ==================================================================
0       1     format, 1
1       4     handle of the first member's NV counter, u32 big endian
5       8     limit, u64: the key may go while the counter is less
13      34    Name of the first member's audit key
47      1     number of the other members, 1 to 8
48      34*n  Names of the storage keys of members 1, 2, ...
======  ====  ==================================================================

The policy is one branch a member, joined by TPM2_PolicyOR if there are several. All numbers below are
those of the TPM 2.0 library specification, parts 2 and 3.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final, Self

from hwkm.errors import FormatError

NAME_BYTES: Final = 34
OTHERS_MAX: Final = 8  # as many branches as one TPM2_PolicyOR takes
TERMS_BYTES_MAX: Final = 48 + OTHERS_MAX * NAME_BYTES

COUNTER_BYTES: Final = 8
COUNTER_ATTRIBUTES: Final = 0x02040014
"""TPM_NT_COUNTER, AUTHWRITE, AUTHREAD, NO_DA: the index's own authorisation and no other."""
UNSIGNED_LT: Final = 0x0005

_FORMAT: Final = 1
_HEAD: Final = struct.Struct(">BIQ34sB")
_WRITTEN: Final = 0x20000000
_SHA256: Final = 0x000B
_LIMIT_MAX: Final = 2**64 - 1
_HANDLES: Final = range(0x01000000, 0x02000000)

_POLICY_NV: Final = 0x149
_POLICY_SECRET: Final = 0x151
_POLICY_OR: Final = 0x171
_POLICY_DUPLICATION_SELECT: Final = 0x188


@dataclass(frozen=True, slots=True)
class CohortTerms:
    """What a cohort key's policy was made of. ``sender`` and ``parents`` are Names of 34 bytes (SHA-256)."""

    counter: int
    limit: int
    sender: bytes
    parents: tuple[bytes, ...]

    def __post_init__(self) -> None:
        if self.counter not in _HANDLES or not 1 <= self.limit <= _LIMIT_MAX:
            raise FormatError("the terms of a cohort name no NV counter, or no limit of it")
        if not 1 <= len(self.parents) <= OTHERS_MAX or len(set(self.parents)) != len(self.parents):
            raise FormatError(f"the terms of a cohort name 1 to {OTHERS_MAX} other members, each once")
        for name in (self.sender, *self.parents):
            if len(name) != NAME_BYTES or not name.startswith(_SHA256.to_bytes(2, "big")):
                raise FormatError("a Name in the terms of a cohort is not one of SHA-256")

    @property
    def members(self) -> int:
        """How many members the cohort has, the first included."""
        return len(self.parents) + 1

    def policy_digest(self) -> bytes:
        """The authPolicy of a key under these terms."""
        branches = self.branches()
        return branches[0] if len(branches) == 1 else _extended(bytes(32), _POLICY_OR, *branches)

    def branches(self) -> tuple[bytes, ...]:
        """The digest of each member's branch: PolicySecret, PolicyNV, PolicyDuplicationSelect."""
        secret = hashlib.sha256(_extended(bytes(32), _POLICY_SECRET, self.sender)).digest()  # no policyRef
        operation = hashlib.sha256(self.operand() + struct.pack(">HH", 0, UNSIGNED_LT)).digest()
        common = _extended(secret, _POLICY_NV, operation, self.counter_name())
        return tuple(
            _extended(common, _POLICY_DUPLICATION_SELECT, parent, b"\0")  # of whatever object
            for parent in self.parents
        )

    def operand(self) -> bytes:
        """What the counter is compared with."""
        return self.limit.to_bytes(COUNTER_BYTES, "big")

    def counter_name(self) -> bytes:
        """The Name of the counter once it has counted."""
        attributes = COUNTER_ATTRIBUTES | _WRITTEN
        public = struct.pack(">IHIHH", self.counter, _SHA256, attributes, 0, COUNTER_BYTES)
        return _SHA256.to_bytes(2, "big") + hashlib.sha256(public).digest()

    def encode(self) -> bytes:
        """Return the bytes of the table above."""
        head = _HEAD.pack(_FORMAT, self.counter, self.limit, self.sender, len(self.parents))
        return head + b"".join(self.parents)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote.

        Raises:
            FormatError: anything is not as it must be.
        """
        if len(data) < _HEAD.size:
            raise FormatError("the terms of a cohort are cut short")
        version, counter, limit, sender, count = _HEAD.unpack_from(data)
        names = data[_HEAD.size :]
        if version != _FORMAT or len(names) != count * NAME_BYTES:
            raise FormatError("the terms of a cohort have another format or length")
        parents = tuple(names[at : at + NAME_BYTES] for at in range(0, len(names), NAME_BYTES))
        return cls(counter, limit, sender, parents)


def _extended(policy: bytes, command: int, *parts: bytes) -> bytes:
    return hashlib.sha256(policy + command.to_bytes(4, "big") + b"".join(parts)).digest()
