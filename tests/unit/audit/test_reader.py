"""Reading the log for people: filters, a log that is being written, damage."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import AuditFilter, read
from hwkm.audit.record import AuditEntry
from hwkm.errors import AuditError
from tests.unit.audit.examples import ALICE, BOB, HANDLE, KEY_ARN, TENANT, entry, make_log, opened, segments

OTHER = bytes(17)
KEY_ID = KEY_ARN.rpartition("/")[2]


@pytest.fixture
def log(tmp_path: Path) -> Path:
    """Seven records at 1, 2, ... 7 s after 1970, in several segments."""
    AuditLog.create(tmp_path / "audit")
    times = iter(range(1000, 8000, 1000))
    context = {"tenant": "alice", "object": "photo"}
    entries = [
        AuditEntry(ALICE, "vault.create", "ok", "r0", HANDLE),
        AuditEntry(ALICE, "vault.open", "wrong_knowledge_factor", "r1", HANDLE),
        AuditEntry(BOB, "vault.open", "access_denied", "r2", HANDLE),
        AuditEntry(BOB, "vault.create", "ok", "r3", OTHER),
        AuditEntry(ALICE, "vault.open", "ok", "r4", HANDLE),
        AuditEntry(TENANT, "key.decrypt", "ok", "r5", None, KEY_ARN, 2, context),
        AuditEntry(TENANT, "key.decrypt", "access_denied", "r6", None, KEY_ARN, None, {"tenant": "bob"}),
    ]
    with AuditLog.open(tmp_path / "audit", segment_bytes_max=300, clock_ms=lambda: next(times)) as opened_log:
        for item in entries:
            opened_log.append_many([item])
    return tmp_path / "audit"


@pytest.mark.parametrize(
    ("wanted", "expected"),
    [
        (AuditFilter(), [0, 1, 2, 3, 4, 5, 6]),
        (AuditFilter(caller="1001"), [2, 3]),
        (AuditFilter(caller="AKIAEXAMPLE"), [5, 6]),
        (AuditFilter(caller="000000000001"), [5, 6]),
        (AuditFilter(operation="vault.open"), [1, 2, 4]),
        (AuditFilter(outcome="ok", operation="vault.open"), [4]),
        (AuditFilter(vault=HANDLE), [0, 1, 2, 4]),
        (AuditFilter(vault=OTHER), [3]),
        (AuditFilter(key=KEY_ARN), [5, 6]),
        (AuditFilter(key=KEY_ID), [5, 6]),
        (AuditFilter(key=KEY_ID[:-1]), []),
        (AuditFilter(context={"tenant": "alice"}), [5]),
        (AuditFilter(context={"tenant": "alice", "object": "other"}), []),
        (AuditFilter(since_ms=3000), [2, 3, 4, 5, 6]),
        (AuditFilter(until_ms=3000), [0, 1]),
        (AuditFilter(since_ms=2000, until_ms=2001), [1]),
        (AuditFilter(start=4), [4, 5, 6]),
        (AuditFilter(start=100), []),
        (AuditFilter(caller="5"), []),
    ],
)
def test_the_records_that_match_are_shown_in_order(
    log: Path, wanted: AuditFilter, expected: list[int]
) -> None:
    assert len(segments(log)) > 2
    assert [record.index for record in read(log, wanted)] == expected


def test_records_show_who_when_what_and_how_it_ended(log: Path) -> None:
    record = next(read(log, AuditFilter(start=1)))
    assert (record.caller.uid, record.time, record.operation) == (
        1000,
        "1970-01-01T00:00:02.000Z",
        "vault.open",
    )
    assert (record.outcome, record.request, record.vault) == ("wrong_knowledge_factor", "r1", HANDLE.hex())


def test_a_line_that_is_being_written_is_passed_over(log: Path) -> None:
    path = segments(log)[-1]
    path.write_bytes(path.read_bytes() + b' {"caller"')
    assert len(list(read(log))) == 7


def test_a_log_can_be_read_while_it_is_open_for_writing(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 1)
    with opened(log) as writer:
        for number in range(1, 20):
            writer.append_many([entry(number)])
            assert len(list(read(log))) == number + 1


def test_damage_is_named(log: Path) -> None:
    path = segments(log)[0]
    path.write_bytes(path.read_bytes().replace(b'"ok"', b'"ko"'))
    with pytest.raises(AuditError, match=r"0000000000000000\.jsonl, line 1 \(record 0\): .*changed"):
        list(read(log))
