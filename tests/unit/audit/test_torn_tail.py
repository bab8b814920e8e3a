"""A crash in the middle of a write: what was acknowledged stays, and only what was not is dropped."""

from __future__ import annotations

import tempfile
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import read
from hwkm.audit.tail import find_tail, is_torn
from hwkm.errors import AuditError
from tests.unit.audit.examples import append, entry, make_log, opened, segments, sign, verified

SECTOR = 512


def operations(log: Path) -> list[str]:
    return [record.operation for record in read(log)]


def test_a_log_torn_at_any_byte_keeps_its_whole_lines_and_says_what_was_dropped(tmp_path: Path) -> None:
    whole = segments(make_log(tmp_path / "whole", 3))[0].read_bytes()
    torn = make_log(tmp_path / "torn", 0)
    for cut in range(len(whole) + 1):
        segments(torn)[0].write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        dropped = not (whole[:cut].endswith(b"\n") or cut == 0)
        with opened(torn) as log:
            assert log.size == kept + dropped
        assert operations(torn) == ["vault.open"] * kept + ["audit.repair"] * dropped
        assert verified(torn).records == kept + dropped


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(data=st.data(), before=st.integers(0, 3), count=st.integers(1, 9))
def test_any_sectors_of_the_last_write_may_be_missing(
    tmp_path: Path, data: st.DataObject, before: int, count: int
) -> None:
    """Prepared space holds zeros, and a disk writes sectors in any order, each whole or not at all."""
    log = make_log(Path(tempfile.mkdtemp(dir=tmp_path)) / "audit", before)
    path = segments(log)[0]
    acknowledged = path.read_bytes()
    append(log, *range(before, before + count))
    full = path.read_bytes()
    image = bytearray(acknowledged.ljust(len(full), b"\0"))
    for start in range(len(acknowledged) // SECTOR * SECTOR, len(full), SECTOR):
        if data.draw(st.booleans()):
            image[start : start + SECTOR] = full[start : start + SECTOR]
    path.write_bytes(bytes(image) + bytes(4096))
    with opened(log) as reopened:
        size = reopened.size
        reopened.append_many([entry(99)])
    found = operations(log)
    kept = found.count("vault.open") - 1
    assert before <= kept <= before + count
    assert size - kept in (0, 1)
    assert [record.request for record in read(log)][:before] == [f"request-{n}" for n in range(before)]
    assert verified(log).records == size + 1


def test_prepared_space_that_a_crash_left_is_no_damage(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 3)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes() + bytes(100_000))
    assert verified(log).records == 3
    with opened(log) as reopened:
        assert reopened.size == 3
        reopened.append_many([entry(3)])
    assert path.read_bytes().count(b"\0") == 0
    assert verified(log).records == 4


def test_a_zeroed_record_before_a_later_write_is_damage(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 8)
    path = segments(log)[0]
    content = path.read_bytes()
    start = content.index(b"\n") + 1
    path.write_bytes(content[:start] + bytes(SECTOR * 2) + content[start + SECTOR * 2 :])
    before = path.read_bytes()
    with pytest.raises(AuditError, match="not by a write that a crash cut off"):
        AuditLog.open(log)
    assert path.read_bytes() == before


def test_damage_in_the_last_write_is_no_torn_write(tmp_path: Path) -> None:
    """A write of several records, acknowledged, then one bit of it changed."""
    log = make_log(tmp_path / "audit", 1)
    append(log, 1, 2, 3)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes().replace(b"request-2", b"request-3"))
    before = path.read_bytes()
    with pytest.raises(AuditError, match=r"line 3 \(record 2\): .*changed"):
        AuditLog.open(log)
    assert path.read_bytes() == before


def test_what_a_checkpoint_covers_is_never_dropped(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 3)
    sign(log, 3)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes()[:-10])
    before = path.read_bytes()
    for start in (3, 4):
        with pytest.raises(AuditError):
            AuditLog.open(log, signed_size=start)
    assert path.read_bytes() == before


def test_the_repair_is_recorded_with_what_was_dropped_and_the_log_goes_on(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 2)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes() + b' {"caller":{"gid"')
    with opened(log) as reopened:
        reopened.append_many([entry(2)])
    _, _, repair, last = read(log)
    assert (repair.index, repair.operation, repair.outcome) == (2, "audit.repair", "torn_tail_dropped")
    assert (repair.detail, last.index) == ({"dropped_bytes": "17"}, 3)
    assert verified(log).records == 4


@pytest.mark.parametrize("step", ["note written", "cut off", "recorded"])
def test_a_crash_during_a_repair_is_repaired_at_the_next_start(tmp_path: Path, step: str) -> None:
    log = make_log(tmp_path / "audit", 1)
    path = segments(log)[0]
    note = log / "records" / "repair"
    note.write_text("1 300")
    if step == "note written":
        path.write_bytes(path.read_bytes() + b"x" * 300)
    if step == "recorded":
        with opened(log) as reopened:
            assert reopened.size == 2
        note.write_text("1 300")
    with opened(log) as reopened:
        assert reopened.size == 2
    assert not note.exists()
    assert [record.detail for record in read(log)][1:] == [{"dropped_bytes": "300"}]


def test_a_torn_line_at_the_start_of_a_new_segment(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 3)
    (log / "records/0000000000000003.jsonl").write_bytes(b' {"caller"')
    with opened(log) as reopened:
        assert reopened.size == 4
    assert verified(log).records == 4


def test_an_incomplete_line_that_is_not_the_last_of_the_log_is_damage(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 3)
    path = segments(log)[0]
    (log / "records/0000000000000003.jsonl").touch()
    path.write_bytes(path.read_bytes() + b' {"caller"')
    with pytest.raises(AuditError):
        AuditLog.open(log)


@pytest.mark.parametrize(
    ("rest", "start", "torn"),
    [
        (b' {"a"', 100, True),
        (b' {"a"}\n', 100, False),
        (b' {"a"}\n {"b"', 100, False),
        (b"\0" * 412 + b'{"b"}\n', 100, True),
        (b"\0" * 411 + b'x{"b"}\n', 100, False),
        (b'x\0{"b"}\n', 511, False),
        (b'\0{"b"}\n', 511, False),
        (b"x" * 412 + b"\0" * 512 + b'{"b"}\n', 100, True),
        (b"x" * 412 + b"\0" * 512 + b'{"b"}\n {"c"}\n', 100, False),
    ],
)
def test_what_a_crash_can_leave_of_one_write(rest: bytes, start: int, torn: bool) -> None:
    assert is_torn(rest, start) is torn


def test_the_tail_is_found_where_records_end(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 7, segment_bytes_max=1000)
    tail = find_tail(log, 2)
    assert (tail.size, tail.segment.path, tail.torn_bytes) == (7, segments(log)[-1], 0)
    assert tail.end == segments(log)[-1].stat().st_size
