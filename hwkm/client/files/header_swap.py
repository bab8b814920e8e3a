"""Exchange the headers of files, so that a crash at any moment loses nothing.

A new header as long as the old one is written over it, in place; the file's body is not touched,
however long it is. Before that, old and new headers of up to a batch of files in one directory are
made durable in a *journal* beside them. A crash can tear a header, but not the journal:
:func:`recover` writes the new headers again. It does so only where every byte is the old or the new
one, so a file that was replaced meanwhile is left alone.

A new header of another length moves the body: :func:`replace_by_copy` writes the whole file anew
beside the old one and renames it. That costs a copy of the file.
"""

from __future__ import annotations

import fcntl
import hashlib
import os
import secrets
import shutil
import stat
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Annotated, Final

import msgspec
from msgspec import Meta

from hwkm.errors import FormatError, HwkmError
from hwkm.formats.message import HEADER_BYTES_MAX

JOURNAL_PREFIX: Final = ".hwkm-rewrap-journal-"
COPY_PREFIX: Final = ".hwkm-rewrap-copy-"
SWAPS_MAX: Final = 256
JOURNAL_BYTES_MAX: Final = SWAPS_MAX * (2 * HEADER_BYTES_MAX + 512)

_MAGIC: Final = b"hwkm rewrap journal\x01"
_DIGEST_BYTES: Final = 32
_COPY_BYTES: Final = 1024 * 1024
_READ: Final = os.O_RDONLY | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_CHANGE: Final = os.O_RDWR | os.O_NOFOLLOW | os.O_NONBLOCK | os.O_CLOEXEC
_MAKE: Final = os.O_RDWR | os.O_CREAT | os.O_EXCL | os.O_NOFOLLOW | os.O_CLOEXEC

Header = Annotated[bytes, Meta(min_length=1, max_length=HEADER_BYTES_MAX)]


class FileBusy(HwkmError):
    """Another program of ours holds the file, or it was replaced meanwhile. It was not changed."""

    code = "file_busy"


class HeaderSwap(msgspec.Struct, frozen=True, array_like=True, forbid_unknown_fields=True):
    """A file of the journal's directory, and the old and the new header, of one length."""

    name: Annotated[bytes, Meta(min_length=1, max_length=255)]
    old: Header
    new: Header


@dataclass(frozen=True, slots=True)
class HeldFile:
    """A file that is open and locked against other programs of ours."""

    path: Path
    descriptor: int

    def head(self) -> bytes:
        """As much of its start as a header can be long."""
        return os.pread(self.descriptor, HEADER_BYTES_MAX, 0)


@contextmanager
def held(path: Path, *, to_read: bool = False) -> Iterator[HeldFile]:
    """Open a regular file, not through a link, and lock it.

    Raises:
        FileBusy: another program of ours holds it.
        OSError: it cannot be opened.
    """
    descriptor = os.open(path, _READ if to_read else _CHANGE)
    try:
        if not stat.S_ISREG(os.fstat(descriptor).st_mode):
            raise FileBusy(f"{path} is no file any more")
        if not _lock(descriptor, fcntl.LOCK_SH if to_read else fcntl.LOCK_EX):
            raise FileBusy(f"{path} is in use by another hwkm command")
        yield HeldFile(path, descriptor)
    finally:
        os.close(descriptor)


def swap_in_place(directory: Path, swaps: Sequence[tuple[HeldFile, HeaderSwap]]) -> None:
    """Exchange headers of files in one directory; durable on return.

    Raises:
        OSError: writing failed; :func:`recover` finishes what was begun.
    """
    with _journal(directory) as (path, journal):
        _write_all(journal, encode_journal([swap for _, swap in swaps]), 0)
        os.fsync(journal)
        _sync_directory(directory)
        for file, swap in swaps:
            _write_all(file.descriptor, swap.new, 0)
        for file, _ in swaps:
            os.fdatasync(file.descriptor)
        path.unlink()


def recover(directory: Path) -> list[Path]:
    """Finish what a crash interrupted in a directory; return the files whose headers were written.

    What another running program still works on is left alone.
    """
    restored: list[Path] = []
    for path in sorted(directory.iterdir()):
        if path.name.startswith(COPY_PREFIX):
            _remove_unless_in_use(path)
        elif path.name.startswith(JOURNAL_PREFIX):
            restored += _finish(directory, path)
    return restored


def interrupted(directory: Path) -> bool:
    """Whether there is something to :func:`recover`."""
    return any(path.name.startswith(JOURNAL_PREFIX) for path in directory.iterdir())


def replace_by_copy(file: HeldFile, old_length: int, new: bytes) -> None:
    """Write the file anew beside itself, with another header, and rename it; durable on return.

    Permissions, owner and extended attributes are kept.

    Raises:
        FileBusy: it has other names (hard links), or was replaced meanwhile.
        OSError: writing failed; the file is unchanged.
    """
    facts = os.fstat(file.descriptor)
    if facts.st_nlink != 1:
        raise FileBusy(f"{file.path} has several names (hard links), which writing it anew would part")
    copy = file.path.with_name(COPY_PREFIX + secrets.token_hex(8))
    descriptor = os.open(copy, _MAKE, 0o600)
    try:
        _lock(descriptor, fcntl.LOCK_EX)
        _write_all(descriptor, new, 0)
        _copy_body(file.descriptor, old_length, descriptor, len(new))
        _copy_facts(file, copy, descriptor, facts)
        os.fsync(descriptor)
        if not os.path.samestat(file.path.lstat(), facts):
            raise FileBusy(f"{file.path} was replaced meanwhile")
        copy.rename(file.path)
        _sync_directory(file.path.parent)
    finally:
        copy.unlink(missing_ok=True)
        os.close(descriptor)


# --- the journal -----------------------------------------------------------------------------


@contextmanager
def _journal(directory: Path) -> Iterator[tuple[Path, int]]:
    """A new journal, locked for as long as its program lives. It stays if the block fails."""
    while True:
        path = directory / f"{JOURNAL_PREFIX}{secrets.token_hex(8)}"
        descriptor = os.open(path, _MAKE, 0o600)
        try:
            fcntl.flock(descriptor, fcntl.LOCK_EX)
            if os.fstat(descriptor).st_nlink:  # else someone recovered it in between, as empty
                yield path, descriptor
                return
        finally:
            os.close(descriptor)


def encode_journal(swaps: Sequence[HeaderSwap]) -> bytes:
    """Return a journal: what it is, the swaps as MessagePack, SHA-256 of both."""
    body = _MAGIC + msgspec.msgpack.encode(swaps)
    return body + hashlib.sha256(body).digest()


def parse_journal(data: bytes) -> list[HeaderSwap]:
    """Read a journal.

    Raises:
        FormatError: it was torn, so no file was changed yet; or it is none of ours.
    """
    body, digest = data[:-_DIGEST_BYTES], data[-_DIGEST_BYTES:]
    if not body.startswith(_MAGIC) or hashlib.sha256(body).digest() != digest:
        raise FormatError("the journal was not finished")
    try:
        swaps = msgspec.msgpack.decode(body[len(_MAGIC) :], type=list[HeaderSwap])
    except (msgspec.DecodeError, RecursionError) as exc:
        raise FormatError(f"the journal is not valid: {exc}") from None
    for swap in swaps:
        if b"/" in swap.name or b"\0" in swap.name or swap.name in {b".", b".."}:
            raise FormatError("the journal names a file that is not beside it")
        if len(swap.old) != len(swap.new):
            raise FormatError("the journal holds headers of two lengths")
    return swaps


def _finish(directory: Path, path: Path) -> list[Path]:
    with _abandoned(path) as descriptor:
        if descriptor is None:
            return []
        try:
            swaps = parse_journal(_contents(descriptor))
        except FormatError:
            swaps = []
        restored = [
            target
            for swap in swaps
            for target in (directory / os.fsdecode(swap.name),)
            if _write_again(target, swap)
        ]
        path.unlink()
        return restored


def _contents(descriptor: int) -> bytes:
    size = os.fstat(descriptor).st_size
    if size > JOURNAL_BYTES_MAX:
        raise FormatError(f"the journal has {size} bytes")
    return os.pread(descriptor, size, 0)


def _write_again(path: Path, swap: HeaderSwap) -> bool:
    """Write a new header where a crash may have left the old one, the new one, or parts of both."""
    try:
        with held(path) as file:
            found = os.pread(file.descriptor, len(swap.new), 0)
            if len(found) != len(swap.new) or not _is_of_both(found, swap):
                return False
            _write_all(file.descriptor, swap.new, 0)
            os.fsync(file.descriptor)
    except FileNotFoundError:
        return False
    return True


def _is_of_both(found: bytes, swap: HeaderSwap) -> bool:
    return all(byte in pair for byte, *pair in zip(found, swap.old, swap.new, strict=True))


@contextmanager
def _abandoned(path: Path) -> Iterator[int | None]:
    """Open and lock a file of ours that no running program holds; None if there is no such file."""
    try:
        descriptor = os.open(path, _CHANGE)
    except OSError:
        yield None
        return
    try:
        facts = os.fstat(descriptor)
        is_ours = stat.S_ISREG(facts.st_mode) and facts.st_uid == os.geteuid()
        usable = is_ours and _lock(descriptor, fcntl.LOCK_EX) and os.fstat(descriptor).st_nlink
        yield descriptor if usable else None
    finally:
        os.close(descriptor)


def _remove_unless_in_use(path: Path) -> None:
    with _abandoned(path) as descriptor:
        if descriptor is not None:
            path.unlink()


# --- the file system -------------------------------------------------------------------------


def _lock(descriptor: int, kind: int) -> bool:
    try:
        fcntl.flock(descriptor, kind | fcntl.LOCK_NB)
    except BlockingIOError:
        return False
    return True


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written


def _copy_body(source: int, source_offset: int, target: int, target_offset: int) -> None:
    while data := os.pread(source, _COPY_BYTES, source_offset):
        _write_all(target, data, target_offset)
        source_offset += len(data)
        target_offset += len(data)


def _copy_facts(file: HeldFile, copy: Path, descriptor: int, facts: os.stat_result) -> None:
    made = os.fstat(descriptor)
    if (made.st_uid, made.st_gid) != (facts.st_uid, facts.st_gid):
        os.fchown(descriptor, facts.st_uid, facts.st_gid)
    shutil.copystat(file.path, copy, follow_symlinks=False)
    os.utime(descriptor)  # the bytes are others, and a backup by time and size has to see that


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
