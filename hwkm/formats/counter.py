"""An attempt counter: the value of one leaf of the attempt tree (``docs/spec/attempt-tree.md``).

======  ====  ==========================================================================
offset  size  field
======  ====  ==========================================================================
0       1     format version, 1
1       1     carried: attempts charged to blobs that were replaced since
2       1     unresolved: charges in a row whose verdict is not recorded
3       1     n: number of charges that follow
4       32    vault digest: the blob that the charges below were made against
36      24    time of the newest charge: boot id (16), milliseconds since boot u64 BE
60      56    opened: the claim that opened the vault last, zeros if none
116     56*n  charges, oldest first
======  ====  ==========================================================================

A claim entry is its digest (32) and the end of its challenge's life (boot id 16, ms u64 BE). A
digest of zeros names no claim, so every value has exactly one encoding.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass, replace
from typing import Final, Self

from hwkm.crypto import labels
from hwkm.errors import FormatError
from hwkm.formats.vault_params import VaultParams

MAX_ATTEMPTS_CEILING: Final = 100
DIGEST_BYTES: Final = 32
BOOT_ID_BYTES: Final = 16

_VERSION: Final = 1
_HEAD: Final = struct.Struct(">BBBB32s16sQ")
_ENTRY: Final = struct.Struct(">32s16sQ")
_NONE: Final = bytes(_ENTRY.size)
_NO_DIGEST: Final = bytes(DIGEST_BYTES)
_MS_MAX: Final = 2**64 - 1


@dataclass(frozen=True, slots=True)
class Instant:
    """A moment: boot id (16 bytes) and milliseconds since that boot, suspended time included.

    Unlike wall-clock time nobody can set it; moments of different boots do not compare.
    """

    boot_id: bytes
    ms: int

    def __post_init__(self) -> None:
        if len(self.boot_id) != BOOT_ID_BYTES or not 0 <= self.ms <= _MS_MAX:
            raise FormatError(f"an instant is a boot id of {BOOT_ID_BYTES} bytes and a u64 of milliseconds")

    def ms_since(self, earlier: Instant) -> int:
        """Milliseconds that have *at least* passed since ``earlier``.

        After a reboot only the time since the reboot is certain.
        """
        if self.boot_id != earlier.boot_id:
            return self.ms
        return max(0, self.ms - earlier.ms)

    def is_before(self, end: Instant) -> bool:
        """Whether ``end``, a deadline of this same boot, has not been reached."""
        return self.boot_id == end.boot_id and self.ms < end.ms


@dataclass(frozen=True, slots=True)
class ClaimEntry:
    """A claim that was charged: its digest (32 bytes) and when its challenge dies."""

    digest: bytes
    expires: Instant

    def __post_init__(self) -> None:
        if len(self.digest) != DIGEST_BYTES or self.digest == _NO_DIGEST:
            raise FormatError(f"a claim digest is {DIGEST_BYTES} bytes, not all zero")

    def encode(self) -> bytes:
        """Return the 56 bytes."""
        return _ENTRY.pack(self.digest, self.expires.boot_id, self.expires.ms)

    @classmethod
    def parse(cls, data: bytes) -> ClaimEntry:
        """Read 56 bytes.

        Raises:
            FormatError: wrong length, or a digest of zeros.
        """
        if len(data) != _ENTRY.size:
            raise FormatError(f"a claim entry is {_ENTRY.size} bytes")
        digest, boot_id, ms = _ENTRY.unpack(data)
        return cls(digest, Instant(boot_id, ms))


@dataclass(frozen=True, slots=True)
class Counter:
    """The attempts charged to one (counter id, handle), and to which vault blob."""

    vault_digest: bytes
    carried: int = 0
    unresolved: int = 0
    charged_at: Instant = Instant(bytes(BOOT_ID_BYTES), 0)
    opened: ClaimEntry | None = None
    charges: tuple[ClaimEntry, ...] = ()

    def __post_init__(self) -> None:
        if len(self.vault_digest) != DIGEST_BYTES:
            raise FormatError(f"a vault digest is {DIGEST_BYTES} bytes")
        if self.carried < 0 or not 0 <= self.unresolved <= MAX_ATTEMPTS_CEILING:
            raise FormatError("a counter's numbers are out of range")
        if self.attempts > MAX_ATTEMPTS_CEILING:
            raise FormatError(f"a counter holds at most {MAX_ATTEMPTS_CEILING} attempts")

    @property
    def attempts(self) -> int:
        """Attempts that count against the limit."""
        return self.carried + len(self.charges)

    def bound_to(self, vault_digest: bytes) -> Self:
        """The counter for a blob. A blob that replaced another inherits its attempts for good.

        Otherwise an operator could put a blob of his own in place under the same params, open
        it, and so clear what he had charged to the owner's blob.
        """
        if vault_digest == self.vault_digest:
            return self
        return replace(self, vault_digest=vault_digest, carried=self.attempts, charges=(), opened=None)

    def charged(self, entry: ClaimEntry, now: Instant) -> Self:
        """One attempt more, its verdict unknown."""
        return replace(self, unresolved=self.unresolved + 1, charged_at=now, charges=(*self.charges, entry))

    def failed(self, entry: ClaimEntry) -> Self:
        """A claim among the charges proved wrong: its charge stays."""
        return replace(self, unresolved=self._unresolved_after(self.charges.index(entry)))

    def succeeded(self, entry: ClaimEntry) -> Self:
        """A claim among the charges proved right: it and the charges before it are cleared.

        Charges after it stay: a recorded claim, replayed, must not clear later guesses.

        Raises:
            ValueError: the claim is not among the charges.
        """
        position = self.charges.index(entry)
        unresolved = self._unresolved_after(position)
        return replace(self, unresolved=unresolved, opened=entry, charges=self.charges[position + 1 :])

    def undecided_ms(self, now: Instant) -> int:
        """Milliseconds until no charge without a recorded verdict can be presented again."""
        undecided = self.charges[max(0, len(self.charges) - self.unresolved) :]
        return max((e.expires.ms - now.ms for e in undecided if now.is_before(e.expires)), default=0)

    def _unresolved_after(self, position: int) -> int:
        """A verdict on the charge at ``position`` ends the row there; later charges still count."""
        return min(self.unresolved, len(self.charges) - position - 1)

    def resumed(self) -> Self:
        """An operator vouches that the hardware is sound again."""
        return replace(self, unresolved=0)

    def encode(self) -> bytes:
        """Return ``116 + 56 * len(charges)`` bytes."""
        head = _HEAD.pack(
            _VERSION,
            self.carried,
            self.unresolved,
            len(self.charges),
            self.vault_digest,
            self.charged_at.boot_id,
            self.charged_at.ms,
        )
        opened = self.opened.encode() if self.opened else _NONE
        return b"".join((head, opened, *(entry.encode() for entry in self.charges)))

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a counter.

        Raises:
            FormatError: wrong version, numbers out of range, or a length that does not fit the
                number of charges.
        """
        if len(data) < _HEAD.size + _ENTRY.size:
            raise FormatError("counter is too short")
        version, carried, unresolved, count, vault_digest, boot_id, ms = _HEAD.unpack_from(data)
        entries = [data[at : at + _ENTRY.size] for at in range(_HEAD.size, len(data), _ENTRY.size)]
        if version != _VERSION:
            raise FormatError(f"counter format version {version} is not {_VERSION}")
        if len(data) != _HEAD.size + _ENTRY.size * (1 + count):
            raise FormatError("counter length does not fit its number of charges")
        opened = None if entries[0] == _NONE else ClaimEntry.parse(entries[0])
        charges = tuple(ClaimEntry.parse(entry) for entry in entries[1:])
        return cls(vault_digest, carried, unresolved, Instant(boot_id, ms), opened, charges)


def counter_key(params: VaultParams) -> bytes:
    """Name a counter: SHA-256 over a label, counter id (u64 LE) and handle (17); 32 bytes.

    Max attempts is not part of it: params altered to another limit meet the same counter.
    """
    counter_id = params.counter_id.to_bytes(8, "little")
    return hashlib.sha256(labels.COUNTER_KEY + counter_id + params.handle).digest()
