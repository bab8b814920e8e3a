"""Makes audit records durable before their answers leave: group commit on one thread.

While one fsync is running, the records of other requests collect; the next fsync takes all of
them. An idle daemon writes at once.
"""

from __future__ import annotations

import asyncio
from collections.abc import Callable
from concurrent.futures import ThreadPoolExecutor
from pathlib import Path
from typing import Self

from hwkm.audit.log import AuditLog
from hwkm.audit.record import AuditEntry
from hwkm.errors import HwkmError, StorageUnavailable

Observer = Callable[[int], None]


class AuditWriter:
    """The audit log for use from the event loop."""

    def __init__(
        self,
        directory: Path,
        segment_bytes: int,
        log: AuditLog,
        thread: ThreadPoolExecutor,
        on_sync: Observer,
    ) -> None:
        """Take over an open log; use :meth:`open`."""
        self._directory = directory
        self._segment_bytes = segment_bytes
        self._log: AuditLog | None = log
        self._thread = thread
        self._on_sync = on_sync
        self._waiting: list[tuple[AuditEntry, asyncio.Future[None]]] = []
        self._writing: asyncio.Task[None] | None = None
        self.head = log.head
        self.failure = ""
        """Why the newest records could not be written, or nothing."""

    @classmethod
    async def open(cls, directory: Path, segment_bytes: int, on_sync: Observer) -> Self:
        """Open the log in ``directory``. ``on_sync`` is told the number of records of each fsync.

        Raises:
            AuditError, StorageUnavailable: as :meth:`AuditLog.open`.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        try:
            log = await asyncio.get_running_loop().run_in_executor(thread, _open, directory, segment_bytes)
        except BaseException:
            thread.shutdown()
            raise
        return cls(directory, segment_bytes, log, thread, on_sync)

    async def append(self, entry: AuditEntry) -> None:
        """Append a record; durable on return.

        Raises:
            AuditError: somebody else has changed the log. It takes no record any more.
            StorageUnavailable: storage failed; the record is not in the log.
        """
        durable: asyncio.Future[None] = asyncio.get_running_loop().create_future()
        self._waiting.append((entry, durable))
        if self._writing is None:
            self._writing = asyncio.create_task(self._write_waiting(), name="audit writer")
        await durable

    async def close(self) -> None:
        """Wait for what is being written, then let go of the log."""
        if self._writing is not None:
            await self._writing
        await asyncio.get_running_loop().run_in_executor(self._thread, self._close_log)
        self._thread.shutdown()

    async def _write_waiting(self) -> None:
        loop = asyncio.get_running_loop()
        try:
            while self._waiting:
                batch, self._waiting = self._waiting, []
                error = await loop.run_in_executor(self._thread, self._write, [entry for entry, _ in batch])
                self.failure = "" if error is None else str(error)
                if error is None:
                    self._on_sync(len(batch))
                _settle([durable for _, durable in batch], error)
        finally:
            self._writing = None

    # --- on the thread -----------------------------------------------------------------------

    def _write(self, entries: list[AuditEntry]) -> HwkmError | None:
        """Return the error instead of raising it: many wait for it, each must raise its own."""
        try:
            if self._log is None:
                self._log = _open(self._directory, self._segment_bytes)
            self._log.append_many(entries)
            self.head = self._log.head
        except StorageUnavailable as exc:
            # A full disk is emptied some day. The log checks its end when it is opened again.
            self._close_log()
            return exc
        except HwkmError as exc:
            # Damage is never passed over: the log stays closed to new records.
            return exc
        return None

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None


def _open(directory: Path, segment_bytes: int) -> AuditLog:
    return AuditLog.open(directory, segment_bytes_max=segment_bytes)


def _settle(futures: list[asyncio.Future[None]], error: HwkmError | None) -> None:
    for future in futures:
        if future.done():
            continue
        if error is None:
            future.set_result(None)
        else:
            future.set_exception(type(error)(str(error)))
