"""Backups of real files and directories, and outputs that appear whole or not at all."""

from __future__ import annotations

import io
import os
import stat
import subprocess
import sys
import tarfile
from collections.abc import Callable
from pathlib import Path

import pytest

from hwkm.client import backup
from hwkm.client.application_key import ApplicationKey, KeyRing
from hwkm.client.backup.archive import unpack
from hwkm.client.backup.output import new_directory, new_file
from hwkm.client.backup.stream import OpeningReader, SealingWriter
from hwkm.errors import StorageUnavailable
from hwkm.secret import SecretBytes

HANDLE = bytes(range(17))
KEY = ApplicationKey("backup.1", SecretBytes(bytes(range(32))))
RING = KeyRing({KEY.alias: KEY})


def round_trip(source: Path, directory: Path) -> Path:
    backup.encrypt(source, directory / "b.hwkm", HANDLE, KEY)
    backup.restore(directory / "b.hwkm", directory / "out", RING)
    return directory / "out" / source.name


def names_in(directory: Path) -> set[str]:
    return {path.name for path in directory.iterdir()}


class TestRoundTrip:
    @pytest.mark.parametrize("size", [0, 1, 65_536, 200_000])
    def test_a_file(self, tmp_path: Path, size: int) -> None:
        source = tmp_path / "a file ä\n"
        source.write_bytes(os.urandom(size))
        assert round_trip(source, tmp_path).read_bytes() == source.read_bytes()

    def test_a_directory_with_all_that_can_be_in_it(self, tmp_path: Path) -> None:
        source = tmp_path / "tree"
        (source / "sub" / "empty").mkdir(parents=True)
        (source / "sub" / "run.sh").write_text("#!/bin/sh\n")
        (source / "sub" / "run.sh").chmod(0o750)
        (source / "one").write_text("same")
        (source / "two").hardlink_to(source / "one")
        (source / "inside").symlink_to("sub/run.sh")
        (source / "outside").symlink_to("/nowhere/at/all")
        (source / ("long" * 60)).write_text("a name longer than ustar's")
        (source / os.fsdecode(b"not-utf8-\xff")).write_text("bytes")
        os.utime(source / "one", (1_000_000_000, 1_000_000_000))
        (source / "sub").chmod(0o500)
        found = round_trip(source, tmp_path)
        (source / "sub").chmod(0o700)
        assert sorted(p.relative_to(found) for p in found.rglob("*")) == sorted(
            p.relative_to(source) for p in source.rglob("*")
        )
        assert stat.S_IMODE((found / "sub" / "run.sh").stat().st_mode) == 0o750
        assert stat.S_IMODE((found / "sub").stat().st_mode) == 0o500
        assert (found / "two").read_text() == "same"
        assert (found / "inside").readlink() == Path("sub/run.sh")
        assert (found / "outside").readlink() == Path("/nowhere/at/all")
        assert (found / "one").stat().st_mtime == 1_000_000_000
        (found / "sub").chmod(0o700)

    def test_it_says_how_much_it_was(self, tmp_path: Path) -> None:
        source = tmp_path / "tree"
        source.mkdir()
        (source / "a").write_bytes(bytes(1000))
        (source / "b").write_bytes(bytes(2000))
        done: list[int] = []
        tally = backup.encrypt(source, tmp_path / "b.hwkm", HANDLE, KEY, done.append)
        assert (tally.files, tally.content_bytes, sum(done)) == (2, 3000, 3000)
        assert backup.content_bytes(source) == 3000
        done.clear()
        tally = backup.restore(tmp_path / "b.hwkm", tmp_path / "out", RING, done.append)
        assert (tally.files, tally.content_bytes, sum(done)) == (2, 3000, 3000)

    def test_the_current_directory_has_its_name(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        (tmp_path / "here").mkdir()
        (tmp_path / "here" / "file").write_text("x")
        monkeypatch.chdir(tmp_path / "here")
        backup.encrypt(Path(), tmp_path / "b.hwkm", HANDLE, KEY)
        backup.restore(tmp_path / "b.hwkm", tmp_path / "out", RING)
        assert (tmp_path / "out" / "here" / "file").read_text() == "x"

    def test_the_output_is_not_put_into_itself(self, tmp_path: Path) -> None:
        source = tmp_path / "tree"
        source.mkdir()
        (source / "file").write_text("x")
        backup.encrypt(source, source / "b.hwkm", HANDLE, KEY)
        backup.restore(source / "b.hwkm", tmp_path / "out", RING)
        assert names_in(tmp_path / "out" / "tree") == {"file"}

    def test_pipes_and_sockets_are_left_out_and_reported(self, tmp_path: Path) -> None:
        source = tmp_path / "tree"
        source.mkdir()
        os.mkfifo(source / "pipe")
        tally = backup.encrypt(source, tmp_path / "b.hwkm", HANDLE, KEY)
        assert tally.left_out == [str(source / "pipe")]

    def test_special_permission_bits_do_not_come_back(self, tmp_path: Path) -> None:
        source = tmp_path / "tool"
        source.write_text("x")
        source.chmod(0o6755)
        assert stat.S_IMODE(round_trip(source, tmp_path).stat().st_mode) == 0o755

    def test_a_backup_is_private_and_equal_contents_look_different(self, tmp_path: Path) -> None:
        source = tmp_path / "file"
        source.write_text("x" * 100)
        for name in ("1", "2"):
            backup.encrypt(source, tmp_path / name, HANDLE, KEY)
        assert stat.S_IMODE((tmp_path / "1").stat().st_mode) == 0o600
        assert (tmp_path / "1").read_bytes()[100:] != (tmp_path / "2").read_bytes()[100:]


class TestRefusals:
    @pytest.fixture
    def source(self, tmp_path: Path) -> Path:
        path = tmp_path / "file"
        path.write_bytes(os.urandom(150_000))
        return path

    def test_an_output_that_exists_is_kept(self, tmp_path: Path, source: Path) -> None:
        taken = tmp_path / "taken"
        taken.write_text("mine")
        with pytest.raises(backup.OutputExists):
            backup.encrypt(source, taken, HANDLE, KEY)
        assert taken.read_text() == "mine"
        assert names_in(tmp_path) == {"file", "taken"}

    def test_a_directory_that_holds_something_is_kept(self, tmp_path: Path, source: Path) -> None:
        backup.encrypt(source, tmp_path / "b", HANDLE, KEY)
        (tmp_path / "out").mkdir()
        (tmp_path / "out" / "mine").touch()
        with pytest.raises(backup.OutputExists):
            backup.restore(tmp_path / "b", tmp_path / "out", RING)
        assert names_in(tmp_path / "out") == {"mine"}
        assert names_in(tmp_path) == {"file", "b", "out"}

    def test_an_empty_directory_is_not_in_the_way(self, tmp_path: Path, source: Path) -> None:
        backup.encrypt(source, tmp_path / "b", HANDLE, KEY)
        (tmp_path / "out").mkdir()
        backup.restore(tmp_path / "b", tmp_path / "out", RING)
        assert names_in(tmp_path / "out") == {"file"}

    def test_a_dangling_link_is_not_written_through(self, tmp_path: Path, source: Path) -> None:
        (tmp_path / "link").symlink_to(tmp_path / "target")
        with pytest.raises(backup.OutputExists):
            backup.encrypt(source, tmp_path / "link", HANDLE, KEY)
        assert not (tmp_path / "target").exists()

    def test_a_source_that_is_not_there(self, tmp_path: Path) -> None:
        with pytest.raises(backup.SourceUnreadable):
            backup.encrypt(tmp_path / "absent", tmp_path / "b", HANDLE, KEY)
        assert names_in(tmp_path) == set()

    def test_a_source_that_shrinks_meanwhile(self, tmp_path: Path, source: Path) -> None:
        def shrink(_: int) -> None:
            os.truncate(source, 10)

        with pytest.raises(backup.SourceUnreadable, match="shorter"):
            backup.encrypt(source, tmp_path / "b", HANDLE, KEY, shrink)
        assert names_in(tmp_path) == {"file"}

    def test_a_source_that_grows_meanwhile_is_kept_as_it_was(self, tmp_path: Path, source: Path) -> None:
        before = source.read_bytes()

        def grow(_: int) -> None:
            with source.open("ab") as file:
                file.write(b"more")

        backup.encrypt(source, tmp_path / "b", HANDLE, KEY, grow)
        backup.restore(tmp_path / "b", tmp_path / "out", RING)
        assert (tmp_path / "out" / "file").read_bytes() == before

    def test_a_vault_without_the_key(self, tmp_path: Path, source: Path) -> None:
        backup.encrypt(source, tmp_path / "b", HANDLE, KEY)
        with pytest.raises(backup.BackupKeyMissing, match=r"backup\.1"):
            backup.restore(tmp_path / "b", tmp_path / "out", KeyRing())

    def test_another_key_of_the_same_alias(self, tmp_path: Path, source: Path) -> None:
        backup.encrypt(source, tmp_path / "b", HANDLE, KEY)
        other = KeyRing({KEY.alias: ApplicationKey(KEY.alias, SecretBytes(bytes(32)))})
        with pytest.raises(backup.BackupDamaged):
            backup.restore(tmp_path / "b", tmp_path / "out", other)
        assert names_in(tmp_path) == {"file", "b"}

    def test_something_that_is_no_backup(self, tmp_path: Path, source: Path) -> None:
        with pytest.raises(backup.NotABackup):
            backup.unverified_header(source)
        with pytest.raises(backup.NotABackup):
            backup.restore(source, tmp_path / "out", RING)
        assert names_in(tmp_path) == {"file"}

    @pytest.mark.parametrize("action", ["encrypt", "restore"])
    def test_an_interruption_leaves_nothing(self, tmp_path: Path, source: Path, action: str) -> None:
        backup.encrypt(source, tmp_path / "b", HANDLE, KEY)

        def interrupt(_: int) -> None:
            raise KeyboardInterrupt

        with pytest.raises(KeyboardInterrupt):  # noqa: PT012  (two scenarios of one shape)
            if action == "encrypt":
                backup.encrypt(source, tmp_path / "c", HANDLE, KEY, interrupt)
            else:
                backup.restore(tmp_path / "b", tmp_path / "out", RING, interrupt)
        assert names_in(tmp_path) == {"file", "b"}


class TestHostileArchives:
    """Made by somebody who has the application key."""

    def extracted(self, tmp_path: Path, *members: tarfile.TarInfo) -> Path:
        data = io.BytesIO()
        with tarfile.open(fileobj=data, mode="w") as archive:
            for member in members:
                archive.addfile(member, io.BytesIO(bytes(member.size)))
        sink = io.BytesIO()
        writer = SealingWriter(sink, KEY.key)
        writer.write(data.getvalue())
        writer.finish()
        target = tmp_path / "inner" / "out"
        target.mkdir(parents=True)
        unpack(OpeningReader(io.BytesIO(sink.getvalue()), KEY.key), target)
        return target

    @staticmethod
    def member(name: str, kind: bytes = tarfile.REGTYPE, link: str = "") -> tarfile.TarInfo:
        made = tarfile.TarInfo(name)
        made.type, made.linkname = kind, link
        made.mode = 0o777
        made.size = 5 if kind == tarfile.REGTYPE else 0
        return made

    @pytest.mark.parametrize(
        "name", ["../evil", "a/../../evil", "/tmp/evil", "..", "/", ".", "./..", "//evil"], ids=repr
    )
    def test_names_that_lead_out_are_refused(self, tmp_path: Path, name: str) -> None:
        with pytest.raises(backup.BackupDamaged):
            self.extracted(tmp_path, self.member(name))
        assert names_in(tmp_path) == {"inner"}
        assert names_in(tmp_path / "inner") == {"out"}

    def test_nothing_is_written_through_a_link(self, tmp_path: Path) -> None:
        link = self.member("d", tarfile.SYMTYPE, str(tmp_path))
        with pytest.raises(backup.BackupDamaged):
            self.extracted(tmp_path, link, self.member("d/evil"))
        assert not (tmp_path / "evil").exists()

    def test_a_link_does_not_replace_a_directory(self, tmp_path: Path) -> None:
        members = [
            self.member("d", tarfile.DIRTYPE),
            self.member("d", tarfile.SYMTYPE, str(tmp_path)),
            self.member("d/evil"),
        ]
        with pytest.raises(backup.BackupDamaged, match="twice"):
            self.extracted(tmp_path, *members)
        assert not (tmp_path / "evil").exists()

    def test_a_link_does_not_get_the_mode_of_a_directory(self, tmp_path: Path) -> None:
        (tmp_path / "victim").mkdir(mode=0o700)
        with pytest.raises(backup.BackupDamaged):
            self.extracted(
                tmp_path,
                self.member("d", tarfile.SYMTYPE, str(tmp_path / "victim")),
                self.member("d", tarfile.DIRTYPE),
            )
        assert stat.S_IMODE((tmp_path / "victim").stat().st_mode) == 0o700

    @pytest.mark.parametrize("kind", [tarfile.LNKTYPE, tarfile.CHRTYPE, tarfile.FIFOTYPE, tarfile.CONTTYPE])
    def test_other_kinds_of_members_are_refused(self, tmp_path: Path, kind: bytes) -> None:
        with pytest.raises(backup.BackupDamaged):
            self.extracted(tmp_path, self.member("x", kind, "/etc/passwd"))

    @pytest.mark.parametrize("twice", [tarfile.REGTYPE, tarfile.DIRTYPE, tarfile.SYMTYPE])
    def test_a_name_occurs_once(self, tmp_path: Path, twice: bytes) -> None:
        with pytest.raises(backup.BackupDamaged):
            self.extracted(tmp_path, self.member("x", twice, "y"), self.member("x", twice, "y"))

    def test_a_payload_that_is_no_archive(self, tmp_path: Path) -> None:
        sink = io.BytesIO()
        writer = SealingWriter(sink, KEY.key)
        writer.write(os.urandom(1000))
        writer.finish()
        with pytest.raises(backup.BackupDamaged, match="archive"):
            unpack(OpeningReader(io.BytesIO(sink.getvalue()), KEY.key), tmp_path)


class TestOutputs:
    def test_a_file_gets_its_name_at_the_end(self, tmp_path: Path) -> None:
        with new_file(tmp_path / "out") as file:
            file.write(b"half")
            assert not (tmp_path / "out").exists()
        assert (tmp_path / "out").read_bytes() == b"half"
        assert names_in(tmp_path) == {"out"}

    def test_a_file_that_appears_meanwhile_is_kept(self, tmp_path: Path) -> None:
        with pytest.raises(backup.OutputExists), new_file(tmp_path / "out") as file:  # noqa: PT012
            file.write(b"mine")
            (tmp_path / "out").write_text("theirs")
        assert (tmp_path / "out").read_text() == "theirs"
        assert names_in(tmp_path) == {"out"}

    def test_where_there_are_no_hard_links_it_is_renamed(
        self, tmp_path: Path, monkeypatch: pytest.MonkeyPatch
    ) -> None:
        def refuse(_path: Path, _target: Path) -> None:
            raise OSError(95, "Operation not supported")

        monkeypatch.setattr(Path, "hardlink_to", refuse)
        with new_file(tmp_path / "out") as file:
            file.write(b"x")
        assert (tmp_path / "out").read_bytes() == b"x"
        with pytest.raises(backup.OutputExists), new_file(tmp_path / "out") as file:
            file.write(b"y")
        assert (tmp_path / "out").read_bytes() == b"x"

    @pytest.mark.parametrize("make", [new_file, new_directory])
    def test_a_place_that_is_not_there(self, tmp_path: Path, make: Callable[[Path], object]) -> None:
        with pytest.raises(StorageUnavailable), make(tmp_path / "absent" / "out"):  # type: ignore[attr-defined]
            pass

    def test_what_was_half_restored_is_removed_even_if_it_is_read_only(self, tmp_path: Path) -> None:
        with pytest.raises(ZeroDivisionError), new_directory(tmp_path / "out") as partial:  # noqa: PT012
            (partial / "a" / "b").mkdir(parents=True)
            (partial / "a" / "b").chmod(0)
            (partial / "a").chmod(0o500)
            raise ZeroDivisionError
        assert names_in(tmp_path) == set()


_FULL_DISK = """
import resource, signal, sys
from pathlib import Path
from hwkm.client import backup
from hwkm.client.application_key import ApplicationKey, KeyRing
from hwkm.errors import StorageUnavailable
from hwkm.secret import SecretBytes
signal.signal(signal.SIGXFSZ, signal.SIG_IGN)
resource.setrlimit(resource.RLIMIT_FSIZE, (100_000, 100_000))
key = ApplicationKey("backup.1", SecretBytes(bytes(range(32))))
directory = Path(sys.argv[1])
try:
    if sys.argv[2] == "encrypt":
        backup.encrypt(directory / "file", directory / "b2", bytes(17), key)
    else:
        backup.restore(directory / "b", directory / "out", KeyRing({key.alias: key}))
except StorageUnavailable as exc:
    print(exc)
"""


@pytest.mark.parametrize("action", ["encrypt", "restore"])
def test_a_full_disk_is_reported_and_leaves_nothing(tmp_path: Path, action: str) -> None:
    """A limit on the size of files stands for a full disk: the same call fails in the same way."""
    (tmp_path / "file").write_bytes(os.urandom(300_000))
    backup.encrypt(tmp_path / "file", tmp_path / "b", HANDLE, KEY)
    done = subprocess.run(
        [sys.executable, "-c", _FULL_DISK, str(tmp_path), action], capture_output=True, text=True, timeout=60
    )
    assert "the disk is full" in done.stdout, done.stderr
    assert names_in(tmp_path) == {"file", "b"}


_BIG = """
import resource, sys
from pathlib import Path
from hwkm.client import backup
from hwkm.client.application_key import ApplicationKey, KeyRing
from hwkm.secret import SecretBytes
key = ApplicationKey("backup.1", SecretBytes(bytes(range(32))))
directory = Path(sys.argv[1])
peak = lambda: resource.getrusage(resource.RUSAGE_SELF).ru_maxrss
before = peak()
backup.encrypt(directory / "tree", directory / "b", bytes(17), key)
backup.restore(directory / "b", directory / "out", KeyRing({key.alias: key}))
print(peak() - before)
"""


@pytest.mark.slow
@pytest.mark.parametrize(("files", "size"), [(1, 256 * 2**20), (3000, 10)], ids=["big", "many"])
def test_memory_does_not_grow_with_what_is_backed_up(tmp_path: Path, files: int, size: int) -> None:
    tree = tmp_path / "tree"
    tree.mkdir()
    for number in range(files):
        with (tree / str(number)).open("wb") as file:
            file.truncate(size)
    done = subprocess.run(
        [sys.executable, "-c", _BIG, str(tmp_path)], capture_output=True, text=True, timeout=170
    )
    assert done.returncode == 0, done.stderr
    assert int(done.stdout) < 16 * 1024, "KiB more at the peak than before"
