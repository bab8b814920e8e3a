"""Reading the log for people: filters, a log that is being written, damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import AuditFilter, read
from hwkm.audit.record import AuditEntry
from hwkm.errors import AuditError
from tests.unit.audit.examples import ALICE, BOB, HANDLE, entry, make_log, opened, segments

OTHER = bytes(17)


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Six records at 1, 2, ... 6 s after 1970, in several segments."""
    AuditLog.create(tmp_path / "audit")
    times = iter(range(1000, 7000, 1000))
    entries = [
        AuditEntry(ALICE, "vault.create", "ok", "r1", HANDLE),
        AuditEntry(ALICE, "vault.open", "wrong_knowledge_factor", "r2", HANDLE),
        AuditEntry(BOB, "vault.open", "access_denied", "r3", HANDLE),
        AuditEntry(BOB, "vault.create", "ok", "r4", OTHER),
        AuditEntry(ALICE, "vault.open", "ok", "r5", HANDLE),
        AuditEntry(ALICE, "status", "ok", "r6"),
    ]
    with AuditLog.open(tmp_path / "audit", segment_bytes_max=500, clock_ms=lambda: next(times)) as opened_log:
        for item in entries:
            opened_log.append_many([item])
    return tmp_path / "audit"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (AuditFilter(), [1, 2, 3, 4, 5, 6]),
        (AuditFilter(caller_uid=1001), [3, 4]),
        (AuditFilter(operation="vault.open"), [2, 3, 5]),
        (AuditFilter(outcome="ok", operation="vault.open"), [5]),
        (AuditFilter(vault=HANDLE), [1, 2, 3, 5]),
        (AuditFilter(vault=OTHER), [4]),
        (AuditFilter(since_ms=3000), [3, 4, 5, 6]),
        (AuditFilter(until_ms=3000), [1, 2]),
        (AuditFilter(since_ms=2000, until_ms=2001), [2]),
        (AuditFilter(after_seq=4), [5, 6]),
        (AuditFilter(after_seq=100), []),
        (AuditFilter(caller_uid=5), []),
    ],
)
def test_the_records_that_match_are_shown_in_order(
    log: Path, wanted: AuditFilter, expected: list[int]
) -> None:
    assert len(segments(log)) > 2
    assert [record.seq for record in read(log, wanted)] == expected


def test_records_show_who_when_what_and_how_it_ended(log: Path) -> None:
    record = next(read(log, AuditFilter(after_seq=1)))
    assert (record.caller.uid, record.time, record.operation) == (
        1000,
        "1970-01-01T00:00:02.000Z",
        "vault.open",
    )
    assert (record.outcome, record.request, record.vault) == ("wrong_knowledge_factor", "r2", HANDLE.hex())


def test_a_line_that_is_being_written_is_passed_over(log: Path) -> None:
    path = segments(log)[-1]
    path.write_bytes(path.read_bytes() + b'{"caller"')
    assert len(list(read(log))) == 6


def test_a_log_can_be_read_while_it_is_open_for_writing(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 1)
    with opened(log) as writer:
        for number in range(1, 20):
            writer.append_many([entry(number)])
            assert len(list(read(log))) == number + 1


def test_damage_is_named(log: Path) -> None:
    path = segments(log)[0]
    path.write_bytes(path.read_bytes().replace(b'"ok"', b'"ko"'))
    with pytest.raises(AuditError, match=r"0000000000000001\.jsonl, line 1: .*changed"):
        list(read(log))
