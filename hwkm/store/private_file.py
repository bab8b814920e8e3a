"""Making a file that only its owner can read, durably."""

from __future__ import annotations

import os
from pathlib import Path


def create_private(path: Path) -> None:
    """Make an empty file of mode 0600 unless there is one; its name is durable on return.

    SQLite gives its write-ahead log the mode of the database.

    Raises:
        OSError: it could not be made.
    """
    try:
        descriptor = os.open(path, os.O_CREAT | os.O_EXCL | os.O_RDWR | os.O_CLOEXEC, 0o600)
    except FileExistsError:
        return
    os.close(descriptor)
    _sync_directory(path.parent)


def replace_private(path: Path, contents: bytes) -> None:
    """Put a file of mode 0600 in place of the one that is there, whole or not at all; durable on return.

    Raises:
        OSError: it could not be made.
    """
    new = path.with_name(path.name + ".new")
    new.unlink(missing_ok=True)
    create_private(new)
    with new.open("r+b") as file:
        file.write(contents)
        file.flush()
        os.fsync(file.fileno())
    new.replace(path)
    _sync_directory(path.parent)


def _sync_directory(path: Path) -> None:
    descriptor = os.open(path, os.O_RDONLY | os.O_DIRECTORY | os.O_CLOEXEC)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)
