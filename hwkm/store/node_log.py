"""The node log: a file of fixed size in which the latest puts of a node store wait for its database.

A put costs one write and one ``fdatasync`` of a few kilobytes at a place of the disk that is already
the file's, so that no metadata of the file system have to be written with them (0.12 ms against
0.3 for a commit of SQLite; ADR 15 has the measurement). The file is never cut: with a new
*generation* its records are written over from the beginning, and what is left of older ones is told
by their number.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hwkm.errors import StorageMismatch
from hwkm.formats.node_log import Changes, encode_record, read_records
from hwkm.store.private_file import create_private

LOG_BYTES: Final = 1 << 20
_LOG_BYTES_MAX: Final = 64 << 20


class NodeLog:
    """The log in one file, used by one thread. Its errors are OSErrors."""

    def __init__(self, path: Path, size: int) -> None:
        """Open the log at ``path``; what is missing of ``size`` bytes is filled up, durably.

        Raises:
            StorageMismatch: the file is too large to be a log.
            OSError: it cannot be opened, read or filled up.
        """
        create_private(path)
        self._descriptor = os.open(path, os.O_RDWR | os.O_CLOEXEC)
        try:
            self._content = self._read(path)
            self._fill_up(size)
        except BaseException:
            self.close()
            raise
        self._size = max(size, len(self._content))
        self._generation = 0
        self._end = 0

    def take(self, generation: int) -> Iterator[dict[bytes, bytes | None]]:
        """Yield what the puts of ``generation`` changed, as the file was when it was opened, oldest first."""
        content, self._content = self._content, b""
        return read_records(content, generation)

    def begin(self, generation: int) -> None:
        """Write over all there is, under a number that was never used before."""
        self._generation = generation
        self._end = 0

    def append(self, changes: Changes) -> bool:
        """Append a record, durable on return. False if there is no room: nothing was written.

        Raises:
            OSError: it may be there or not; nothing must be appended any more in this generation.
            FormatError: as :func:`encode_record`.
        """
        record = encode_record(self._generation, changes)
        if self._end + len(record) > self._size:
            return False
        _write_all(self._descriptor, record, self._end)
        os.fdatasync(self._descriptor)
        self._end += len(record)
        return True

    def close(self) -> None:
        """Close the file. May be called again."""
        if self._descriptor >= 0:
            os.close(self._descriptor)
            self._descriptor = -1

    def _read(self, path: Path) -> bytes:
        size = os.fstat(self._descriptor).st_size
        if size > _LOG_BYTES_MAX:
            raise StorageMismatch(f"{path} is not a node log: it is longer than {_LOG_BYTES_MAX} bytes")
        return os.pread(self._descriptor, size, 0)

    def _fill_up(self, size: int) -> None:
        """Zeros, written: a place that is only reserved costs a change of metadata when it is first used."""
        missing = size - len(self._content)
        if missing > 0:
            _write_all(self._descriptor, bytes(missing), len(self._content))
            os.fsync(self._descriptor)


def _write_all(descriptor: int, data: bytes, at: int) -> None:
    written = os.pwrite(descriptor, data, at)
    while written < len(data):
        written += os.pwrite(descriptor, data[written:], at + written)
