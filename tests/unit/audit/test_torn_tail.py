"""A crash in the middle of a write, at every byte: what was acknowledged stays, the rest is dropped."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import read
from hwkm.audit.verify import verify
from hwkm.errors import AuditError
from tests.unit.audit.examples import entry, make_log, opened, segments


def test_a_log_torn_at_any_byte_keeps_its_whole_lines_and_says_what_was_dropped(tmp_path: Path) -> None:
    whole = segments(make_log(tmp_path / "whole", 3))[0].read_bytes()
    torn = make_log(tmp_path / "torn", 0)
    for cut in range(len(whole) + 1):
        segments(torn)[0].write_bytes(whole[:cut])
        kept = whole[:cut].count(b"\n")
        dropped = not (whole[:cut].endswith(b"\n") or cut == 0)
        with opened(torn) as log:
            assert log.head.seq == kept + dropped
        assert segments(torn)[0].read_bytes().startswith(whole[:cut].rpartition(b"\n")[0])
        operations = [record.operation for record in read(torn)]
        assert operations == ["vault.open"] * kept + ["audit.repair"] * dropped
        assert verify(torn).seq == kept + dropped


def test_the_repair_is_recorded_with_its_outcome_and_the_log_goes_on(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 2)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes() + b'{"caller":{"gid"')
    with opened(log) as reopened:
        reopened.append_many([entry(2)])
    outcomes = [(record.seq, record.operation, record.outcome) for record in read(log)]
    assert outcomes[2:] == [(3, "audit.repair", "torn_tail_dropped"), (4, "vault.open", "ok")]
    assert verify(log).seq == 4


def test_a_torn_line_longer_than_the_record_of_its_repair_goes_wholly(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 1)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes() + bytes(5000))
    with opened(log) as reopened:
        assert reopened.head.seq == 2
    assert verify(log).seq == 2


def test_a_crash_during_a_repair_is_repaired_again(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 1)
    path = segments(log)[0]
    path.write_bytes(path.read_bytes() + bytes(5000))
    with opened(log) as reopened:
        assert reopened.head.seq == 2
    # As if the process had ended after the record was written and before the rest was cut off.
    path.write_bytes(path.read_bytes() + bytes(4000))
    with opened(log) as reopened:
        assert reopened.head.seq == 3
    assert verify(log).seq == 3


def test_a_torn_line_at_the_start_of_a_new_segment(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 3)
    (log / "0000000000000004.jsonl").write_bytes(b'{"caller"')
    with opened(log) as reopened:
        assert reopened.head.seq == 4
    assert verify(log).seq == 4


def test_an_incomplete_line_that_is_not_the_last_of_the_log_is_damage(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 3)
    path = segments(log)[0]
    (log / "0000000000000004.jsonl").touch()
    path.write_bytes(path.read_bytes() + b'{"caller"')
    with pytest.raises(AuditError):
        AuditLog.open(log)


def test_a_whole_line_that_is_wrong_is_damage_and_never_dropped(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 3)
    path = segments(log)[0]
    content = path.read_bytes() + b'{"caller"\n'
    path.write_bytes(content)
    with pytest.raises(AuditError, match="line 1 from the end"):
        AuditLog.open(log)
    assert path.read_bytes() == content
