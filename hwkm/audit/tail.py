"""Finding where an audit log ends, when a daemon starts, without reading the whole of it."""

from __future__ import annotations

import os
from pathlib import Path
from typing import Final, NamedTuple

from hwkm.audit.record import EMPTY_HEAD, AuditHead
from hwkm.audit.segments import Line, Segment, existing_segments, unreadable
from hwkm.errors import AuditError

TAIL_BYTES: Final = 64 * 1024
"""How much of the last segment is checked at start; the whole is for ``verify``."""


class Tail(NamedTuple):
    """The last segment, the newest whole record, and where in the segment that record ends."""

    segment: Segment
    head: AuditHead
    end: int
    torn_bytes: int
    """What lies behind ``end``: a line that a crash cut off. It was never acknowledged."""


def find_tail(directory: Path) -> Tail:
    """Check the last records of the log.

    Raises:
        AuditError: there is no log, or its end is damaged.
        StorageUnavailable: it cannot be read.
    """
    *before, last = existing_segments(directory)
    head = _head_of_last(before) if before else EMPTY_HEAD
    if last.first_seq != head.seq + 1:
        raise AuditError(f"segment {last.path.name} follows record {head.seq}; records are missing")
    return _check_tail(last, head)


def _head_of_last(segments: list[Segment]) -> AuditHead:
    """Return the newest record of a segment that another one follows, which must end whole."""
    tail = _check_tail(segments[-1], None)
    if tail.torn_bytes or tail.end == 0:
        raise AuditError(f"segment {segments[-1].path.name} ends with an incomplete line or is empty")
    return tail.head


def _check_tail(segment: Segment, before: AuditHead | None) -> Tail:
    """Check the last ``TAIL_BYTES``; ``before`` is what the segment's first record follows, if known."""
    start, data = _read_end(segment.path)
    whole, _newline, torn = data.rpartition(b"\n")
    texts = whole.split(b"\n") if _newline else []
    if start > 0:
        # The first line of the window began before it.
        texts = texts[1:]
        before = None
        if not texts:
            raise AuditError(f"segment {segment.path.name} ends with no whole record")
    head = _check_lines(segment, texts, before)
    return Tail(segment, head, start + len(data) - len(torn), len(torn))


def _check_lines(segment: Segment, texts: list[bytes], before: AuditHead | None) -> AuditHead:
    head = before
    for index, text in enumerate(texts, start=-len(texts)):
        line = Line(index, text, whole=True)
        record = segment.parse(line) if head is None else segment.check(line, head)
        head = record.head
    return head or EMPTY_HEAD


def _read_end(path: Path) -> tuple[int, bytes]:
    """Return the last ``TAIL_BYTES`` of a file, and where they start."""
    try:
        with path.open("rb") as file:
            start = max(0, os.fstat(file.fileno()).st_size - TAIL_BYTES)
            file.seek(start)
            return start, file.read()
    except OSError as exc:
        raise unreadable(path, exc) from exc
