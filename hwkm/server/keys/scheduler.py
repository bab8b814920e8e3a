"""What is done by itself, when its time has come: deletions, rotations, writing down last uses."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from contextlib import suppress
from typing import Final

from hwkm.audit.record import AuditEntry, Caller
from hwkm.errors import HwkmError, LimitExceeded, StorageUnavailable, Unavailable
from hwkm.server.keys.audit import BEGUN
from hwkm.server.keys.desk import DAY_MS, KeyDesk
from hwkm.server.keys.domain import DomainRotation
from hwkm.server.keys.life import Life
from hwkm.server.logs import get_log
from hwkm.store.key_record import KeyRecord, KeyState, VersionCause
from hwkm.store.keys import KeyStore
from hwkm.wire.core_messages import Done
from hwkm.wire.key_messages import ForgetKey

AT_ONCE: Final = 100
"""Keys that are looked after before others have their turn again."""

_PASSING: Final = (Unavailable, StorageUnavailable)
_Work = Callable[[KeyRecord], Awaitable[None]]
_Record = Callable[[AuditEntry], Awaitable[None]]


class Scheduler:
    """Looks after the keys every so often. All that it does may be done again."""

    def __init__(
        self, desk: KeyDesk, life: Life, domain: DomainRotation, record: _Record, caller: Caller
    ) -> None:
        self._desk = desk
        self._life = life
        self._domain = domain
        self._record = record
        self._caller = caller
        self._log = get_log()
        self._task: asyncio.Task[None] | None = None

    def start(self, interval_s: float) -> None:
        """Look after the keys now, and every so often until stopped."""
        self._task = asyncio.create_task(self._run(interval_s), name="key scheduler")

    async def stop(self) -> None:
        """Leave off, and write down what is only in memory."""
        if self._task is not None:
            self._task.cancel()
            await asyncio.gather(self._task, return_exceptions=True)
        await self._domain.stop()
        try:
            await self._desk.book.write_uses()
        except HwkmError as exc:
            self._log.error("last uses of keys not written", problem=str(exc))

    async def _run(self, interval_s: float) -> None:
        while True:
            await self.look_after()
            await asyncio.sleep(interval_s)

    async def look_after(self) -> None:
        """Do what is due. What cannot be done now is due the next time too."""
        for work in (self._delete_due, self._rotate_due, self._desk.book.write_uses, self._domain.resume):
            try:
                await work()
            except HwkmError as exc:
                self._log.warning("keys not looked after", problem=str(exc))
            except Exception as exc:  # noqa: BLE001  (whatever it is, there is a next time)
                self._log.error("keys not looked after", exc_info=exc)

    async def _delete_due(self) -> None:
        for record in await self._desk.book.read(KeyStore.due_deletions, self._desk.now_ms(), AT_ONCE):
            await self._note("key.delete", BEGUN, record)  # it cannot be undone, so it is recorded first
            await self._try("key.delete", record, self._delete)

    async def _rotate_due(self) -> None:
        for record in await self._desk.book.read(KeyStore.due_rotations, self._desk.now_ms(), AT_ONCE):
            await self._try("key.rotate", record, self._rotate)

    async def _try(self, operation: str, record: KeyRecord, work: _Work) -> None:
        """Do something with one key and have it in the audit log. One that fails keeps no other from its turn."""
        outcome = "ok"
        try:
            await work(record)
        except _PASSING:
            raise
        except HwkmError as exc:
            outcome = exc.code
            self._log.warning("key not looked after", operation=operation, problem=str(exc))
        await self._note(operation, outcome, record)

    async def _note(self, operation: str, outcome: str, record: KeyRecord) -> None:
        arn = self._desk.names.key_arn(record.account, record.key_id)
        # The version that was current when its time came.
        entry = AuditEntry(self._caller, operation, outcome, key=arn, key_version=record.version)
        await self._record(entry)

    async def _delete(self, record: KeyRecord) -> None:
        entry = await self._desk.book.load(record.key_id)
        aliases = [(record.account, alias) for alias in entry.snapshot.aliases]
        await self._desk.book.erase(record.key_id, aliases, self._desk.now_ms())
        with suppress(Unavailable):  # a new life of the core has nothing of the key
            await self._desk.core.ask(ForgetKey(key_id=record.key_id), Done)

    async def _rotate(self, record: KeyRecord) -> None:
        try:
            await self._life.rotate_now(record.key_id, VersionCause.AUTOMATIC)
        except LimitExceeded:
            # It has all the versions that it may have. Said once a day, not at every look.
            await self._desk.book.change(record.key_id, _put_off, record, self._desk.now_ms() + DAY_MS)
            raise


def _put_off(store: KeyStore, record: KeyRecord, until_ms: int) -> None:
    store.change(record.key_id, KeyState.ENABLED, next_rotation_at_ms=until_ms)
