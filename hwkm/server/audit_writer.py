"""Makes audit records durable before their answers leave: group commit.

All that is asked for in one turn of the event loop, or while a write is under way, shares the next
write. A disk that is quick is written to at once, without a change of threads, which would take
half as long as the write; a slow one on a thread of its own, so that nobody else waits for it.
"""

from __future__ import annotations

import asyncio
import time
from collections.abc import Callable, Sequence
from concurrent.futures import Future, ThreadPoolExecutor
from pathlib import Path
from typing import Final, Self

from hwkm.audit.log import AuditLog
from hwkm.audit.record import AuditEntry
from hwkm.errors import HwkmError, StorageUnavailable
from hwkm.server.peer import our_own_caller

Observer = Callable[[int], None]

QUICK_WRITE_S: Final = 0.0005
"""A disk whose writes take less on average is waited for on the event loop."""

_AVERAGED: Final = 0.2
_TRY_AGAIN_S: Final = 5.0

_Batch = list[tuple[Sequence[AuditEntry], asyncio.Future[None]]]


class AuditWriter:
    """The audit log for use from the event loop."""

    def __init__(self, open_log: Callable[[int], AuditLog], signed_size: int, on_sync: Observer) -> None:
        """Open the log; use :meth:`open`."""
        self._open_log = open_log
        self._log: AuditLog | None = open_log(signed_size)
        self._thread = ThreadPoolExecutor(1, thread_name_prefix="audit")
        self._on_sync = on_sync
        self._waiting: _Batch = []
        self._is_writing = False
        self._idle = asyncio.Event()
        self._idle.set()
        self._write_s = 0.0
        self._slow_until = 0.0
        self.size = self._log.size
        """The number of durable records."""
        self.signed_size = signed_size
        """How many of them are vouched for by a checkpoint, and need not be checked at an opening."""
        self.failure = ""
        """Why the newest records could not be written, or nothing."""

    @classmethod
    async def open(
        cls, directory: Path, segment_bytes: int, on_sync: Observer, *, signed_size: int = 0
    ) -> Self:
        """Open the log in ``directory``. ``on_sync`` is told the number of records of each fsync.

        ``signed_size`` is what the newest checkpoint covers.

        Raises:
            AuditError, StorageUnavailable: as :meth:`AuditLog.open`.
        """

        def open_log(signed: int) -> AuditLog:
            return AuditLog.open(directory, signed_size=signed, segment_bytes_max=segment_bytes)

        return await asyncio.get_running_loop().run_in_executor(None, cls, open_log, signed_size, on_sync)

    async def append(self, entry: AuditEntry) -> None:
        """Append a record; as :meth:`append_all`."""
        await self.append_all((entry,))

    async def append_all(self, entries: Sequence[AuditEntry]) -> None:
        """Append the records of one request, all or none; durable on return.

        Raises:
            AuditError: somebody else has changed the log. It takes no record any more.
            StorageUnavailable: storage failed; no record is in the log.
        """
        loop = asyncio.get_running_loop()
        durable: asyncio.Future[None] = loop.create_future()
        self._waiting.append((entries, durable))
        if not self._is_writing:
            self._is_writing = True
            self._idle.clear()
            loop.call_soon(self._write_waiting)
        await durable

    async def require(self) -> None:
        """Before anything is done that will have to be recorded: see that the log takes records.

        After a write that failed, one record of this daemon's own is tried first.

        Raises:
            AuditError, StorageUnavailable: as :meth:`append_all`.
        """
        if self.failure:
            await self.append(AuditEntry(our_own_caller(), "audit.resume", "ok"))

    async def close(self) -> None:
        """Wait for what is being written, then let go of the log."""
        await self._idle.wait()
        self._thread.shutdown()
        if self._log is not None:
            self._log.close()
            self._log = None

    def _write_waiting(self) -> None:
        """Write what waits, here or on the thread, and go on until nothing does."""
        batch, self._waiting = self._waiting, []
        if not batch:
            self._is_writing = False
            self._idle.set()
        elif self._is_quick():
            self._settle(batch, self._write(_entries(batch)))
        else:
            loop = asyncio.get_running_loop()
            work = self._thread.submit(self._write, _entries(batch))
            work.add_done_callback(lambda done: loop.call_soon_threadsafe(self._settle_done, batch, done))

    def _is_quick(self) -> bool:
        """Whether to write on the event loop: after a slow write not again for some seconds."""
        now = time.monotonic()
        if self._write_s > QUICK_WRITE_S:
            self._write_s = 0.0
            self._slow_until = now + _TRY_AGAIN_S
        return now >= self._slow_until

    def _settle_done(self, batch: _Batch, done: Future[HwkmError | None]) -> None:
        self._settle(batch, done.result())

    def _settle(self, batch: _Batch, error: HwkmError | None) -> None:
        self.failure = "" if error is None else str(error)
        if error is None:
            self._on_sync(sum([len(entries) for entries, _ in batch]))
        for _, durable in batch:
            if durable.done():
                continue  # its caller went away
            if error is None:
                durable.set_result(None)
            else:
                durable.set_exception(type(error)(str(error)))
        asyncio.get_running_loop().call_soon(self._write_waiting)

    def _write(self, entries: list[AuditEntry]) -> HwkmError | None:
        """Return the error instead of raising it: many wait for it, each must raise its own."""
        started = time.perf_counter()
        try:
            if self._log is None:
                self._log = self._open_log(self.signed_size)
            self.size = self._log.append_many(entries)
        except StorageUnavailable as exc:
            # A full disk is emptied some day. The log checks its end when it is opened again.
            self._close_log()
            return exc
        except HwkmError as exc:
            # Damage is never passed over: the log stays closed to new records.
            return exc
        self._write_s += _AVERAGED * (time.perf_counter() - started - self._write_s)
        return None

    def _close_log(self) -> None:
        if self._log is not None:
            self._log.close()
            self._log = None


def _entries(batch: _Batch) -> list[AuditEntry]:
    return [entry for entries, _ in batch for entry in entries]
