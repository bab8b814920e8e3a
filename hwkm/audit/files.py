"""Files that appear whole or not at all."""

from __future__ import annotations

import contextlib
import os
from pathlib import Path
from typing import Final

DIRECTORY_FLAGS: Final = os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC

_NEW_SUFFIX: Final = ".new"


def write_new(path: Path, data: bytes, *, durable: bool = True) -> None:
    """Put a file in place, mode 0600; directories above it are made. A crash leaves the old or the new.

    If ``durable``, content and name are when this returns; otherwise the content is (a name without
    its content never shows) and :func:`sync_directory` is left to the caller.

    Raises:
        OSError: it could not be done; what was there is there still.
    """
    new = path.with_name(path.name + _NEW_SUFFIX)
    path.parent.mkdir(mode=0o700, parents=True, exist_ok=True)
    try:
        descriptor = os.open(new, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
        try:
            view = memoryview(data)
            while view:
                view = view[os.write(descriptor, view) :]
            os.fsync(descriptor)
        finally:
            os.close(descriptor)
        new.rename(path)
    except OSError:
        with contextlib.suppress(OSError):
            new.unlink()
        raise
    if durable:
        sync_directory(path.parent)


def remove(path: Path) -> None:
    """Remove a file, durably; one that is not there is no error.

    Raises:
        OSError: it could not be done.
    """
    path.unlink(missing_ok=True)
    sync_directory(path.parent)


def read_at_most(path: Path, bytes_max: int) -> bytes:
    """Return what a file holds, up to one byte more than ``bytes_max``, for a parser to refuse.

    Raises:
        OSError: it cannot be read.
    """
    with path.open("rb") as file:
        return file.read(bytes_max + 1)


def open_directory(directory: Path) -> int:
    """Return a descriptor of the directory, to lock and to sync.

    Raises:
        OSError: it could not be opened.
    """
    return os.open(directory, DIRECTORY_FLAGS)


def sync_directory(directory: Path) -> None:
    """Make the names in a directory durable.

    Raises:
        OSError: it could not be done.
    """
    descriptor = open_directory(directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
