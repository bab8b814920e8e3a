"""The files of an audit log: numbered segments of whole lines in one directory.

A segment is named by the number of its first record, so a missing one shows.
"""

from __future__ import annotations

import os
import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, NamedTuple

from hwkm.audit.record import EMPTY_HEAD, LINE_BYTES_MAX, AuditHead, AuditRecord, hash_of_line, parse_line
from hwkm.errors import AuditError, FormatError, StorageUnavailable

_NAME: Final = re.compile(r"[0-9]{16}\.jsonl")
_DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC


class Line(NamedTuple):
    """A line without its newline; ``whole`` is false if it had none.

    ``number`` counts from 1, or, where the beginning was not read, from -1 at the end.
    """

    number: int
    text: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the log."""

    path: Path

    @property
    def first_seq(self) -> int:
        """The number of its first record."""
        return int(self.path.stem)

    def damaged(self, line: int, reason: str) -> AuditError:
        """Return the error that names a place in this segment."""
        place = f"line {line}" if line > 0 else f"line {-line} from the end"
        return AuditError(f"segment {self.path.name}, {place}: {reason}")

    def lines(self) -> Iterator[Line]:
        """Yield the lines; none is longer than a record may be.

        Raises:
            AuditError: a line is too long.
            StorageUnavailable: the file cannot be read.
        """
        number = 0
        try:
            with self.path.open("rb") as file:
                while text := file.readline(LINE_BYTES_MAX + 2):
                    number += 1
                    whole = text.endswith(b"\n")
                    if not whole and len(text) > LINE_BYTES_MAX:
                        raise self.damaged(number, f"longer than {LINE_BYTES_MAX} bytes")
                    yield Line(number, text[:-1] if whole else text, whole)
        except OSError as exc:
            raise unreadable(self.path, exc) from exc

    def check(self, line: Line, after: AuditHead) -> AuditRecord:
        """Return the record in ``line``, which has to come after ``after``.

        Raises:
            AuditError: it is not a record, its hash is wrong, or it belongs elsewhere.
        """
        record = self.parse(line)
        if record.seq != after.seq + 1:
            raise self.damaged(line.number, f"number {record.seq} where {after.seq + 1} belongs")
        if record.prev != after.hash:
            raise self.damaged(line.number, f"record {record.seq} does not follow the record before it")
        return record

    def parse(self, line: Line) -> AuditRecord:
        """Return the record in ``line``, wherever it belongs.

        Raises:
            AuditError: it is not a record, or its hash is wrong.
        """
        try:
            record = parse_line(line.text)
        except FormatError as exc:
            raise self.damaged(line.number, str(exc)) from None
        if record.hash != hash_of_line(line.text):
            raise self.damaged(line.number, f"record {record.seq} was changed: its hash is wrong")
        return record


def segment_for(directory: Path, first_seq: int) -> Segment:
    """Return the segment whose first record has the given number."""
    return Segment(directory / f"{first_seq:016d}.jsonl")


def list_segments(directory: Path) -> list[Segment]:
    """Return the segments in order; other files are passed over.

    Raises:
        StorageUnavailable: the directory cannot be read.
    """
    try:
        paths = sorted(path for path in directory.iterdir() if _NAME.fullmatch(path.name))
    except OSError as exc:
        raise unreadable(directory, exc) from exc
    return [Segment(path) for path in paths]


def existing_segments(directory: Path) -> list[Segment]:
    """Return the segments of a log that must be there.

    Raises:
        AuditError: there is none, or the first is missing.
        StorageUnavailable: the directory cannot be read.
    """
    segments = list_segments(directory)
    if not segments:
        raise AuditError(f"{directory} holds no audit log; it was removed, or never made")
    if segments[0].first_seq != EMPTY_HEAD.seq + 1:
        raise AuditError(f"segment {segments[0].path.name} is the first; those before it are missing")
    return segments


def open_directory(directory: Path) -> int:
    """Return a descriptor of the directory, to lock and to sync.

    Raises:
        OSError: it could not be opened.
    """
    return os.open(directory, _DIRECTORY_FLAGS)


def unreadable(path: Path, exc: OSError) -> StorageUnavailable:
    """Return the error for a path that the operating system refuses."""
    return StorageUnavailable(f"{path}: {exc.strerror}")
