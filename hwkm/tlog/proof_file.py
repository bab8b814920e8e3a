"""A proof of inclusion that needs nothing else but keys (C2SP tlog-proof)."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final, Self

from hwkm.errors import FormatError
from hwkm.tlog.base64_lines import decode_base64, decode_hash, encode_base64, parse_decimal
from hwkm.tlog.checkpoint import VerifiedCheckpoint, verify_checkpoint
from hwkm.tlog.merkle import leaf_hash
from hwkm.tlog.note import NOTE_BYTES_MAX
from hwkm.tlog.note_keys import NoteKey
from hwkm.tlog.proofs import PROOF_HASHES_MAX, verify_inclusion
from hwkm.tlog.tiles import ENTRY_BYTES_MAX

PROOF_BYTES_MAX: Final = NOTE_BYTES_MAX + 2 * ENTRY_BYTES_MAX

_HEADER: Final = "c2sp.org/tlog-proof@v1"
_EXTRA: Final = "extra "
_INDEX: Final = "index "


@dataclass(frozen=True, slots=True)
class ProofFile:
    """Index, proof and checkpoint; ``extra`` is, with us, the entry itself."""

    index: int
    hashes: tuple[bytes, ...]
    note: bytes
    extra: bytes = b""

    def encode(self) -> bytes:
        """Return the bytes of the file."""
        extra = [_EXTRA + encode_base64(self.extra)] if self.extra else []
        hashes = [encode_base64(one) for one in self.hashes]
        lines = [_HEADER, *extra, f"{_INDEX}{self.index}", *hashes, "", ""]
        return "\n".join(lines).encode() + self.note

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a file; nothing in it is believed yet.

        Raises:
            FormatError: it is not one, or too large.
        """
        if len(data) > PROOF_BYTES_MAX:
            raise FormatError(f"a proof is at most {PROOF_BYTES_MAX} bytes here")
        head, separator, note = data.partition(b"\n\n")
        try:
            header, *lines = head.decode("ascii").split("\n")
        except UnicodeDecodeError:
            raise FormatError("the head of a proof is ASCII") from None
        if header != _HEADER or not separator:
            raise FormatError(f"not a proof: it starts with {_HEADER}")
        extra = lines.pop(0).removeprefix(_EXTRA) if lines and lines[0].startswith(_EXTRA) else ""
        if not lines or not lines[0].startswith(_INDEX) or len(lines) > PROOF_HASHES_MAX + 1:
            raise FormatError("a proof has an index and at most 64 hashes")
        index, *hashes = lines
        return cls(
            parse_decimal(index.removeprefix(_INDEX)),
            tuple(decode_hash(line) for line in hashes),
            note,
            decode_base64(extra),
        )

    def verify(
        self, entry: bytes, log_key: NoteKey, witnesses: Sequence[NoteKey] = (), *, quorum: int = 0
    ) -> VerifiedCheckpoint:
        """Check that this very entry is in the log, at the index.

        Raises:
            FormatError, NoteUnverified: as :func:`hwkm.tlog.checkpoint.verify_checkpoint`.
            NotIncluded: it is not, as far as this proof shows.
        """
        verified = verify_checkpoint(self.note, log_key, witnesses, quorum=quorum)
        state = verified.checkpoint
        verify_inclusion(self.index, state.size, leaf_hash(entry), self.hashes, state.root)
        return verified
