"""What a witness is given and what it checks (C2SP tlog-witness, tlog-cosignature).

A witness keeps, for each log, the last checkpoint it cosigned. It cosigns another only after a
proof that nothing it has seen was changed.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final, Self

from hwkm.errors import FormatError, NotConsistent
from hwkm.tlog.base64_lines import decode_hash, encode_base64, parse_decimal
from hwkm.tlog.checkpoint import Checkpoint, VerifiedCheckpoint, verify_checkpoint, verify_follows
from hwkm.tlog.merkle import EMPTY_ROOT
from hwkm.tlog.note import NOTE_BYTES_MAX, NoteSignature
from hwkm.tlog.note_keys import KeyType, NoteKey, PrivateNoteKey

PROOF_LINES_MAX: Final = 63
REQUEST_BYTES_MAX: Final = NOTE_BYTES_MAX + 4096

_OLD: Final = "old "


@dataclass(frozen=True, slots=True)
class WitnessRequest:
    """The body of ``add-checkpoint``: a checkpoint, and a proof from the last one cosigned."""

    old_size: int
    proof: tuple[bytes, ...]
    note: bytes

    def encode(self) -> bytes:
        """Return the bytes of the request."""
        lines = [f"{_OLD}{self.old_size}", *(encode_base64(one) for one in self.proof), "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a request; the checkpoint in it is not looked at.

        Raises:
            FormatError: it is not one, or too large.
        """
        if len(data) > REQUEST_BYTES_MAX:
            raise FormatError(f"a request to a witness is at most {REQUEST_BYTES_MAX} bytes")
        head, separator, note = data.partition(b"\n\n")
        try:
            first, *proof = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise FormatError("the proof of a request to a witness is ASCII") from None
        if not separator or not first.startswith(_OLD) or len(proof) > PROOF_LINES_MAX:
            raise FormatError("not a request to a witness")
        hashes = tuple(decode_hash(line) for line in proof)
        return cls(parse_decimal(first.removeprefix(_OLD)), hashes, note)


def check_request(request: WitnessRequest, log_key: NoteKey, last: Checkpoint | None) -> VerifiedCheckpoint:
    """Check that a witness may cosign; ``last`` is what it cosigned last for this log.

    Raises:
        FormatError: the checkpoint in it is none.
        NoteUnverified: it is not signed by the log.
        NotConsistent: the log was changed, or the request does not start from ``last``.
        RolledBack: the log is shorter than it was.
    """
    offered = verify_checkpoint(request.note, log_key)
    known = Checkpoint(log_key.name, 0, EMPTY_ROOT) if last is None else last
    if request.old_size != known.size:
        raise NotConsistent(f"a proof from size {request.old_size}; cosigned last was size {known.size}")
    verify_follows(known, offered.checkpoint, request.proof)
    return offered


def cosign(checked: VerifiedCheckpoint, key: PrivateNoteKey, time_s: int) -> NoteSignature:
    """Return the cosignature under a checkpoint that was checked; ``time_s`` is the time of now.

    Raises:
        FormatError: the time is out of range.
    """
    public = key.public(KeyType.COSIGNATURE)
    return NoteSignature(public.name, public.key_id, key.cosign(checked.note.text, time_s))
