"""Verification finds every change and names its place: the record, the tile, or the checkpoint."""

from __future__ import annotations

import json
import shutil
from collections.abc import Callable
from pathlib import Path
from zlib import crc32

import pytest

from hwkm.audit.verify import verify
from hwkm.errors import AuditError, FormatError, LogError, NotConsistent, NoteUnverified, RolledBack
from hwkm.secret import SecretBytes
from hwkm.tlog.checkpoint import Checkpoint
from hwkm.tlog.note import SignedNote
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey
from tests.unit.audit.examples import LOG_KEY, append, make_log, segments, sign, signed, verified

RECORDS = 300


@pytest.fixture(scope="module")
def original(tmp_path_factory: pytest.TempPathFactory) -> Path:
    """A log of 300 records in 3 segments, signed at 100 and 290."""
    log = make_log(tmp_path_factory.mktemp("original") / "audit", 0)
    for number in range(0, 100, 10):
        append(log, *range(number, number + 10))
    sign(log, 100)
    path = segments(log)[0]
    path.rename(path)
    append(log, *range(100, RECORDS))
    split(log, 120)
    split(log, 280)
    sign(log, 290)
    return log


def split(log: Path, index: int) -> None:
    """Let a new segment begin at this record."""
    last = segments(log)[-1]
    lines = last.read_bytes().splitlines(keepends=True)
    at = index - int(last.stem)
    last.write_bytes(b"".join(lines[:at]))
    (log / f"records/{index:016d}.jsonl").write_bytes(b"".join(lines[at:]))


@pytest.fixture
def log(original: Path, tmp_path: Path) -> Path:
    """A copy to damage."""
    shutil.copytree(original, tmp_path / "audit")
    return tmp_path / "audit"


def lines(path: Path) -> list[bytes]:
    return path.read_bytes().splitlines(keepends=True)


def forged(line: bytes, **changes: object) -> bytes:
    """A record that was changed by someone who computes its checksum anew."""
    record = json.loads(line) | changes | {"check": "00000000"}
    encoded = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    check = b'"check":"%08x"' % crc32(encoded)
    return encoded.replace(b'"check":"00000000"', check) + b"\n"


def replace_line(log: Path, index: int, new: bytes) -> None:
    path = [segment for segment in segments(log) if int(segment.stem) <= index][-1]
    content = lines(path)
    content[index - int(path.stem)] = new
    path.write_bytes(b"".join(content))


def line_of(log: Path, index: int) -> bytes:
    path = [segment for segment in segments(log) if int(segment.stem) <= index][-1]
    return lines(path)[index - int(path.stem)].removeprefix(b" ")


def test_a_whole_log_passes(log: Path) -> None:
    report = verified(log)
    assert (report.records, report.signed) == (RECORDS, 290)
    assert len(segments(log)) == 3
    assert report.checkpoint is not None


def test_a_flipped_bit_in_any_byte_of_any_file_is_found_and_named(tmp_path: Path) -> None:
    """Every byte of records, tiles, bundles and checkpoint of a small log; one bit of each."""
    log = make_log(tmp_path / "audit", 4)
    sign(log, 3)
    files = [path for path in log.rglob("*") if path.is_file()]
    assert {path.relative_to(log).parts[0] for path in files} == {"records", "tile", "checkpoint"}
    for path in files:
        whole = path.read_bytes()
        for offset in range(len(whole)):
            flipped = bytearray(whole)
            flipped[offset] ^= 1 << (offset % 8)
            path.write_bytes(flipped)
            with pytest.raises((AuditError, LogError)) as found:
                verified(log)
            assert named(path.relative_to(log), str(found.value)), (path, offset, str(found.value))
        path.write_bytes(whole)
    assert verified(log).records == 4


def named(path: Path, message: str) -> bool:
    """Whether a message names the file, or the record."""
    return str(path) in message or (path.parts[0] == "records" and "record " in message)


@pytest.mark.parametrize("index", [0, 99, 119, 120, 255, 256, 289])
def test_a_record_forged_with_its_checksum_is_named(log: Path, index: int) -> None:
    replace_line(log, index, forged(line_of(log, index), outcome="wrong_knowledge_factor"))
    with pytest.raises(AuditError, match=rf"^record {index} was changed"):
        verified(log)


def test_a_record_forged_together_with_its_tile_and_bundle_is_named_by_the_next_level(log: Path) -> None:
    """Somebody who can write all files, but cannot sign."""
    replace_line(log, 7, forged(line_of(log, 7), outcome="denied"))
    checkpoint = (log / "checkpoint").read_bytes()
    shutil.rmtree(log / "tile")
    (log / "checkpoint").unlink()
    sign(log, 290)
    (log / "checkpoint").write_bytes(checkpoint)
    with pytest.raises(NotConsistent, match=r"^checkpoint, of 290 records, has another root"):
        verified(log)


def test_a_damaged_tile_is_named_and_not_taken_for_a_damaged_record(log: Path) -> None:
    for name in ("tile/0/000", "tile/0/001.p/34", "tile/1/000.p/1", "tile/entries/000"):
        path = log / name
        whole = path.read_bytes()
        path.write_bytes(whole[:20] + bytes([whole[20] ^ 1]) + whole[21:])
        with pytest.raises(AuditError, match=rf"^{name} is damaged"):
            verified(log)
        path.write_bytes(whole[:-1])
        with pytest.raises(AuditError, match=rf"^{name} is damaged"):
            verified(log)
        path.unlink()
        with pytest.raises(AuditError, match=rf"^{name} is missing"):
            verified(log)
        path.write_bytes(whole)
    assert verified(log).signed == 290


@pytest.mark.parametrize(
    "change",
    [
        lambda content: [content[0], *content[2:]],
        lambda content: [content[1], content[0], *content[2:]],
        lambda content: [content[0], content[0], *content[1:]],
        lambda content: content[1:],
        lambda content: content[:-1],
        lambda content: [*content, b"\n"],
        lambda content: [b"\n", *content],
        lambda content: [*content, b"x" * 70_000 + b"\n"],
        lambda content: [line.replace(b"\n", b"\r\n") for line in content],
        lambda content: [*content[:-1], content[-1].rstrip(b"\n")],
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
        verified(log)


@pytest.mark.parametrize("index", [0, 1])
def test_a_segment_cannot_be_removed_from_the_front_or_the_middle(log: Path, index: int) -> None:
    segments(log)[index].unlink()
    with pytest.raises(AuditError, match="missing"):
        verified(log)


def test_segments_cannot_change_places(log: Path) -> None:
    first, second, _third = segments(log)
    contents = first.read_bytes(), second.read_bytes()
    first.write_bytes(contents[1])
    second.write_bytes(contents[0])
    with pytest.raises(AuditError):
        verified(log)


def test_records_that_were_signed_for_cannot_be_cut_off(log: Path) -> None:
    path = segments(log)[-1]
    path.write_bytes(b"".join(lines(path)[:-15]))
    with pytest.raises(RolledBack, match="has 285 records; checkpoint was signed for 290"):
        verified(log)


def test_a_log_rolled_back_as_a_whole_passes_alone_and_fails_against_a_kept_checkpoint(
    log: Path, original: Path
) -> None:
    kept = SignedNote.parse((original / "checkpoint").read_bytes())
    earlier = make_log(log.parent / "earlier", 0)
    append(earlier, *range(100))
    sign(earlier, 100)
    assert verified(earlier).records == 100
    with pytest.raises(RolledBack, match="has 100 records; yesterday was signed for 290"):
        verified(earlier, yesterday=kept)


def test_a_log_written_anew_and_signed_passes_alone_and_fails_against_a_kept_checkpoint(
    log: Path, original: Path
) -> None:
    kept = SignedNote.parse((original / "checkpoint").read_bytes())
    anew = make_log(log.parent / "anew", 0)
    append(anew, *range(5, RECORDS + 5))
    sign(anew, RECORDS)
    assert verified(anew).signed == RECORDS
    with pytest.raises(NotConsistent, match="yesterday, of 290 records, has another root"):
        verified(anew, yesterday=kept)


def test_a_log_that_has_grown_still_contains_what_was_kept(log: Path) -> None:
    kept = SignedNote.parse((log / "checkpoint").read_bytes())
    append(log, *range(RECORDS, RECORDS + 300))
    sign(log, RECORDS + 290)
    assert verified(log, yesterday=kept).signed == RECORDS + 290


def test_a_checkpoint_of_another_key_or_log_is_refused(log: Path) -> None:
    stranger = PrivateNoteKey(LOG_KEY.name, SecretBytes(bytes(32)))
    with pytest.raises(NoteUnverified, match=r"^checkpoint: no known key"):
        verify(log, stranger.public(KeyType.ED25519))
    state = Checkpoint.parse(SignedNote.parse((log / "checkpoint").read_bytes()).text)
    (log / "checkpoint").write_bytes(signed(state, stranger).encode())
    with pytest.raises(NoteUnverified, match=r"^checkpoint: no known key"):
        verified(log)


def test_an_empty_checkpoint_of_this_log_is_no_way_around(log: Path) -> None:
    """Without a checkpoint nothing is signed for, and the report says so."""
    (log / "checkpoint").unlink()
    assert verified(log).signed == 0
    (log / "checkpoint").write_bytes(b"")
    with pytest.raises(AuditError, match="checkpoint is damaged"):
        verified(log)


def test_other_files_in_the_directory_do_not_matter(log: Path) -> None:
    (log / "notes.txt").write_text("hello")
    (log / "records/1.jsonl").write_text("hello")
    assert verified(log).records == RECORDS


def test_an_incomplete_last_line_fails_unless_a_daemon_may_be_writing_it(log: Path) -> None:
    path = segments(log)[-1]
    path.write_bytes(path.read_bytes()[:-10])
    with pytest.raises(AuditError, match="incomplete"):
        verified(log)
    assert verify(log, LOG_KEY, live=True).records == RECORDS - 1
    first = segments(log)[0]
    first.write_bytes(first.read_bytes()[:-1])
    with pytest.raises(AuditError, match="incomplete"):
        verify(log, LOG_KEY, live=True)


def test_progress_is_told(log: Path) -> None:
    told: list[int] = []
    verify(log, LOG_KEY, progress=told.append)
    assert told == [0]


def test_no_log_is_not_an_empty_log(tmp_path: Path) -> None:
    with pytest.raises(AuditError, match="no audit log"):
        verified(tmp_path)


def test_a_kept_file_that_is_no_checkpoint_is_refused(log: Path) -> None:
    with pytest.raises(FormatError):
        verify(log, LOG_KEY, seen={"kept": b"nonsense"})
