"""Reading the audit log for people: the records that match, oldest first."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from dataclasses import dataclass, field
from pathlib import Path

from hwkm.audit.record import AuditRecord, Caller
from hwkm.audit.segments import existing_segments, segments_from
from hwkm.audit.timestamp import format_time


@dataclass(frozen=True, slots=True)
class AuditFilter:
    """Which records to show; what is None, or empty, does not matter.

    ``caller`` is a uid in digits, an access key or an account. ``context`` are pairs that the
    encryption context of a record must have. Of ``since_ms`` and ``until_ms`` the first is included.
    """

    caller: str | None = None
    operation: str | None = None
    outcome: str | None = None
    vault: bytes | None = None
    key: str | None = None
    context: Mapping[str, str] = field(default_factory=dict)
    since_ms: int | None = None
    until_ms: int | None = None
    start: int = 0
    """Index of the first record to look at."""

    def matches(self, record: AuditRecord) -> bool:
        """Whether a record is to be shown."""
        context = record.context or {}
        return (
            record.index >= self.start
            and (self.caller is None or self.caller in _names(record.caller))
            and self.operation in (None, record.operation)
            and self.outcome in (None, record.outcome)
            and (self.vault is None or self.vault.hex() == record.vault)
            and (self.key is None or _is_key(self.key, record.key))
            and all(context.get(name) == value for name, value in self.context.items())
            and (self.since_ms is None or format_time(self.since_ms) <= record.time)
            and (self.until_ms is None or record.time < format_time(self.until_ms))
        )


def read(path: Path | str, wanted: AuditFilter | None = None) -> Iterator[AuditRecord]:
    """Yield the matching records of the log in directory ``path``, while a daemon may write to it.

    Each record is checked by itself only; the whole is checked by
    :func:`hwkm.audit.verify.verify`. An incomplete last line is passed over.

    Raises:
        AuditError: a record is damaged; the message names it.
        StorageUnavailable: the log cannot be read.
    """
    wanted = wanted or AuditFilter()
    for segment in segments_from(existing_segments(Path(path)), wanted.start):
        for line in segment.lines():
            if line.whole and wanted.matches(record := segment.parse(line)):
                yield record


def _names(caller: Caller) -> tuple[str | None, ...]:
    return (None if caller.uid is None else str(caller.uid), caller.access_key, caller.account)


def _is_key(wanted: str, name: str | None) -> bool:
    """Whether a record's key is the wanted one: by the whole name, or by the key id at its end."""
    return name is not None and (name == wanted or name.endswith(f"/{wanted}"))
