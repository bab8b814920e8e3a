"""Reading the audit log for people: the records that match, oldest first."""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass
from pathlib import Path

from hwkm.audit.record import AuditRecord
from hwkm.audit.segments import Segment, existing_segments
from hwkm.audit.timestamp import format_time


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records to show; what is None does not matter."""

    caller_uid: int | None = None
    operation: str | None = None
    outcome: str | None = None
    vault: bytes | None = None
    since_ms: int | None = None
    until_ms: int | None = None
    after_seq: int = 0

    def matches(self, record: AuditRecord) -> bool:
        """Whether a record is to be shown; ``since_ms`` is included, ``until_ms`` is not."""
        return (
            record.seq > self.after_seq
            and self.caller_uid in (None, record.caller.uid)
            and self.operation in (None, record.operation)
            and self.outcome in (None, record.outcome)
            and (self.vault is None or self.vault.hex() == record.vault)
            and (self.since_ms is None or format_time(self.since_ms) <= record.time)
            and (self.until_ms is None or record.time < format_time(self.until_ms))
        )


def read(path: Path | str, wanted: AuditFilter | None = None) -> Iterator[AuditRecord]:
    """Yield the matching records of the log in directory ``path``, while a daemon may write to it.

    Each record's own hash is checked, the links between them are not: that is
    :func:`hwkm.audit.verify.verify`. An incomplete last line is passed over.

    Raises:
        AuditError: a record is damaged; the message names segment, line and reason.
        StorageUnavailable: the log cannot be read.
    """
    wanted = wanted or AuditFilter()
    for segment in _from(existing_segments(Path(path)), wanted.after_seq + 1):
        for line in segment.lines():
            if line.whole and wanted.matches(record := segment.parse(line)):
                yield record


def _from(segments: list[Segment], seq: int) -> list[Segment]:
    """Leave out the segments that end before record ``seq``."""
    later = [index for index, segment in enumerate(segments) if segment.first_seq > seq]
    start = later[0] - 1 if later else len(segments) - 1
    return segments[max(start, 0) :]
