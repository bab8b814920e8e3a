"""A signed note: text and signature lines (C2SP signed-note).

Parsing says nothing about trust: :meth:`SignedNote.verify` does, with keys that are known.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from typing import Final, Self

from hwkm.errors import FormatError, NoteUnverified
from hwkm.tlog.base64_lines import decode_base64, encode_base64
from hwkm.tlog.note_keys import KEY_ID_BYTES, NoteKey, check_name

NOTE_BYTES_MAX: Final = 262_144
SIGNATURES_MAX: Final = 64

_DASH: Final = "— "


@dataclass(frozen=True, slots=True)
class NoteSignature:
    """One signature line. ``signature`` is what follows the key id, at least one byte."""

    name: str
    key_id: bytes
    signature: bytes

    def line(self) -> str:
        """Return the line with its newline."""
        return f"{_DASH}{self.name} {encode_base64(self.key_id + self.signature)}\n"

    @classmethod
    def parse(cls, line: str) -> Self:
        """Read a line without its newline.

        Raises:
            FormatError: it is not a signature line.
        """
        name, space, encoded = line.removeprefix(_DASH).partition(" ")
        if not line.startswith(_DASH) or not space:
            raise FormatError("not a signature line")
        check_name(name)
        data = decode_base64(encoded)
        if len(data) <= KEY_ID_BYTES:
            raise FormatError("a signature of no bytes")
        return cls(name, data[:KEY_ID_BYTES], data[KEY_ID_BYTES:])

    def is_by(self, key: NoteKey) -> bool:
        """Whether name and key id are those of this key; the signature is not checked."""
        return self.name == key.name and self.key_id == key.key_id


@dataclass(frozen=True, slots=True)
class SignedNote:
    """A text that ends in a newline, and its signatures in order."""

    text: str
    signatures: tuple[NoteSignature, ...]

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read a note.

        Raises:
            FormatError: it is not one, or too large.
        """
        if len(data) > NOTE_BYTES_MAX:
            raise FormatError(f"a signed note is at most {NOTE_BYTES_MAX} bytes here")
        text, separator, lines = _decode(data).rpartition("\n\n")
        if not separator or not lines.endswith("\n"):
            raise FormatError("not a signed note: no empty line, or no newline at its end")
        signatures = lines[:-1].split("\n")
        if len(signatures) > SIGNATURES_MAX:
            raise FormatError(f"a signed note has at most {SIGNATURES_MAX} signatures here")
        return cls(text + "\n", parse_signatures(signatures))

    def encode(self) -> bytes:
        """Return the bytes of the note."""
        return (self.text + "\n" + "".join(one.line() for one in self.signatures)).encode()

    def verify(self, keys: Iterable[NoteKey]) -> tuple[tuple[NoteKey, NoteSignature], ...]:
        """Return which of the known keys have signed, with their signatures.

        Signatures by unknown keys are passed over.

        Raises:
            NoteUnverified: no known key has signed, or a signature by a known key is wrong.
        """
        verified = tuple((key, one) for key in keys for one in self.signatures if one.is_by(key))
        for key, one in verified:
            key.verify(self.text, one.signature)
        if not verified:
            names = ", ".join(one.name for one in self.signatures)
            raise NoteUnverified(f"no known key has signed; the note is signed by {names}")
        return verified

    def with_signatures(self, more: Iterable[NoteSignature]) -> Self:
        """Return the note with signatures added; one that takes the place of the same key's."""
        added = tuple(more)
        replaced = {(one.name, one.key_id) for one in added}
        kept = tuple(one for one in self.signatures if (one.name, one.key_id) not in replaced)
        return type(self)(self.text, kept + added)


def parse_signatures(lines: Sequence[str]) -> tuple[NoteSignature, ...]:
    """Read signature lines, as a witness answers with.

    Raises:
        FormatError: one is none.
    """
    return tuple(NoteSignature.parse(line) for line in lines)


def _decode(data: bytes) -> str:
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise FormatError("a signed note is UTF-8") from None
    if any(character < " " and character != "\n" for character in text):
        raise FormatError("a signed note holds no control characters")
    return text
