"""Entries and logs that the tests of the audit log use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwkm.audit.log import AuditLog
from hwkm.audit.record import AuditEntry, Caller

ALICE = Caller(gid=1000, pid=4242, uid=1000)
BOB = Caller(gid=1001, pid=7, uid=1001)
HANDLE = bytes(range(17))
TIME_MS = 1_767_225_599_007  # 2025-12-31T23:59:59.007Z


def entry(number: int = 0) -> AuditEntry:
    """What the daemon would write about request ``number``."""
    return AuditEntry(ALICE, "vault.open", "ok", request=f"request-{number}", vault=HANDLE)


def make_log(directory: Path, records: int, *, segment_bytes_max: int = 1 << 20) -> Path:
    """Write a log of so many records, each synced by itself, under a clock that stands still."""
    AuditLog.create(directory)
    with opened(directory, segment_bytes_max=segment_bytes_max) as log:
        for number in range(records):
            log.append_many([entry(number)])
    return directory


@contextmanager
def opened(directory: Path, *, segment_bytes_max: int = 1 << 20) -> Iterator[AuditLog]:
    """Open a log under a clock that stands still."""
    with AuditLog.open(directory, segment_bytes_max=segment_bytes_max, clock_ms=lambda: TIME_MS) as log:
        yield log


def segments(directory: Path) -> list[Path]:
    """The files of a log in order."""
    return sorted(directory.glob("*.jsonl"))
