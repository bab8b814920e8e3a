"""Group commit of audit records: durable before anyone is answered, one fsync for all that wait."""

from __future__ import annotations

import asyncio
import os
import resource
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import read
from hwkm.audit.record import AuditEntry, Caller
from hwkm.audit.verify import verify
from hwkm.errors import AuditError, StorageUnavailable
from hwkm.server.audit_writer import AuditWriter

ENTRY = AuditEntry(Caller(gid=1, pid=2, uid=3), "vault.open", "ok")


@pytest.fixture
def batches() -> list[int]:
    return []


@pytest.fixture
async def writer(tmp_path: Path, batches: list[int]) -> AsyncIterator[AuditWriter]:
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
    assert verify(tmp_path / "audit").seq == 100
    assert writer.head.seq == 100


async def test_a_record_is_in_the_file_when_append_returns(writer: AuditWriter, tmp_path: Path) -> None:
    for count in range(1, 4):
        await writer.append(ENTRY)
        assert len(list(read(tmp_path / "audit"))) == count


async def test_a_full_disk_is_told_to_all_who_wait_and_passes(writer: AuditWriter, tmp_path: Path) -> None:
    await writer.append(ENTRY)
    size = sum(path.stat().st_size for path in (tmp_path / "audit").iterdir())
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
    assert verify(tmp_path / "audit").seq == 2


async def test_a_log_that_somebody_cut_takes_no_record_any_more(writer: AuditWriter, tmp_path: Path) -> None:
    await writer.append(ENTRY)
    await writer.append(ENTRY)
    (segment,) = (tmp_path / "audit").glob("*.jsonl")
    os.truncate(segment, segment.stat().st_size // 2)
    for _ in range(2):
        with pytest.raises(AuditError):
            await writer.append(ENTRY)


async def test_a_caller_who_goes_away_stops_nobody_else(writer: AuditWriter, tmp_path: Path) -> None:
    gone = asyncio.create_task(writer.append(ENTRY))
    others = [asyncio.create_task(writer.append(ENTRY)) for _ in range(3)]
    await asyncio.sleep(0)
    gone.cancel()
    await asyncio.gather(*others)
    assert verify(tmp_path / "audit").seq == 4
