"""Where the bytes of a file come from: a path, or a stream that may give fewer at a time."""

from __future__ import annotations

import io
import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hwkm.client.backup.errors import SourceUnreadable
from hwkm.client.backup.output import new_file


class StreamSource:
    """A source of a binary stream: gives fewer bytes than asked for only at the end."""

    def __init__(self, stream: BinaryIO | io.RawIOBase, name: str) -> None:
        self._stream = stream
        self._name = name

    def read(self, size: int) -> bytes:
        """Return ``size`` bytes, or what is left.

        Raises:
            SourceUnreadable: the operating system says so.
        """
        try:
            data = self._stream.read(size) or b""
            while len(data) < size and (more := self._stream.read(size - len(data))):
                data += more
        except OSError as exc:
            raise SourceUnreadable(f"{self._name}: {exc.strerror}") from exc
        return data


@contextmanager
def reading(path: Path) -> Iterator[StreamSource]:
    """Read a file.

    Raises:
        SourceUnreadable: it cannot be opened or read.
    """
    try:
        file = path.open("rb", buffering=0)
    except OSError as exc:
        raise SourceUnreadable(f"{path}: {exc.strerror}") from exc
    with file:
        yield StreamSource(file, str(path))


@contextmanager
def opened(path: Path | None, standard: BinaryIO) -> Iterator[StreamSource]:
    """Read a file, or a standard stream where there is no path. Raises SourceUnreadable."""
    if path is None:
        yield StreamSource(standard, "standard input")
        return
    with reading(path) as source:
        yield source


@contextmanager
def made(path: Path | None, standard: BinaryIO) -> Iterator[BinaryIO]:
    """Write a new file that appears when the block ends well, or a standard stream, flushed then.

    Raises:
        OutputExists, StorageUnavailable: see :func:`hwkm.client.backup.output.new_file`.
    """
    if path is None:
        yield standard
        standard.flush()
        return
    with new_file(path) as file:
        yield file


def size_of(path: Path) -> int:
    """The size of a file in bytes, for a progress bar; 0 if it has none."""
    try:
        return os.stat(path).st_size  # noqa: PTH116  (the target of a link)
    except OSError:
        return 0
