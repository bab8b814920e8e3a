"""The files of an audit log: numbered segments of whole lines in the directory ``records``.

A segment is named by the index of its first record, so a missing one shows. Space for more
records is prepared ahead with zeros: overwriting them is quicker to make durable than growing a
file. So a segment ends at its first zero. A line that begins a write is preceded by one space.
"""

from __future__ import annotations

import re
from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hwkm.audit.record import LINE_BYTES_MAX, AuditRecord, parse_line
from hwkm.errors import AuditError, FormatError, StorageUnavailable

RECORDS: Final = "records"
WRITE_MARK: Final = b" "

_NAME: Final = re.compile(r"[0-9]{16}\.jsonl")


@dataclass(frozen=True, slots=True)
class Line:
    """A line without mark and newline, and where in the file it begins and ends with them.

    ``whole`` is false of what stands behind the last whole line.
    """

    number: int
    start: int
    end: int
    text: bytes
    whole: bool


@dataclass(frozen=True, slots=True)
class Segment:
    """One file of the log."""

    path: Path

    @property
    def first_index(self) -> int:
        """The index of its first record."""
        return int(self.path.stem)

    def damaged(self, line: int, reason: str) -> AuditError:
        """Return the error that names a place in this segment."""
        return AuditError(
            f"{RECORDS}/{self.path.name}, line {line} (record {self.first_index + line - 1}): {reason}"
        )

    def lines(self) -> Iterator[Line]:
        """Yield the lines, and what stands behind them before the zeros, if anything does.

        Raises:
            StorageUnavailable: the file cannot be read.
        """
        number = end = 0
        try:
            with self.path.open("rb") as file:
                while text := file.readline(LINE_BYTES_MAX + 2):
                    number += 1
                    if not text.endswith(b"\n") or b"\0" in text:
                        rest = (text + file.read()).rstrip(b"\0")
                        if rest:
                            yield Line(number, end, end + len(rest), rest, whole=False)
                        return
                    start, end = end, end + len(text)
                    yield Line(number, start, end, text[:-1].removeprefix(WRITE_MARK), whole=True)
        except OSError as exc:
            raise unreadable(self.path, exc) from exc

    def parse(self, line: Line) -> AuditRecord:
        """Return the record in a line, which has to be the one that belongs there.

        Raises:
            AuditError: it is not a record, was changed, or belongs elsewhere.
        """
        if not line.whole:
            raise self.damaged(line.number, "the line is incomplete")
        try:
            record = parse_line(line.text)
        except FormatError as exc:
            raise self.damaged(line.number, str(exc)) from None
        if record.index != self.first_index + line.number - 1:
            raise self.damaged(line.number, f"record {record.index} stands here")
        return record


def segment_for(directory: Path, first_index: int) -> Segment:
    """Return the segment whose first record has the given index."""
    return Segment(directory / RECORDS / f"{first_index:016d}.jsonl")


def list_segments(directory: Path) -> list[Segment]:
    """Return the segments in order; other files are passed over.

    Raises:
        AuditError: the log is of an earlier format.
        StorageUnavailable: the directory cannot be read.
    """
    if any(_NAME.fullmatch(path.name) for path in _entries(directory)):
        raise AuditError(
            f"{directory} holds an audit log of a format from before the first release, which is not read any"
            " more; move the directory away, and hwkmd init --audit-log makes a new one"
        )
    paths = sorted(path for path in _entries(directory / RECORDS) if _NAME.fullmatch(path.name))
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
    if segments[0].first_index != 0:
        raise AuditError(f"{RECORDS}/{segments[0].path.name} is the first; those before it are missing")
    return segments


def segments_from(segments: list[Segment], index: int) -> list[Segment]:
    """Leave out the segments that end before record ``index``."""
    later = [position for position, segment in enumerate(segments) if segment.first_index > index]
    start = later[0] - 1 if later else len(segments) - 1
    return segments[max(start, 0) :]


def unreadable(path: Path, exc: OSError) -> StorageUnavailable:
    """Return the error for a path that the operating system refuses."""
    return StorageUnavailable(f"{path}: {exc.strerror}")


def _entries(directory: Path) -> list[Path]:
    try:
        return list(directory.iterdir())
    except FileNotFoundError:
        return []
    except OSError as exc:
        raise unreadable(directory, exc) from exc
