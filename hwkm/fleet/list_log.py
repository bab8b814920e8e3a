"""The public log of a fleet: every root and every list that was ever published, in order.

A client follows the log from the state it remembers: it reads the entries that came since, and the tree
they give must have the root that the log has signed. So everything it ever saw is still there, the list
it is shown is in the log for everybody to see, and no epoch is used twice.

Which log, and which witnesses must have cosigned its checkpoint, stands in the root metadata, in the field
``x-hwkm-log``: both parties answer for it.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass, field, replace
from enum import StrEnum
from typing import Annotated, Final

import msgspec
from msgspec import Meta
from tuf.api.metadata import Root

from hwkm.errors import EpochReused, FormatError, ListDowngrade, ListNotLogged, LogForked, LogRolledBack
from hwkm.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from hwkm.tlog.merkle import Frontier, leaf_hash
from hwkm.tlog.note_keys import KeyType, NoteKey

LOG_FIELD: Final = "x-hwkm-log"
ENTRY_BYTES_MAX: Final = 1024
LOG_ENTRIES_MAX: Final = 100_000
WITNESSES_MAX: Final = 32


class EntryKind(StrEnum):
    """What an entry of the log announces."""

    ROOT = "root"
    LIST = "list"


class LogEntry(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """An entry: SHA-256 of the published bytes in hex, their kind, and version or epoch."""

    digest: Annotated[str, Meta(pattern=r"^[0-9a-f]{64}\Z")]
    kind: EntryKind
    number: Annotated[int, Meta(ge=1, le=2**53 - 1)]

    def encode(self) -> bytes:
        """Return the entry: JSON, keys in order, no spaces."""
        return msgspec.json.encode(self, order="sorted")

    @classmethod
    def parse(cls, data: bytes) -> LogEntry:
        """Read an entry; each has one spelling.

        Raises:
            FormatError: it is none.
        """
        if len(data) > ENTRY_BYTES_MAX:
            raise FormatError("an entry of a fleet's log is too long")
        try:
            entry = msgspec.json.decode(data, type=cls)
        except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
            raise FormatError("not an entry of a fleet's log") from None
        if entry.encode() != data:
            raise FormatError("an entry of a fleet's log is not in its one spelling")
        return entry


@dataclass(frozen=True, slots=True)
class LogPolicy:
    """Whose log it is, and how many of which witnesses must have cosigned its checkpoint."""

    log_key: NoteKey
    witnesses: tuple[NoteKey, ...] = ()
    quorum: int = 0

    def encode(self) -> dict[str, object]:
        """Return the value of the root's field."""
        return {
            "key": str(self.log_key),
            "quorum": self.quorum,
            "witnesses": [str(key) for key in self.witnesses],
        }

    @classmethod
    def of(cls, root: Root) -> LogPolicy:
        """Read it from root metadata.

        Raises:
            FormatError: the root names no log, or not in this form.
        """
        try:
            written = msgspec.convert(root.unrecognized_fields.get(LOG_FIELD), _WrittenPolicy)
        except msgspec.ValidationError as exc:
            raise FormatError(f"the root names no log of the fleet: {exc}") from None
        policy = cls(NoteKey.parse(written.key), tuple(map(NoteKey.parse, written.witnesses)), written.quorum)
        policy.check()
        return policy

    def check(self) -> None:
        """Check that the keys are for their purposes and the quorum can be reached.

        Raises:
            FormatError: they are not, or it cannot.
        """
        if self.log_key.type is KeyType.COSIGNATURE:
            raise FormatError("the key of a log is not that of a witness")
        if any(key.type is not KeyType.COSIGNATURE for key in self.witnesses):
            raise FormatError("the key of a witness is of type 0x04")
        if not 0 <= self.quorum <= len({key.public_key for key in self.witnesses}):
            raise FormatError("more witnesses are asked for than there are")


class _WrittenPolicy(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    key: str
    quorum: Annotated[int, Meta(ge=0)]
    witnesses: Annotated[tuple[str, ...], Meta(max_length=WITNESSES_MAX)]


@dataclass(frozen=True, slots=True)
class LogState:
    """How far a client has followed a log: its frontier, and the newest entry of each kind."""

    origin: str
    size: int = 0
    frontier: tuple[bytes, ...] = ()
    newest: dict[EntryKind, LogEntry] = field(default_factory=dict)

    def extended(self, entries: Iterable[bytes]) -> LogState:
        """Return the state after these entries.

        Raises:
            FormatError: one of them is malformed.
            EpochReused: a version or epoch does not come after those before it.
        """
        frontier, newest = Frontier(self.size, self.frontier), dict(self.newest)
        for data in entries:
            entry = LogEntry.parse(data)
            before = newest.get(entry.kind)
            if before is not None and entry.number <= before.number:
                raise EpochReused(
                    f"the log has {entry.kind} {entry.number} after {entry.kind} {before.number}"
                )
            newest[entry.kind] = entry
            frontier.append(leaf_hash(data))
        return replace(self, size=frontier.size, frontier=frontier.hashes, newest=newest)

    def root(self) -> bytes:
        """Return the root of the tree, 32 bytes."""
        return Frontier(self.size, self.frontier).root()


def follow(state: LogState | None, checkpoint: VerifiedCheckpoint, new_entries: Sequence[bytes]) -> LogState:
    """Return the state at a checkpoint, given all entries that came since ``state``.

    Raises:
        LogRolledBack: the log was longer before.
        LogForked: what was seen before, and the new entries, do not give the signed root.
        FormatError, EpochReused: as :meth:`LogState.extended`.
    """
    signed = checkpoint.checkpoint
    if state is None or state.origin != signed.origin:
        state = LogState(signed.origin)
    if signed.size < state.size:
        raise LogRolledBack(f"the log has {signed.size} entries and had {state.size}")
    if len(new_entries) != signed.size - state.size:
        raise FormatError(f"{len(new_entries)} entries of {signed.size - state.size} were given")
    followed = state.extended(new_entries)
    if followed.root() != signed.root:
        raise LogForked("the log does not hold what was seen of it before")
    return followed


def verify_newest(state: LogState, kind: EntryKind, number: int, digest: bytes) -> None:
    """Check that what was shown is what the log announced last.

    Raises:
        ListNotLogged: it is not in the log.
        ListDowngrade: the log has a newer one, which is held back.
    """
    newest = state.newest.get(kind)
    if newest is not None and newest.number > number:
        raise ListDowngrade(f"the log has {kind} {newest.number}; {number} is shown, the newer one held back")
    if newest is None or newest.number != number or newest.digest != digest.hex():
        raise ListNotLogged(f"{kind} {number} is not in the fleet's log")


def verified_checkpoint(data: bytes, policy: LogPolicy) -> VerifiedCheckpoint:
    """Check a checkpoint against the policy of the fleet's root.

    Raises:
        FormatError: it is none, or of a log that is larger than one may be.
        NoteUnverified: the log or too few witnesses have signed it.
    """
    verified = verify_checkpoint(data, policy.log_key, policy.witnesses, quorum=policy.quorum)
    if verified.checkpoint.size > LOG_ENTRIES_MAX:
        raise FormatError(f"a fleet's log has at most {LOG_ENTRIES_MAX} entries")
    return verified
