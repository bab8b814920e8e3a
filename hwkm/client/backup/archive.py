"""What is in the payload: a tar archive (POSIX pax) of one file or one directory.

Kept: contents, permission bits, times to the second, symbolic links as they are. Not kept:
owners, hard links (stored twice), sockets, pipes and devices (left out and reported).

Extraction is our own and narrow, because Python's extraction filters are missing from Python
3.11.2 (Debian 12) and were by-passed more than once: names that lead upwards are refused, every
file is created anew, and symbolic links are made last, so nothing is ever written through one.
"""

from __future__ import annotations

import os
import stat
import tarfile
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from dataclasses import dataclass, field
from pathlib import Path, PurePosixPath
from typing import IO, Final, cast

from hwkm.client.backup.errors import BackupDamaged, SourceUnreadable
from hwkm.client.backup.stream import CHUNK_BYTES, OpeningReader, SealingWriter

_READ_FLAGS: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_WRITE_FLAGS: Final = os.O_WRONLY | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC
_PERMISSIONS: Final = 0o777

Progress = Callable[[int], None]
"""Called with a number of bytes of file contents that are done."""


def no_progress(_: int) -> None:
    """Nobody is watching."""


@dataclass(slots=True)
class Tally:
    """What was packed or unpacked: files, bytes of their contents, and what was left out."""

    files: int = 0
    content_bytes: int = 0
    left_out: list[str] = field(default_factory=list)


# --- packing ---------------------------------------------------------------------------------


def content_bytes(source: Path) -> int:
    """How many bytes of file contents there are to pack, for a progress bar."""
    return sum(facts.st_size for _, _, facts in _walk(source.resolve(), "") if stat.S_ISREG(facts.st_mode))


def pack(
    source: Path,
    sink: SealingWriter,
    progress: Progress = no_progress,
    *,
    output: os.stat_result | None = None,
) -> Tally:
    """Write an archive of a file or directory. ``output`` is left out if it lies within.

    Raises:
        SourceUnreadable: something cannot be read, or changed while it was being read.
    """
    tally = Tally()
    name = Path(os.path.abspath(source)).name or "root"  # noqa: PTH100  (the name as it was given)
    with tarfile.open(fileobj=cast("IO[bytes]", sink), mode="w", format=tarfile.PAX_FORMAT) as archive:
        for path, member_name, facts in _walk(source.resolve(), name):
            if output is None or not os.path.samestat(facts, output):
                _pack_one(archive, path, member_name, facts, tally, progress)
            _forget_members(archive)
    return tally


def _walk(source: Path, name: str) -> Iterator[tuple[Path, str, os.stat_result]]:
    """Everything at and below ``source``, directories first, in the order of their names."""
    waiting = [(source, name)]
    while waiting:
        path, path_name = waiting.pop()
        try:
            facts = path.lstat()
            children = sorted(path.iterdir(), reverse=True) if stat.S_ISDIR(facts.st_mode) else []
        except OSError as exc:
            raise _unreadable(path, exc) from exc
        yield path, path_name, facts
        waiting += [(child, f"{path_name}/{child.name}") for child in children]


def _forget_members(archive: tarfile.TarFile) -> None:
    """TarFile remembers every member it has seen, and memory would grow with their number."""
    archive.members.clear()  # type: ignore[attr-defined]  # missing from the stubs


def _pack_one(
    archive: tarfile.TarFile,
    path: Path,
    name: str,
    facts: os.stat_result,
    tally: Tally,
    progress: Progress,
) -> None:
    if stat.S_ISREG(facts.st_mode):
        _pack_file(archive, path, name, tally, progress)
    elif stat.S_ISDIR(facts.st_mode):
        archive.addfile(_member(name, facts, tarfile.DIRTYPE))
    elif stat.S_ISLNK(facts.st_mode):
        member = _member(name, facts, tarfile.SYMTYPE)
        member.linkname = str(path.readlink())
        archive.addfile(member)
    else:
        tally.left_out.append(str(path))


def _pack_file(archive: tarfile.TarFile, path: Path, name: str, tally: Tally, progress: Progress) -> None:
    try:
        descriptor = os.open(path, _READ_FLAGS)
    except OSError as exc:
        raise _unreadable(path, exc) from exc
    with os.fdopen(descriptor, "rb", buffering=0) as file:
        facts = os.fstat(descriptor)
        if not stat.S_ISREG(facts.st_mode):
            raise SourceUnreadable(f"{path}: became something else while it was being read")
        member = _member(name, facts, tarfile.REGTYPE)
        member.size = facts.st_size
        archive.addfile(member, cast("IO[bytes]", _Contents(path, file, progress)))
    tally.files += 1
    tally.content_bytes += member.size


def _member(name: str, facts: os.stat_result, kind: bytes) -> tarfile.TarInfo:
    member = tarfile.TarInfo(name)
    member.type = kind
    member.mode = stat.S_IMODE(facts.st_mode) & _PERMISSIONS
    member.mtime = int(facts.st_mtime)
    return member


class _Contents:
    """The contents of a file, watched: tarfile reads exactly the size it was told."""

    def __init__(self, path: Path, file: IO[bytes], progress: Progress) -> None:
        self._path = path
        self._file = file
        self._progress = progress

    def read(self, size: int) -> bytes:
        """Return exactly ``size`` bytes."""
        try:
            data = self._file.read(size)
            while len(data) < size:
                more = self._file.read(size - len(data))
                if not more:
                    raise SourceUnreadable(f"{self._path}: became shorter while it was being read")
                data += more
        except OSError as exc:
            raise _unreadable(self._path, exc) from exc
        self._progress(size)
        return data


def _unreadable(path: Path, exc: OSError) -> SourceUnreadable:
    return SourceUnreadable(f"{path}: {exc.strerror}")


# --- unpacking -------------------------------------------------------------------------------


def unpack(source: OpeningReader, directory: Path, progress: Progress = no_progress) -> Tally:
    """Extract an archive into an empty directory that nobody else writes to.

    Raises:
        BackupDamaged: the payload is damaged, or is an archive that hwkm does not make.
        OSError: the file system failed.
    """
    try:
        with tarfile.open(fileobj=cast("IO[bytes]", source), mode="r|", bufsize=CHUNK_BYTES) as archive:
            tally = _Extraction(directory, progress).extract(archive)
    except (tarfile.TarError, EOFError, ValueError, OverflowError) as exc:
        raise BackupDamaged(f"the archive in the backup is not valid: {exc}") from exc
    source.drain()
    return tally


class _Extraction:
    """One extraction: files at once; links, and the attributes of directories, at the end."""

    def __init__(self, directory: Path, progress: Progress) -> None:
        self._directory = directory
        self._progress = progress
        self._directories: list[tuple[Path, tarfile.TarInfo]] = []
        self._links: list[tuple[Path, tarfile.TarInfo]] = []
        self._tally = Tally()

    def extract(self, archive: tarfile.TarFile) -> Tally:
        while (member := archive.next()) is not None:
            self._extract_one(archive, member)
            _forget_members(archive)
        for path, member in self._links:
            with _made_once(member):
                path.symlink_to(member.linkname)
        for path, member in reversed(self._directories):
            _finish_directory(path, member)
        return self._tally

    def _extract_one(self, archive: tarfile.TarFile, member: tarfile.TarInfo) -> None:
        path = self._directory / _safe_name(member.name)
        if member.isdir():
            with _made_once(member):
                path.mkdir(mode=0o700)
            self._directories.append((path, member))
        elif member.issym():
            self._links.append((path, member))
        elif member.type == tarfile.REGTYPE:
            self._extract_file(archive, member, path)
        else:
            raise BackupDamaged(f"the archive holds {member.name!r}, which is no file, directory or link")

    def _extract_file(self, archive: tarfile.TarFile, member: tarfile.TarInfo, path: Path) -> None:
        contents = archive.extractfile(member)
        if contents is None:
            raise BackupDamaged(f"the archive holds no contents of {member.name!r}")
        with _made_once(member):
            descriptor = os.open(path, _WRITE_FLAGS, 0o600)
        with os.fdopen(descriptor, "wb") as file:
            while data := contents.read(CHUNK_BYTES):
                file.write(data)
                self._progress(len(data))
            file.flush()
            os.fchmod(descriptor, member.mode & _PERMISSIONS)
            os.utime(descriptor, (member.mtime, member.mtime))
        self._tally.files += 1
        self._tally.content_bytes += member.size


@contextmanager
def _made_once(member: tarfile.TarInfo) -> Iterator[None]:
    try:
        yield
    except (FileExistsError, FileNotFoundError, NotADirectoryError) as exc:
        raise BackupDamaged(f"the archive holds {member.name!r} twice or out of order") from exc


def _finish_directory(path: Path, member: tarfile.TarInfo) -> None:
    """Permissions and time come last: filling a directory needs the one and changes the other."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_NOFOLLOW)
    try:
        os.fchmod(descriptor, member.mode & _PERMISSIONS)
        os.utime(descriptor, (member.mtime, member.mtime))
    finally:
        os.close(descriptor)


def _safe_name(name: str) -> PurePosixPath:
    """A name that stays below the directory it is joined to."""
    path = PurePosixPath(name)
    if path.is_absolute() or not path.parts or ".." in path.parts:
        raise BackupDamaged(f"the archive holds the name {name!r}, which leads out of the directory")
    return path
