"""Where an audit log ends, as its writer needs to know when it opens the log.

A crash can leave the last write in parts: some sectors of it are on disk, and the others hold the
zeros that were there before. Nobody was answered, so what is left of it may be dropped; but only
that. What else is wrong is damage, and damage is never repaired.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from itertools import pairwise
from pathlib import Path
from typing import Final

from hwkm.audit.segments import RECORDS, Line, Segment, existing_segments, segments_from
from hwkm.errors import AuditError

_SECTOR_BYTES: Final = 512
_WRITE_BEGINS: Final = b"\n {"


@dataclass(frozen=True, slots=True)
class Tail:
    """How many records a log has, and where in the last segment they end."""

    segment: Segment
    size: int
    end: int
    torn_bytes: int = 0
    """How much lies behind ``end`` of a write that a crash cut off."""


def find_tail(directory: Path, start: int = 0) -> Tail:
    """Check the records from index ``start`` on, and find the end.

    Raises:
        AuditError: there is no log, it has fewer than ``start`` records, or its end is damaged.
        StorageUnavailable: it cannot be read.
    """
    segments = segments_from(existing_segments(directory), start)
    size, end = segments[0].first_index, 0
    for segment, line in lines_of(segments):
        if not line.whole and segment == segments[-1]:
            _check_size(size, start)
            return _cut_off(segment, line, size)
        if size >= start or not line.whole:
            segment.parse(line)
        size, end = size + 1, line.end
    if size < start:
        raise AuditError(
            f"the log ends after {size} records, and {start} were signed for; the rest is missing"
        )
    end = end if size > segments[-1].first_index else 0
    return Tail(segments[-1], size, end)


def lines_of(segments: list[Segment]) -> Iterator[tuple[Segment, Line]]:
    """Yield the lines of consecutive segments; a segment begins where the one before ends.

    Raises:
        AuditError: it does not.
        StorageUnavailable: a file cannot be read.
    """
    size = segments[0].first_index
    for segment in segments:
        if segment.first_index != size:
            raise AuditError(f"{RECORDS}/{segment.path.name} follows record {size - 1}; records are missing")
        for line in segment.lines():
            yield segment, line
            size += 1


def _check_size(size: int, signed_size: int) -> None:
    """Nothing that was signed for is ever missing because of a crash: it was durable before."""
    if size < signed_size:
        raise AuditError(f"the log ends after {size} records, and {signed_size} were signed for")


def _cut_off(segment: Segment, line: Line, size: int) -> Tail:
    """Return the tail of a log with something behind its last whole line, if a crash explains it."""
    if not is_torn(line.text, line.start):
        raise segment.damaged(line.number, "damaged, and not by a write that a crash cut off")
    return Tail(segment, size, line.start, line.end - line.start)


def is_torn(rest: bytes, start: int) -> bool:
    """Whether ``rest``, at offset ``start`` of a file, can be what a crash left of one write.

    It ends in the middle of a line, or a sector of it was never written; and no later write
    begins in it, since that one would have waited until this one was durable.
    """
    if _WRITE_BEGINS in rest:
        return False
    return not rest.endswith(b"\n") or _has_unwritten_sector(rest, start)


def _has_unwritten_sector(rest: bytes, start: int) -> bool:
    end = start + len(rest)
    borders = [start, *range(start - start % _SECTOR_BYTES + _SECTOR_BYTES, end, _SECTOR_BYTES), end]
    parts = (rest[a - start : b - start] for a, b in pairwise(borders))
    return any(len(part) > 1 and not part.strip(b"\0") for part in parts)
