"""Headers are exchanged whole or not at all, whatever a crash or a power cut leaves of the writes."""

from __future__ import annotations

import fcntl
import hashlib
import os
import shutil
import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwkm.client.files.header_swap import (
    JOURNAL_PREFIX,
    FileBusy,
    HeaderSwap,
    encode_journal,
    held,
    interrupted,
    recover,
    replace_by_copy,
    swap_in_place,
)
from tests.fault.files.exchange import BY_COPY, IN_PLACE, OLD_BYTES, body, exchange, header, make
from tests.harness.lossy_storage import Recorder
from tests.harness.snapshot import Files, written

ROOT = Path(__file__).parents[3]


def is_whole(name: str, data: bytes) -> bool:
    return data in {header(name, new=new) + body(name) for new in (False, True)}


def is_new(name: str, data: bytes) -> bool:
    return data == header(name, new=True) + body(name)


def cuts(recorder: Recorder) -> Iterator[Files]:
    """Every different disk that a power cut can leave."""
    disk, seen = recorder.disk(), set[bytes]()
    for operation in [None, *recorder.operations()]:
        if operation is not None:
            disk.apply(operation)
        for image in disk.images():
            state = repr(sorted(image.items())).encode()
            digest = hashlib.sha256(state).digest()
            if digest not in seen:
                seen.add(digest)
                yield image


@pytest.mark.slow
def test_a_power_cut_at_any_write_leaves_every_file_whole_after_recovery(tmp_path: Path) -> None:
    directory = tmp_path / "disk"
    directory.mkdir()
    make(directory)
    recorder = Recorder(directory, tmp_path / "log")
    subprocess.run(
        [sys.executable, "-m", "tests.fault.files.exchange", str(recorder.directory)],
        check=True,
        cwd=ROOT,
        env={**os.environ, **recorder.environment},
    )
    torn: set[str] = set()
    outcomes = 0
    for image in cuts(recorder):
        outcomes += 1
        torn |= {name for name in (*IN_PLACE, *BY_COPY) if not is_whole(name, image[name])}
        with written(image) as disk:
            recover(disk)
            left = {path.name: path.read_bytes() for path in disk.iterdir()}
        assert left.keys() == {*IN_PLACE, *BY_COPY}
        assert all(is_whole(name, data) for name, data in left.items())
    assert outcomes > 25
    assert torn >= set(IN_PLACE), "a header that no cut tore was not tested"
    assert all(is_new(name, (directory / name).read_bytes()) for name in (*IN_PLACE, *BY_COPY))


def test_bodies_are_not_written_and_bodies_of_any_size_cost_nothing(tmp_path: Path) -> None:
    path = tmp_path / "huge"
    old, new = header("a", new=False), header("a", new=True)
    path.write_bytes(old)
    os.truncate(path, 1 << 40)
    before = path.stat()
    with held(path) as file:
        swap_in_place(tmp_path, [(file, HeaderSwap(b"huge", old, new))])
    after = path.stat()
    assert (after.st_ino, after.st_size, after.st_blocks) == (before.st_ino, 1 << 40, before.st_blocks)
    assert list(tmp_path.iterdir()) == [path]


def test_a_copy_keeps_permissions_and_attributes_and_the_body(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(header("x", new=False) + body("x"))
    path.chmod(0o640)
    with held(path) as file:
        replace_by_copy(file, OLD_BYTES, header("x", new=True))
    assert is_new("x", path.read_bytes())
    assert stat.S_IMODE(path.stat().st_mode) == 0o640
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_with_two_names_is_not_parted_from_the_other(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(header("x", new=False) + body("x"))
    (tmp_path / "other name").hardlink_to(path)
    with held(path) as file, pytest.raises(FileBusy, match="hard links"):
        replace_by_copy(file, OLD_BYTES, header("x", new=True))
    assert path.samefile(tmp_path / "other name")


def test_a_file_that_was_replaced_meanwhile_is_not_overwritten_by_a_copy(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(header("x", new=False))
    with held(path) as file:
        (tmp_path / "newer").write_bytes(b"newer")
        (tmp_path / "newer").rename(path)
        with pytest.raises(FileBusy, match="replaced"):
            replace_by_copy(file, OLD_BYTES, header("x", new=True))
    assert path.read_bytes() == b"newer"
    assert list(tmp_path.iterdir()) == [path]


def test_a_file_in_use_by_another_command_is_left_alone(tmp_path: Path) -> None:
    path = tmp_path / "file"
    path.write_bytes(b"x")
    with held(path), pytest.raises(FileBusy, match="in use"), held(path):
        raise AssertionError


def test_links_are_not_followed(tmp_path: Path) -> None:
    (tmp_path / "file").write_bytes(b"x")
    (tmp_path / "link").symlink_to("file")
    with pytest.raises(OSError, match="symbolic links"), held(tmp_path / "link"):
        raise AssertionError


# --- recovery --------------------------------------------------------------------------------


def journal(directory: Path, *swaps: HeaderSwap) -> Path:
    path = directory / f"{JOURNAL_PREFIX}0"
    path.write_bytes(encode_journal(swaps))
    return path


OLD, NEW = bytes(100), b"\xff" * 100


@pytest.mark.parametrize("torn_at", [0, 1, 50, 99, 100])
def test_a_torn_header_is_written_again(tmp_path: Path, torn_at: int) -> None:
    (tmp_path / "f").write_bytes(NEW[:torn_at] + OLD[torn_at:] + b"body")
    path = journal(tmp_path, HeaderSwap(b"f", OLD, NEW))
    assert interrupted(tmp_path)
    assert recover(tmp_path) == [tmp_path / "f"]
    assert (tmp_path / "f").read_bytes() == NEW + b"body"
    assert not path.exists()
    assert not interrupted(tmp_path)


def test_a_file_that_is_another_by_now_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(b"another file of more than a hundred bytes".ljust(200))
    (tmp_path / "short").write_bytes(b"s")
    journal(tmp_path, *(HeaderSwap(name, OLD, NEW) for name in (b"f", b"short", b"gone")))
    assert recover(tmp_path) == []
    assert (tmp_path / "f").read_bytes().startswith(b"another")
    assert (tmp_path / "short").read_bytes() == b"s"


def test_a_torn_journal_is_removed_and_says_nothing(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(OLD)
    path = journal(tmp_path, HeaderSwap(b"f", OLD, NEW))
    path.write_bytes(path.read_bytes()[:-1])
    assert recover(tmp_path) == []
    assert (tmp_path / "f").read_bytes() == OLD
    assert not path.exists()


def test_the_journal_of_a_running_command_is_left_alone(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(OLD)
    path = journal(tmp_path, HeaderSwap(b"f", OLD, NEW))
    with path.open("rb") as running:
        fcntl.flock(running, fcntl.LOCK_EX)
        assert recover(tmp_path) == []
    assert path.exists()
    assert recover(tmp_path) == [tmp_path / "f"]


def test_a_journal_stays_as_long_as_one_of_its_files_is_in_use(tmp_path: Path) -> None:
    (tmp_path / "f").write_bytes(OLD)
    path = journal(tmp_path, HeaderSwap(b"f", OLD, NEW))
    with held(tmp_path / "f"), pytest.raises(FileBusy):
        recover(tmp_path)
    assert path.exists()


def test_the_journal_of_another_user_is_not_believed(tmp_path: Path, monkeypatch: pytest.MonkeyPatch) -> None:
    (tmp_path / "f").write_bytes(OLD)
    path = journal(tmp_path, HeaderSwap(b"f", OLD, NEW))
    monkeypatch.setattr(os, "geteuid", lambda: path.stat().st_uid + 1)
    assert recover(tmp_path) == []
    assert (tmp_path / "f").read_bytes() == OLD


def test_a_failed_write_leaves_a_journal_that_finishes_it(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    make(tmp_path)
    real = os.fdatasync
    calls: list[int] = []

    def failing(descriptor: int) -> None:
        calls.append(descriptor)
        if len(calls) == 2:
            raise OSError(5, "Input/output error")
        real(descriptor)

    monkeypatch.setattr(os, "fdatasync", failing)
    with pytest.raises(OSError, match="Input/output"):
        exchange(tmp_path)
    assert interrupted(tmp_path)
    assert {path.name for path in recover(tmp_path)} == set(IN_PLACE)
    assert all(is_new(name, (tmp_path / name).read_bytes()) for name in IN_PLACE)


def test_a_full_disk_changes_nothing(tmp_path: Path) -> None:
    if not shutil.which("prlimit"):
        pytest.fail("prlimit is in util-linux")
    make(tmp_path)
    done = subprocess.run(
        ["prlimit", "--fsize=600", sys.executable, "-m", "tests.fault.files.exchange", str(tmp_path)],
        cwd=ROOT,
        capture_output=True,
        text=True,
    )
    assert done.returncode != 0
    assert "File too large" in done.stderr
    recover(tmp_path)
    for name in (*IN_PLACE, *BY_COPY):
        assert (tmp_path / name).read_bytes() == header(name, new=False) + body(name)
