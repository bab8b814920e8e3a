"""The writing end of the audit log: records are durable when :meth:`AuditLog.append_many` returns.

One write and one fdatasync for all that are appended together (group commit). Used by one thread
at a time; a lock on the directory keeps a second daemon out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Sequence
from contextlib import suppress
from pathlib import Path
from typing import Final, Self

from hwkm.audit import files
from hwkm.audit.record import AuditEntry, Caller, encode_record
from hwkm.audit.segments import RECORDS, WRITE_MARK, list_segments, segment_for, unreadable
from hwkm.audit.tail import Tail, find_tail
from hwkm.audit.timestamp import now_ms
from hwkm.errors import AuditError, HwkmError, StorageUnavailable

SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
PREPARED_BYTES: Final = 256 * 1024
REPAIR_OPERATION: Final = "audit.repair"
TORN_TAIL_DROPPED: Final = "torn_tail_dropped"

_REPAIR_NOTE: Final = "repair"
_REPAIR_NOTE_BYTES_MAX: Final = 64

_FILE_FLAGS: Final = os.O_WRONLY | os.O_CLOEXEC


class AuditLog:
    """An audit log that is open for appending."""

    @classmethod
    def create(cls, path: Path | str) -> None:
        """Make an empty log in directory ``path``, mode 0700; durable on return.

        Raises:
            AuditError: there is a log already.
            StorageUnavailable: it cannot be made.
        """
        directory = Path(path)
        try:
            if directory.exists() and list_segments(directory):
                raise AuditError(f"{directory} holds an audit log already")
            for made in (directory, directory / RECORDS):
                made.mkdir(mode=0o700, exist_ok=True)
                files.sync_directory(made.parent)
            os.close(_make_segment(directory, 0))
        except OSError as exc:
            raise unreadable(directory, exc) from exc

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        signed_size: int = 0,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        prepared_bytes: int = PREPARED_BYTES,
        clock_ms: Callable[[], int] = now_ms,
    ) -> Self:
        """Lock the log in directory ``path``, check its end, and be ready to append.

        The first ``signed_size`` records are vouched for by a checkpoint; those behind are checked.
        What a crash left of a write that nobody was answered for is dropped, and a record that says
        so (operation ``audit.repair``) is appended. Nothing else is ever repaired. A log that is
        not there is not made: its absence is what somebody who deletes it would hide.

        Raises:
            AuditError: there is no log, it is too short, or its end is damaged.
            StorageUnavailable: it cannot be read or written, or another daemon writes to it.
        """
        directory = Path(path)
        lock = _lock(directory)
        try:
            tail = find_tail(directory, signed_size)
        except HwkmError:
            os.close(lock)
            raise
        return cls(lock, tail, (segment_bytes_max, prepared_bytes), clock_ms)

    def __init__(self, lock: int, tail: Tail, limits: tuple[int, int], clock_ms: Callable[[], int]) -> None:
        """Take over ``lock``; use :meth:`open`."""
        self._lock = lock
        self._directory = tail.segment.path.parent.parent
        self._segment_bytes_max, self._prepared_bytes = limits
        self._clock_ms = clock_ms
        self._size, self._end = tail.size, tail.end
        self._failed = False
        self._file = -1
        try:
            self._file = os.open(tail.segment.path, _FILE_FLAGS)
            self._file_bytes = os.fstat(self._file).st_size
            self._note = self._directory / RECORDS / _REPAIR_NOTE
            if tail.torn_bytes or self._note.exists():
                self._repair(tail.torn_bytes)
        except OSError as exc:
            self.close()
            raise unreadable(tail.segment.path, exc) from exc
        except HwkmError:
            self.close()
            raise

    @property
    def size(self) -> int:
        """The number of durable records."""
        return self._size

    def append_many(self, entries: Sequence[AuditEntry]) -> int:
        """Append records; all are durable on return. Return the number of records.

        Raises:
            FormatError: the clock is out of range; none was appended.
            AuditError: somebody else has changed the file; none was appended.
            StorageUnavailable: storage failed (disk full). None is in the log, and it can be used
                again unless the message says that it must be opened again.
        """
        clock = self._clock_ms
        lines = [encode_record(entry, index, clock()) for index, entry in enumerate(entries, self._size)]
        if lines:
            try:
                self._write(WRITE_MARK + b"\n".join(lines) + b"\n")
            except OSError as exc:
                raise self._roll_back(exc) from exc
            self._size += len(lines)
        return self._size

    def close(self) -> None:
        """Give back the prepared space and let go of the log. May be called again.

        What the disk refuses here is passed over: all that was acknowledged is durable already.
        """
        with suppress(OSError):
            if self._file >= 0 and not self._failed and self._is_unchanged():
                os.ftruncate(self._file, self._end)
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                with suppress(OSError):
                    os.close(descriptor)
        self._file = self._lock = -1

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        if self._failed or self._file < 0:
            raise StorageUnavailable("the audit log is closed or has failed; it must be opened again")
        if not self._is_unchanged():
            # Fail closed rather than acknowledge records into a file that was cut or removed.
            raise AuditError("the audit log was changed by somebody else while it was open")
        if self._end >= self._segment_bytes_max:
            self._rotate()
        end = self._end + len(data)
        _write_all(self._file, data, self._end)
        if end > self._file_bytes:
            self._file_bytes = self._prepare(end)
        os.fdatasync(self._file)
        self._end = end

    def _prepare(self, end: int) -> int:
        """Put zeros behind the records; return the size of the file. A full disk leaves none there."""
        try:
            _write_all(self._file, bytes(self._prepared_bytes), end)
        except OSError:
            os.ftruncate(self._file, end)
            return end
        return end + self._prepared_bytes

    def _is_unchanged(self) -> bool:
        status = os.fstat(self._file)
        return status.st_size == self._file_bytes and status.st_nlink > 0

    def _rotate(self) -> None:
        """Go on in a new segment. It may be there, empty, if this was tried before."""
        file = _make_segment(self._directory, self._size)
        os.ftruncate(self._file, self._end)
        os.fdatasync(self._file)
        os.close(self._file)
        self._file = file
        self._end = self._file_bytes = 0

    def _roll_back(self, exc: OSError) -> StorageUnavailable:
        """Cut off what was written in part, so that the log ends with a whole record."""
        try:
            os.ftruncate(self._file, self._end)
            self._file_bytes = self._end
        except OSError:
            self._failed = True
            return StorageUnavailable(f"the audit log failed ({exc.strerror}); it must be opened again")
        return StorageUnavailable(f"the audit log cannot be written ({exc.strerror})")

    def _repair(self, torn_bytes: int) -> None:
        """Drop what a crash left of the last write, and append a record that says so.

        A note in a file of its own is durable before anything is dropped, and stays until the record
        is: a crash on the way, or a full disk, leaves a repair to be finished at the next start.
        """
        if torn_bytes:
            files.write_new(self._note, f"{self._size} {torn_bytes}".encode())
            os.ftruncate(self._file, self._end)
            os.fdatasync(self._file)
            self._file_bytes = self._end
        size, _, dropped = files.read_at_most(self._note, _REPAIR_NOTE_BYTES_MAX).decode().partition(" ")
        if size == str(self._size):
            daemon = Caller(gid=os.getgid(), pid=os.getpid(), uid=os.getuid())
            detail = {"dropped_bytes": dropped}
            self.append_many([AuditEntry(daemon, REPAIR_OPERATION, TORN_TAIL_DROPPED, detail=detail)])
        files.remove(self._note)


def _lock(directory: Path) -> int:
    """Return a descriptor that holds the lock until it is closed, if only by the end of the process."""
    try:
        descriptor = files.open_directory(directory)
    except FileNotFoundError:
        raise AuditError(f"{directory} holds no audit log; it was removed, or never made") from None
    except OSError as exc:
        raise unreadable(directory, exc) from exc
    try:
        fcntl.flock(descriptor, fcntl.LOCK_EX | fcntl.LOCK_NB)
    except OSError as exc:
        os.close(descriptor)
        raise StorageUnavailable(f"another daemon writes the audit log in {directory}") from exc
    return descriptor


def _make_segment(directory: Path, first_index: int) -> int:
    """Make an empty segment, its name durable; return its descriptor.

    Raises:
        AuditError: there is one that is not empty.
        OSError: it could not be made.
    """
    path = segment_for(directory, first_index).path
    descriptor = os.open(path, _FILE_FLAGS | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size != 0:
            raise AuditError(f"segment {path.name} exists already")
        files.sync_directory(path.parent)
    except BaseException:
        os.close(descriptor)
        raise
    return descriptor


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write everything; one system call can write a part only, when the disk is nearly full."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
