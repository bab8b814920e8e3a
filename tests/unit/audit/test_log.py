"""Appending: numbered, durable when acknowledged, by one writer only."""

from __future__ import annotations

import os
import stat
import subprocess
import sys
from pathlib import Path

import pytest

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import read
from hwkm.errors import AuditError, FormatError, StorageUnavailable
from tests.unit.audit.examples import append, entry, make_log, opened, segments, verified


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    return tmp_path / "audit"


def test_a_new_log_is_empty(directory: Path) -> None:
    make_log(directory, 0)
    with opened(directory) as log:
        assert log.size == 0
    assert verified(directory).records == 0


def test_records_are_numbered_over_restarts(directory: Path) -> None:
    make_log(directory, 0)
    for start in (0, 2, 4):
        with opened(directory) as log:
            assert log.append_many([entry(start), entry(start + 1)]) == log.size == start + 2
    assert [record.index for record in read(directory)] == list(range(6))
    assert verified(directory).records == 6


def test_what_is_appended_is_in_the_file(directory: Path) -> None:
    make_log(directory, 1)
    with opened(directory) as log:
        log.append_many([entry(1)])
        assert verified(directory).records == 2
        assert log.append_many([]) == 2


def test_a_log_goes_on_in_a_new_segment_when_one_is_full(directory: Path) -> None:
    make_log(directory, 10, segment_bytes_max=500)
    names = [path.name for path in segments(directory)]
    assert names[:2] == ["0000000000000000.jsonl", "0000000000000003.jsonl"]
    assert len(names) == 4
    assert all(b"\0" not in path.read_bytes() for path in segments(directory))
    assert verified(directory).records == 10
    with opened(directory, segment_bytes_max=500) as log:
        assert log.append_many([entry()]) == 11


def test_a_crash_right_after_a_segment_was_made_is_no_damage(directory: Path) -> None:
    make_log(directory, 3)
    (directory / "records/0000000000000003.jsonl").touch(mode=0o600)
    append(directory, 3)
    assert verified(directory).records == 4
    assert [path.stat().st_size > 0 for path in segments(directory)] == [True, True]


def test_a_log_is_made_once(directory: Path) -> None:
    make_log(directory, 1)
    with pytest.raises(AuditError, match="already"):
        AuditLog.create(directory)
    assert verified(directory).records == 1


def test_a_log_that_was_removed_is_not_silently_begun_anew(directory: Path) -> None:
    with pytest.raises(AuditError, match="no audit log"):
        AuditLog.open(directory)
    make_log(directory, 1)
    segments(directory)[0].unlink()
    with pytest.raises(AuditError, match="no audit log"):
        AuditLog.open(directory)


def test_a_log_of_the_format_before_the_first_release_is_refused_with_what_to_do(directory: Path) -> None:
    directory.mkdir()
    (directory / "0000000000000001.jsonl").write_text("{}\n")
    for action in (AuditLog.open, AuditLog.create, verified):
        with pytest.raises(AuditError, match=r"before the first release.*hwkmd init --audit-log"):
            action(directory)


def test_a_log_without_its_first_segment_is_refused(directory: Path) -> None:
    make_log(directory, 10, segment_bytes_max=500)
    segments(directory)[0].unlink()
    with pytest.raises(AuditError, match="missing"):
        AuditLog.open(directory)


@pytest.mark.parametrize("index", [-1, -2])
def test_a_log_whose_last_segments_do_not_fit_is_refused(directory: Path, index: int) -> None:
    make_log(directory, 11, segment_bytes_max=500)
    segment = segments(directory)[index]
    lines = segment.read_bytes().splitlines(keepends=True)
    segment.write_bytes(b"".join(lines[:-1] if index == -2 else lines[1:]))
    with pytest.raises(AuditError):
        AuditLog.open(directory)


def test_a_damaged_last_record_keeps_the_daemon_from_starting(directory: Path) -> None:
    make_log(directory, 3)
    path = segments(directory)[0]
    path.write_bytes(path.read_bytes().replace(b'"request-2"', b'"request-3"'))
    with pytest.raises(AuditError, match=r"0000000000000000\.jsonl, line 3 \(record 2\).*changed"):
        AuditLog.open(directory)


def test_only_what_no_checkpoint_covers_is_parsed_at_start(directory: Path) -> None:
    make_log(directory, 3)
    path = segments(directory)[0]
    path.write_bytes(path.read_bytes().replace(b'"request-0"', b'"request-9"'))
    with AuditLog.open(directory, signed_size=1) as log:
        assert log.size == 3
    with pytest.raises(AuditError, match="line 1"):
        AuditLog.open(directory)
    with pytest.raises(AuditError, match="ends after 3 records, and 4 were signed for"):
        AuditLog.open(directory, signed_size=4)


def test_a_second_writer_is_refused_in_this_process_and_in_another(directory: Path) -> None:
    make_log(directory, 0)
    program = "import sys; from hwkm.audit.log import AuditLog; AuditLog.open(sys.argv[1])"
    with opened(directory):
        with pytest.raises(StorageUnavailable, match="another daemon"):
            AuditLog.open(directory)
        other = subprocess.run([sys.executable, "-c", program, directory], capture_output=True, text=True)
        assert "StorageUnavailable" in other.stderr.splitlines()[-1]
    append(directory, 0)


def test_a_log_that_is_cut_while_it_is_open_is_not_written_to(directory: Path) -> None:
    make_log(directory, 3)
    with opened(directory) as log:
        os.truncate(segments(directory)[0], 100)
        with pytest.raises(AuditError, match="changed"):
            log.append_many([entry()])
    assert segments(directory)[0].stat().st_size == 100


def test_a_log_that_is_removed_while_it_is_open_is_not_written_to(directory: Path) -> None:
    make_log(directory, 3)
    with opened(directory) as log:
        segments(directory)[0].unlink()
        with pytest.raises(AuditError, match="changed"):
            log.append_many([entry()])


def test_a_clock_out_of_range_costs_only_the_batch_it_hit(directory: Path) -> None:
    make_log(directory, 1)
    times = iter([1, 10**18, 3])
    with AuditLog.open(directory, clock_ms=lambda: next(times)) as log:
        with pytest.raises(FormatError):
            log.append_many([entry(2), entry(3)])
        log.append_many([entry(4)])
    assert [record.request for record in read(directory)] == ["request-0", "request-4"]
    assert verified(directory).records == 2


def test_after_closing_nothing_can_be_appended(directory: Path) -> None:
    make_log(directory, 1)
    with opened(directory) as log:
        pass
    log.close()
    with pytest.raises(StorageUnavailable):
        log.append_many([entry()])


def test_the_log_is_private_to_its_owner(directory: Path) -> None:
    make_log(directory, 10, segment_bytes_max=1000)
    modes = {stat.S_IMODE(path.stat().st_mode) for path in segments(directory)}
    assert {stat.S_IMODE(path.stat().st_mode) for path in (directory, directory / "records")} == {0o700}
    assert modes == {0o600}


def test_a_refused_opening_leaves_no_descriptor_and_no_lock_behind(directory: Path) -> None:
    make_log(directory, 1)
    path = segments(directory)[0]
    whole = path.read_bytes()
    path.write_bytes(b"garbage\n")
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(10):
        with pytest.raises(AuditError):
            AuditLog.open(directory)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
    path.write_bytes(whole)
    AuditLog.open(directory).close()
