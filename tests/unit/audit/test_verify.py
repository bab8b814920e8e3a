"""Verification finds every change, names its place, and needs a kept head to see a cut."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path

import pytest

from hwkm.audit.record import AuditHead, AuditRecord, hash_of_line, parse_line
from hwkm.audit.verify import verify
from hwkm.errors import AuditError
from tests.unit.audit.examples import make_log, opened, segments

RECORDS = 8


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 8 records in 3 segments."""
    return make_log(tmp_path_factory.mktemp("original") / "audit", RECORDS, segment_bytes_max=1000)


@pytest.fixture
def log(original: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(original, tmp_path / "audit")
    return tmp_path / "audit"


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def forged(line: bytes, **changes: object) -> bytes:
    """A record that was changed by someone who computes its hash anew."""
    record = json.loads(line) | changes
    encoded = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    record["hash"] = hash_of_line(encoded)
    return json.dumps(record, sort_keys=True, separators=(",", ":")).encode() + b"\n"


def test_a_whole_log_passes(log: Path) -> None:
    assert verify(log).seq == RECORDS
    assert len(segments(log)) == 3


def test_a_flipped_bit_in_any_byte_of_any_record_is_found_and_named(log: Path) -> None:
    for path in segments(log):
        whole = path.read_bytes()
        line = 1
        for offset, byte in enumerate(whole):
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << (offset % 8)
            path.write_bytes(flipped)
            with pytest.raises(AuditError, match=rf"^segment {path.name}, line {line}: "):
                verify(log)
            line += byte == ord("\n")
        path.write_bytes(whole)
    assert verify(log).seq == RECORDS


def test_a_record_changed_with_its_hash_is_found_at_the_one_after_it(log: Path) -> None:
    path = segments(log)[0]
    first, second, *rest = lines(path)
    path.write_bytes(b"".join([forged(first, outcome="wrong_knowledge_factor"), second, *rest]))
    with pytest.raises(AuditError, match=r"line 2: record 2 does not follow"):
        verify(log)


def test_a_change_at_the_end_of_a_segment_is_found_in_the_next(log: Path) -> None:
    path = segments(log)[0]
    *rest, last = lines(path)
    path.write_bytes(b"".join([*rest, forged(last, outcome="wrong_knowledge_factor")]))
    with pytest.raises(AuditError, match=rf"segment {segments(log)[1].name}, line 1"):
        verify(log)


@pytest.mark.parametrize(
    "change",
    [
        lambda content: [content[0], content[2]],
        lambda content: [content[1], content[0], content[2]],
        lambda content: [content[0], content[0], content[1], content[2]],
        lambda content: content[1:],
        lambda content: content[:-1],
        lambda content: [*content, b"\n"],
        lambda content: [b"", b"\n", *content],
        lambda content: [*content, b"x" * 5000 + b"\n"],
        lambda content: [line.replace(b"\n", b"\r\n") for line in content],
        lambda content: [content[0], content[1], content[2].rstrip(b"\n")],
    ],
    ids=["cut out", "swapped", "doubled", "first gone", "last gone", "empty line", "empty first", "huge",
         "crlf", "incomplete"],
)  # fmt: skip
@pytest.mark.parametrize("segment", [0, 1])
def test_lines_cannot_be_moved_removed_or_added(
    log: Path, segment: int, change: Callable[[list[bytes]], list[bytes]]
) -> None:
    path = segments(log)[segment]
    path.write_bytes(b"".join(change(lines(path))))
    with pytest.raises(AuditError):
        verify(log)


@pytest.mark.parametrize("index", [0, 1])
def test_a_segment_cannot_be_removed_from_the_front_or_the_middle(log: Path, index: int) -> None:
    segments(log)[index].unlink()
    with pytest.raises(AuditError, match="missing"):
        verify(log)


def test_segments_cannot_change_places(log: Path) -> None:
    first, second, _third = segments(log)
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    with pytest.raises(AuditError):
        verify(log)


def test_a_segment_of_another_log_does_not_fit(log: Path, tmp_path: Path) -> None:
    with opened(log) as appended:
        head = appended.head
    other = make_log(tmp_path / "other", RECORDS, segment_bytes_max=1000)
    content = lines(segments(other)[2])
    segments(log)[2].write_bytes(b"".join(forged(line, outcome="other") for line in content[:1]) + content[1])
    with pytest.raises(AuditError):
        verify(log, head)


def test_other_files_in_the_directory_do_not_matter(log: Path) -> None:
    (log / "notes.txt").write_text("hello")
    (log / "1.jsonl").write_text("hello")
    assert verify(log).seq == RECORDS


def test_a_log_cut_at_its_end_passes_alone_and_fails_against_a_head_kept_elsewhere(log: Path) -> None:
    head = verify(log)
    path = segments(log)[-1]
    path.write_bytes(b"".join(lines(path)[:-1]))
    assert verify(log).seq == RECORDS - 1
    with pytest.raises(AuditError, match="ends at record 7; record 8 was seen"):
        verify(log, head)


def test_a_log_written_anew_passes_alone_and_fails_against_a_head_kept_elsewhere(
    log: Path, tmp_path: Path
) -> None:
    head = verify(log)
    content = [forged(line, outcome="other") for path in segments(log) for line in lines(path)[:1]][:1]
    rewritten = tmp_path / "rewritten"
    rewritten.mkdir()
    for _ in range(RECORDS - 1):
        before = parse_line(content[-1].rstrip(b"\n"))
        content.append(forged(content[-1], seq=before.seq + 1, prev=before.hash))
    (rewritten / "0000000000000001.jsonl").write_bytes(b"".join(content))
    assert verify(rewritten).seq == RECORDS
    with pytest.raises(AuditError, match="written anew"):
        verify(rewritten, head)


def test_a_log_that_has_grown_since_a_head_was_kept_still_holds_it(log: Path) -> None:
    record = _record(segments(log)[1], 0)
    assert verify(log, record.head).seq == RECORDS
    with pytest.raises(AuditError, match="written anew"):
        verify(log, AuditHead(record.seq, "0" * 64))


def _record(path: Path, line: int) -> AuditRecord:
    return parse_line(lines(path)[line].rstrip(b"\n"))


def test_an_incomplete_last_line_fails_unless_a_daemon_may_be_writing_it(log: Path) -> None:
    path = segments(log)[-1]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AuditError, match="incomplete"):
        verify(log)
    assert verify(log, live=True).seq == RECORDS - 1
    first = segments(log)[0]
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(AuditError, match="incomplete"):
        verify(log, live=True)


def test_no_log_is_not_an_empty_log(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no audit log"):
        verify(tmp_path)
