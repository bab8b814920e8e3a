"""Checking a whole audit log, offline, in one pass."""

from __future__ import annotations

from collections.abc import Iterator
from pathlib import Path

from hwkm.audit.record import EMPTY_HEAD, AuditHead, AuditRecord
from hwkm.audit.segments import Line, Segment, existing_segments
from hwkm.errors import AuditError


def verify(path: Path | str, expected_head: AuditHead | None = None, *, live: bool = False) -> AuditHead:
    """Check every record and every link of the log in directory ``path``; return its newest record.

    ``expected_head`` is a head that was seen before and kept elsewhere: the log must still hold that
    very record. Without it a log that was cut at its end, or written anew from its beginning, passes.
    ``live`` lets an incomplete last line pass, which a daemon may be writing just now.

    Raises:
        AuditError: the log is damaged; the message names segment, line and reason.
        StorageUnavailable: it cannot be read.
    """
    head = EMPTY_HEAD
    for record in verified_records(path, live=live):
        head = record.head
        if expected_head is not None and head.seq == expected_head.seq:
            _check_expected(head, expected_head)
    if expected_head is not None and head.seq < expected_head.seq:
        raise AuditError(f"the log ends at record {head.seq}; record {expected_head.seq} was seen before")
    return head


def verified_records(path: Path | str, *, live: bool = False) -> Iterator[AuditRecord]:
    """Yield the records in order, each checked with its link to the one before.

    Raises:
        AuditError: the log is damaged; the message names segment, line and reason.
        StorageUnavailable: it cannot be read.
    """
    head = EMPTY_HEAD
    segments = existing_segments(Path(path))
    for segment in segments:
        _check_name(segment, head)
        for line in segment.lines():
            if live and not line.whole and segment is segments[-1]:
                return
            record = _check_whole(segment, line, head)
            head = record.head
            yield record


def _check_whole(segment: Segment, line: Line, after: AuditHead) -> AuditRecord:
    if not line.whole:
        raise segment.damaged(line.number, "the line is incomplete")
    return segment.check(line, after)


def _check_name(segment: Segment, after: AuditHead) -> None:
    if segment.first_seq != after.seq + 1:
        raise AuditError(f"segment {segment.path.name} follows record {after.seq}; records are missing")


def _check_expected(head: AuditHead, expected: AuditHead) -> None:
    if head.hash != expected.hash:
        raise AuditError(f"record {head.seq} is not the one that was seen before; the log was written anew")
