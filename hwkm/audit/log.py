"""The writing end of the audit log: append, then make durable before anybody is answered.

``append`` only chains a record to those before it; ``sync`` writes all that wait in one go and
fsyncs them (group commit). What ``sync`` has not returned from is not acknowledged, and after an
error it is not in the log. Used by one thread; a lock on the directory keeps a second daemon out.
"""

from __future__ import annotations

import fcntl
import os
from collections.abc import Callable, Iterable
from pathlib import Path
from typing import Final, Self

from hwkm.audit.record import EMPTY_HEAD, AuditEntry, AuditHead, Caller, chain
from hwkm.audit.segments import list_segments, open_directory, segment_for, unreadable
from hwkm.audit.tail import Tail, find_tail
from hwkm.audit.timestamp import now_ms
from hwkm.errors import AuditError, FormatError, HwkmError, StorageUnavailable

SEGMENT_BYTES_MAX: Final = 64 * 1024 * 1024
REPAIR_OPERATION: Final = "audit.repair"
TORN_TAIL_DROPPED: Final = "torn_tail_dropped"

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
            _make_directory(directory)
            if list_segments(directory):
                raise AuditError(f"{directory} holds an audit log already")
            _make_segment(directory, EMPTY_HEAD.seq + 1)
        except OSError as exc:
            raise unreadable(directory, exc) from exc

    @classmethod
    def open(
        cls,
        path: Path | str,
        *,
        segment_bytes_max: int = SEGMENT_BYTES_MAX,
        clock_ms: Callable[[], int] = now_ms,
    ) -> Self:
        """Lock the log in directory ``path``, check its last records, and be ready to append.

        A last line that a crash cut off was never acknowledged: it is dropped, and a record that
        says so (operation ``audit.repair``) is appended. Nothing else is ever repaired. A log that
        is not there is not made: its absence is what somebody who deletes it would hide.

        Raises:
            AuditError: there is no log, or its end is damaged.
            StorageUnavailable: it cannot be read or written, or another daemon writes to it.
        """
        directory = Path(path)
        lock = _lock(directory)
        try:
            tail = find_tail(directory)
        except HwkmError:
            os.close(lock)
            raise
        return cls(lock, tail, segment_bytes_max, clock_ms)

    def __init__(self, lock: int, tail: Tail, segment_bytes_max: int, clock_ms: Callable[[], int]) -> None:
        """Take over ``lock``; use :meth:`open`."""
        self._lock = lock
        self._directory = tail.segment.path.parent
        self._segment_bytes_max = segment_bytes_max
        self._clock_ms = clock_ms
        self._head = self._next = tail.head
        self._size = tail.end
        self._waiting: list[bytes] = []
        self._failed = False
        self._file = -1
        try:
            self._file = os.open(tail.segment.path, _FILE_FLAGS)
            if tail.torn_bytes:
                self._repair()
        except OSError as exc:
            self.close()
            raise unreadable(tail.segment.path, exc) from exc

    @property
    def head(self) -> AuditHead:
        """The newest durable record."""
        return self._head

    def append(self, entry: AuditEntry) -> AuditHead:
        """Chain a record; return its number and hash. Not durable before :meth:`sync` returns.

        Raises:
            FormatError: the clock is out of range.
        """
        record = chain(entry, self._next, self._clock_ms())
        self._waiting.append(record.encode() + b"\n")
        self._next = record.head
        return record.head

    def sync(self) -> AuditHead:
        """Make all appended records durable; return the newest. One write and one fsync for all.

        Raises:
            AuditError: somebody else has changed the file; nothing was written.
            StorageUnavailable: storage failed (disk full). Nothing that was waiting is in the log,
                all of it is forgotten, and the log can be used again, unless its message says that
                it must be opened again.
        """
        if self._waiting:
            try:
                self._write(b"".join(self._waiting))
            except OSError as exc:
                raise self._roll_back(exc) from exc
            finally:
                self._waiting.clear()
                self._next = self._head
        return self._head

    def append_many(self, entries: Iterable[AuditEntry]) -> list[str]:
        """Append records and sync; return their hashes. All are durable on return.

        Raises:
            FormatError, AuditError, StorageUnavailable: as :meth:`append` and :meth:`sync`.
        """
        waiting, following = len(self._waiting), self._next
        try:
            hashes = [self.append(entry).hash for entry in entries]
        except FormatError:
            del self._waiting[waiting:]
            self._next = following
            raise
        self.sync()
        return hashes

    def close(self) -> None:
        """Forget what was not synced and let go of the log. May be called again."""
        for descriptor in (self._file, self._lock):
            if descriptor >= 0:
                os.close(descriptor)
        self._file = self._lock = -1
        self._waiting.clear()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _write(self, data: bytes) -> None:
        if self._failed or self._file < 0:
            raise StorageUnavailable("the audit log is closed or has failed; it must be opened again")
        self._check_unchanged()
        if self._size >= self._segment_bytes_max:
            self._rotate()
        _write_all(self._file, data, self._size)
        os.fdatasync(self._file)
        self._size += len(data)
        self._head = self._next

    def _check_unchanged(self) -> None:
        """Fail closed rather than acknowledge records into a file that was cut or removed."""
        status = os.fstat(self._file)
        if status.st_size != self._size or status.st_nlink == 0:
            raise AuditError("the audit log was changed by somebody else while it was open")

    def _rotate(self) -> None:
        """Go on in a new segment. It may be there, empty, if this was tried before."""
        file = _make_segment(self._directory, self._head.seq + 1, keep_open=True)
        os.close(self._file)
        self._file = file
        self._size = 0

    def _roll_back(self, exc: OSError) -> StorageUnavailable:
        """Cut off what was written in part, so that the log ends with a whole record."""
        try:
            os.ftruncate(self._file, self._size)
        except OSError:
            self._failed = True
            return StorageUnavailable(f"the audit log failed ({exc.strerror}); it must be opened again")
        return StorageUnavailable(f"the audit log cannot be written ({exc.strerror})")

    def _repair(self) -> None:
        """Put the record of the repair in place of the torn line.

        In this order, so that the torn line is there until the record is: a crash in between, or
        a full disk, leaves a torn line to repair at the next start.
        """
        daemon = Caller(gid=os.getgid(), pid=os.getpid(), uid=os.getuid())
        record = chain(AuditEntry(daemon, REPAIR_OPERATION, TORN_TAIL_DROPPED), self._head, self._clock_ms())
        line = record.encode() + b"\n"
        _write_all(self._file, line, self._size)
        os.ftruncate(self._file, self._size + len(line))
        os.fdatasync(self._file)
        self._size += len(line)
        self._head = self._next = record.head


def _lock(directory: Path) -> int:
    """Return a descriptor that holds the lock until it is closed, if only by the end of the process."""
    try:
        descriptor = open_directory(directory)
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


def _make_directory(directory: Path) -> None:
    try:
        directory.mkdir(mode=0o700)
    except FileExistsError:
        return
    _sync_directory(directory.parent)


def _make_segment(directory: Path, first_seq: int, *, keep_open: bool = False) -> int:
    """Make an empty segment, its name durable; return its descriptor, or -1.

    Raises:
        AuditError: there is one that is not empty.
        OSError: it could not be made.
    """
    path = segment_for(directory, first_seq).path
    descriptor = os.open(path, _FILE_FLAGS | os.O_CREAT, 0o600)
    try:
        if os.fstat(descriptor).st_size != 0:
            raise AuditError(f"segment {path.name} exists already")
        _sync_directory(directory)
    except BaseException:
        os.close(descriptor)
        raise
    if keep_open:
        return descriptor
    os.close(descriptor)
    return -1


def _sync_directory(directory: Path) -> None:
    descriptor = open_directory(directory)
    try:
        os.fsync(descriptor)
    finally:
        os.close(descriptor)


def _write_all(descriptor: int, data: bytes, offset: int) -> None:
    """Write everything; one system call can write a part only, when the disk is nearly full."""
    view = memoryview(data)
    while view:
        written = os.pwrite(descriptor, view, offset)
        view, offset = view[written:], offset + written
