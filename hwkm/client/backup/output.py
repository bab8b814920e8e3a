"""Outputs that appear whole or not at all: written beside their place, synced, then named."""

from __future__ import annotations

import ctypes
import errno
import os
import shutil
import tempfile
from collections.abc import Iterator
from contextlib import contextmanager, suppress
from pathlib import Path
from typing import BinaryIO, Final

from hwkm.client.backup.errors import OutputExists
from hwkm.errors import StorageUnavailable

PARTIAL_PREFIX: Final = ".hwkm-partial-"
_NO_HARD_LINKS: Final = {errno.EPERM, errno.EOPNOTSUPP, errno.ENOSYS, errno.EMLINK}
_NO_SPACE: Final = {errno.ENOSPC, errno.EDQUOT, errno.EFBIG}

_libc: Final = ctypes.CDLL(None, use_errno=True)


def refuse_existing(path: Path) -> None:
    """Refuse an output that is there already; an empty directory is not in the way.

    Raises:
        OutputExists: it is.
    """
    with _translated(path):
        is_directory = path.is_dir() and not path.is_symlink()
        in_the_way = any(path.iterdir()) if is_directory else os.path.lexists(path)
    if in_the_way:
        raise OutputExists(f"{path} exists already; it is not overwritten")


@contextmanager
def new_file(path: Path) -> Iterator[BinaryIO]:
    """A private file (mode 0600) that gets its name only if the block ends well.

    Raises:
        OutputExists: something of this name is there.
        StorageUnavailable: the disk is full or failed; nothing is left behind.
    """
    with _translated(path):
        descriptor, name = tempfile.mkstemp(dir=path.parent, prefix=PARTIAL_PREFIX)
        partial = Path(name)
        try:
            with os.fdopen(descriptor, "wb") as file:
                yield file
                file.flush()
                os.fsync(descriptor)
            _name_file(partial, path)
            _sync_directory(path.parent)
        finally:
            partial.unlink(missing_ok=True)


@contextmanager
def new_directory(path: Path) -> Iterator[Path]:
    """A private directory (mode 0700) that gets its name only if the block ends well.

    Raises:
        OutputExists: something of this name is there, other than an empty directory.
        StorageUnavailable: the disk is full or failed; nothing is left behind.
    """
    with _translated(path):
        partial = Path(tempfile.mkdtemp(dir=path.parent, prefix=PARTIAL_PREFIX))
        try:
            yield partial
            _sync_file_system(partial)
            refuse_existing(path)
            partial.rename(path)
            _sync_directory(path.parent)
        finally:
            _remove_tree(partial)


def _name_file(partial: Path, path: Path) -> None:
    """A hard link fails where a rename would overwrite."""
    try:
        path.hardlink_to(partial)
    except OSError as exc:
        if exc.errno not in _NO_HARD_LINKS:
            raise
        refuse_existing(path)
        partial.rename(path)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _sync_file_system(path: Path) -> None:
    """One syncfs(2) for all the files in a directory: an fsync for each takes milliseconds a file."""
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY)
    try:
        if _libc.syncfs(descriptor) != 0:
            number = ctypes.get_errno()
            raise OSError(number, os.strerror(number))
    finally:
        os.close(descriptor)


def _remove_tree(path: Path) -> None:
    """Remove it even where restored permissions forbid that."""
    for directory, names, _ in os.walk(path):
        for child in (Path(directory) / name for name in names):
            with suppress(OSError):
                if not child.is_symlink():
                    child.chmod(0o700)
    shutil.rmtree(path, ignore_errors=True)


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    try:
        yield
    except FileExistsError as exc:
        raise OutputExists(f"{path} exists already; it is not overwritten") from exc
    except OSError as exc:
        what = "the disk is full" if exc.errno in _NO_SPACE else exc.strerror
        raise StorageUnavailable(f"cannot write {path}: {what}; nothing was left behind") from exc
