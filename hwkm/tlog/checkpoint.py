"""A checkpoint: the signed state of a log (C2SP tlog-checkpoint)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Self

from hwkm.errors import FormatError, NotConsistent, NoteUnverified, RolledBack
from hwkm.tlog.base64_lines import decode_hash, encode_base64, parse_decimal
from hwkm.tlog.merkle import HASH_BYTES, SIZE_MAX
from hwkm.tlog.note import SignedNote
from hwkm.tlog.note_keys import KeyType, NoteKey, cosignature_time
from hwkm.tlog.proofs import verify_consistency


@dataclass(frozen=True, slots=True)
class Checkpoint:
    """How many entries a log has, and the root of the tree over them.

    ``extensions`` are opaque lines that other logs may add; ours has none.
    """

    origin: str
    size: int
    root: bytes
    extensions: tuple[str, ...] = ()

    def __post_init__(self) -> None:
        lines = (self.origin, *self.extensions)
        if any(not line or any(character < " " for character in line) for line in lines):
            raise FormatError("origin and extensions of a checkpoint are lines that are not empty")
        if not 0 <= self.size <= SIZE_MAX or len(self.root) != HASH_BYTES:
            raise FormatError("size or root of a checkpoint is out of range")

    def text(self) -> str:
        """Return the text that is signed."""
        lines = (self.origin, str(self.size), encode_base64(self.root), *self.extensions)
        return "\n".join(lines) + "\n"

    @classmethod
    def parse(cls, text: str) -> Self:
        """Read the text of a note.

        Raises:
            FormatError: it is not that of a checkpoint.
        """
        lines = text.split("\n")
        if len(lines) < 4 or lines.pop() != "":
            raise FormatError("a checkpoint has at least three lines")
        origin, size, root, *extensions = lines
        return cls(origin, parse_decimal(size), decode_hash(root), tuple(extensions))


@dataclass(frozen=True, slots=True)
class VerifiedCheckpoint:
    """A checkpoint that its log has signed, and the witnesses who cosigned it, with their times (s)."""

    checkpoint: Checkpoint
    note: SignedNote
    witnesses: tuple[tuple[NoteKey, int], ...] = ()


def verify_checkpoint(
    data: bytes, log_key: NoteKey, witnesses: Sequence[NoteKey] = (), *, quorum: int = 0
) -> VerifiedCheckpoint:
    """Check that this is a checkpoint of the log of this key, its origin being the key's name.

    At least ``quorum`` of the witnesses must have cosigned it. A wrong signature by any known key
    refuses it as a whole.

    Raises:
        FormatError: it is not a checkpoint.
        NoteUnverified: it is not signed as it should be, or is of another log.
    """
    if log_key.type is KeyType.COSIGNATURE:
        raise FormatError("the key of a log is not of type 0x04")
    note = SignedNote.parse(data)
    note.verify([log_key])
    checkpoint = Checkpoint.parse(note.text)
    if checkpoint.origin != log_key.name:
        raise NoteUnverified(f"a checkpoint of {checkpoint.origin}, not of {log_key.name}")
    seen = verify_cosignatures(note, witnesses)
    parties = {key.public_key for key, _ in seen}  # one party under two names counts once
    if len(parties) < quorum:
        raise NoteUnverified(f"{len(parties)} witnesses have cosigned, {quorum} are asked for")
    return VerifiedCheckpoint(checkpoint, note, seen)


def verify_cosignatures(note: SignedNote, witnesses: Sequence[NoteKey]) -> tuple[tuple[NoteKey, int], ...]:
    """Return which witnesses have cosigned, and when.

    Raises:
        FormatError: the key of a witness is not of type 0x04.
        NoteUnverified: a cosignature by one of them is wrong.
    """
    if any(key.type is not KeyType.COSIGNATURE for key in witnesses):
        raise FormatError("the key of a witness is of type 0x04")
    found = [(key, one) for key in witnesses for one in note.signatures if one.is_by(key)]
    for key, one in found:
        key.verify(note.text, one.signature)
    return tuple((key, cosignature_time(one.signature)) for key, one in found)


def verify_follows(old: Checkpoint, new: Checkpoint, proof: Sequence[bytes]) -> None:
    """Check that a log went from one state to the other by appending only.

    Raises:
        RolledBack: the newer state is the shorter one.
        NotConsistent: another log, a fork, or a wrong proof.
    """
    if old.origin != new.origin:
        raise NotConsistent(f"checkpoints of two logs, {old.origin} and {new.origin}")
    if new.size < old.size:
        raise RolledBack(f"the log had {old.size} entries and now has {new.size}")
    verify_consistency(old.size, new.size, old.root, new.root, proof)
