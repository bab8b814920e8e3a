"""Group commit of audit records: durable before anyone is answered, one fsync for all that wait."""

from __future__ import annotations

import asyncio
import os
import resource
import threading
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import read
from hwkm.audit.record import AuditEntry, Caller
from hwkm.errors import AuditError, FormatError, StorageUnavailable
from hwkm.server import audit_writer
from hwkm.server.audit_writer import AuditWriter
from tests.unit.audit.examples import verified

ENTRY = AuditEntry(Caller(gid=1, pid=2, uid=3), "vault.open", "ok")


@pytest.fixture
def batches() -> list[int]:
    return []


@pytest.fixture(params=["on the event loop", "on a thread"])
async def writer(
    tmp_path: Path, batches: list[int], request: pytest.FixtureRequest, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[AuditWriter]:
    """As on a quick disk, and as on a slow one."""
    quick_s = 60.0 if request.param == "on the event loop" else -1.0
    monkeypatch.setattr(audit_writer, "QUICK_WRITE_S", quick_s)
    AuditLog.create(tmp_path / "audit")
    opened = await AuditWriter.open(tmp_path / "audit", 1 << 20, batches.append)
    yield opened
    await opened.close()


async def test_records_that_wait_together_share_a_sync(
    writer: AuditWriter, batches: list[int], tmp_path: Path
) -> None:
    await asyncio.gather(*(writer.append(ENTRY) for _ in range(100)))
    assert sum(batches) == 100
    assert len(batches) <= 3
    assert verified(tmp_path / "audit").records == 100
    assert writer.size == 100


async def test_the_records_of_a_request_are_written_together_in_their_order(
    writer: AuditWriter, batches: list[int], tmp_path: Path
) -> None:
    entries = [AuditEntry(ENTRY.caller, ENTRY.operation, f"outcome{number}") for number in range(50)]
    await writer.append_all(entries)
    assert batches == [50]
    assert [record.outcome for record in read(tmp_path / "audit")] == [entry.outcome for entry in entries]


async def test_a_record_is_in_the_file_when_append_returns(writer: AuditWriter, tmp_path: Path) -> None:
    for count in range(1, 4):
        await writer.append(ENTRY)
        assert len(list(read(tmp_path / "audit"))) == count


async def test_a_full_disk_is_told_to_all_who_wait_and_passes(writer: AuditWriter, tmp_path: Path) -> None:
    await writer.append(ENTRY)
    size = segment_of(tmp_path).read_bytes().index(b"\0")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        results = await asyncio.gather(*(writer.append(ENTRY) for _ in range(3)), return_exceptions=True)
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    assert [type(result) for result in results] == [StorageUnavailable] * 3
    assert len({id(result) for result in results}) == 3
    assert writer.failure
    await writer.append(ENTRY)
    assert writer.failure == ""
    assert verified(tmp_path / "audit").records == 2


async def test_after_a_failure_the_log_is_tried_before_anything_is_done(
    writer: AuditWriter, tmp_path: Path
) -> None:
    await writer.require()
    await writer.append(ENTRY)
    size = segment_of(tmp_path).read_bytes().index(b"\0")
    soft, hard = resource.getrlimit(resource.RLIMIT_FSIZE)
    resource.setrlimit(resource.RLIMIT_FSIZE, (size, hard))
    try:
        for work in (writer.append(ENTRY), writer.require()):
            with pytest.raises(StorageUnavailable):
                await work
    finally:
        resource.setrlimit(resource.RLIMIT_FSIZE, (soft, hard))
    await writer.require()
    await writer.require()
    records = [record.operation for record in read(tmp_path / "audit")]
    assert records == [ENTRY.operation, "audit.resume"]


async def test_a_log_that_somebody_cut_takes_no_record_any_more(writer: AuditWriter, tmp_path: Path) -> None:
    await writer.append(ENTRY)
    await writer.append(ENTRY)
    os.truncate(segment_of(tmp_path), 100)
    for _ in range(2):
        with pytest.raises(AuditError):
            await writer.append(ENTRY)


async def test_a_caller_who_goes_away_stops_nobody_else(writer: AuditWriter, tmp_path: Path) -> None:
    gone = asyncio.create_task(writer.append(ENTRY))
    others = [asyncio.create_task(writer.append(ENTRY)) for _ in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(*others)
    assert verified(tmp_path / "audit").records == 4


async def test_a_slow_disk_is_written_to_on_a_thread_for_a_while(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    AuditLog.create(tmp_path / "audit")
    threads: list[bool] = []
    append_many = AuditLog.append_many

    def watched(log: AuditLog, entries: list[AuditEntry]) -> int:
        threads.append(threading.current_thread() is threading.main_thread())
        return append_many(log, entries)

    monkeypatch.setattr(AuditLog, "append_many", watched)
    opened = await AuditWriter.open(tmp_path / "audit", 1 << 20, lambda _count: None)
    await opened.append(ENTRY)
    opened._write_s = 2 * audit_writer.QUICK_WRITE_S
    await opened.append(ENTRY)
    await opened.append(ENTRY)
    opened._slow_until = 0.0
    opened._write_s = 0.0
    await opened.append(ENTRY)
    await opened.close()
    assert threads == [True, False, False, True]


async def test_an_entry_that_cannot_be_numbered_is_refused_and_the_log_goes_on(
    writer: AuditWriter, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    with monkeypatch.context() as patch:
        assert writer._log is not None
        patch.setattr(writer._log, "_clock_ms", lambda: -1)
        with pytest.raises(FormatError):
            await writer.append(ENTRY)
    await writer.append(ENTRY)
    assert verified(tmp_path / "audit").records == 1


def segment_of(tmp_path: Path) -> Path:
    (segment,) = (tmp_path / "audit/records").glob("*.jsonl")
    return segment
