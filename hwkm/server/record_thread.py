"""The record database for use from the event loop: one thread, in the order of the calls.

What was read lately is kept in memory. This daemon is the only writer (a lock on the state
directory sees to that) and the thread is first in, first out, so it is enough that a change
drops what is kept when it is *asked for*, and that a reading that was asked for before a change
is not kept.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Sequence
from concurrent.futures import ThreadPoolExecutor
from dataclasses import dataclass
from typing import Any, Final, Self, TypeVar

from hwkm.errors import LimitExceeded, VaultNotFound
from hwkm.store.records import Records
from hwkm.store.vault_record import ApplicationKeyRecord, KnowledgeFactorRecord, VaultRecord

CACHED_VAULTS_MAX: Final = 4096

T = TypeVar("T")


@dataclass(frozen=True, slots=True)
class VaultSnapshot:
    """A vault and its application keys, read at one moment."""

    record: VaultRecord
    keys: tuple[ApplicationKeyRecord, ...]


@dataclass(frozen=True, slots=True)
class Replacement:
    """What comes in place of a vault's blob."""

    handle: bytes
    expected_snapshot_version: int
    params: bytes
    vault: bytes
    knowledge_factor: KnowledgeFactorRecord
    keys: Sequence[ApplicationKeyRecord]


class RecordThread:
    """The vaults and application keys; what raises is documented at :class:`Records`."""

    def __init__(self, records: Records, thread: ThreadPoolExecutor, vaults: int) -> None:
        """Take over an open database; use :meth:`open`."""
        self._records = records
        self._thread = thread
        self._cache: OrderedDict[bytes, VaultSnapshot] = OrderedDict()
        self._changes = 0
        self._count_of_uid: dict[int, int] = {}
        self.vaults = vaults
        """How many there are, tombstones included."""

    @classmethod
    async def open(cls, url: str) -> Self:
        """Open the database, its schema brought up to date.

        Raises:
            ConfigError, StorageMismatch, StorageUnavailable: as :meth:`Records.open`.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="records")
        loop = asyncio.get_running_loop()
        try:
            records = await loop.run_in_executor(thread, Records.open, url)
            vaults = await loop.run_in_executor(thread, records.count)
        except BaseException:
            thread.shutdown()
            raise
        return cls(records, thread, vaults)

    async def close(self) -> None:
        """Let go of the database after the work that was asked for is done."""
        await self._run(self._records.close)
        self._thread.shutdown()

    # --- reading -----------------------------------------------------------------------------

    async def snapshot(self, handle: bytes) -> VaultSnapshot:
        """Return a vault, locked or not.

        Raises:
            VaultNotFound: there is none.
        """
        kept = self._cache.get(handle)
        if kept is not None:
            self._cache.move_to_end(handle)
            return kept
        changes = self._changes
        read = await self._run(self._read, handle)
        if changes == self._changes:
            self._keep(read)
        return read

    async def page(self, owner_uid: int | None, after: bytes | None, limit: int) -> list[VaultSnapshot]:
        """Return up to ``limit`` vaults after ``after``, of one owner or of all."""
        return await self._run(self._read_page, owner_uid, after, limit)

    async def named(self, owner_uid: int | None, name: str, limit: int) -> list[VaultSnapshot]:
        """Return up to ``limit`` vaults of this name, of one owner or of all."""
        return await self._run(self._read_named, owner_uid, name, limit)

    # --- changing ----------------------------------------------------------------------------

    async def create(
        self, record: VaultRecord, keys: Sequence[ApplicationKeyRecord], *, vaults_max: int
    ) -> None:
        """Add a vault.

        Raises:
            LimitExceeded: its owner has ``vaults_max`` already.
            VaultExists, FormatError: as :meth:`Records.create`.
        """
        await self._change(record.handle, self._create, record, keys, vaults_max)

    async def replace(self, new: Replacement, *, now_ms: int) -> None:
        """Put a new blob in the place of the old one; see :meth:`Records.replace`."""
        await self._change(new.handle, self._replace, new, now_ms)

    async def put_application_key(
        self,
        handle: bytes,
        expected_snapshot_version: int,
        key: ApplicationKeyRecord,
        *,
        keys_max: int,
        now_ms: int,
    ) -> None:
        """Add or replace an application key; see :meth:`Records.put_application_key`.

        Raises:
            LimitExceeded: the vault has ``keys_max`` others already.
        """
        await self._change(handle, self._put_key, handle, expected_snapshot_version, key, keys_max, now_ms)

    async def delete_application_key(self, handle: bytes, alias: str, *, now_ms: int) -> None:
        """Remove an application key if there is one."""
        await self._change(handle, self._delete_key, handle, alias, now_ms)

    async def destroy_locked(self, handle: bytes, params: bytes, *, now_ms: int) -> None:
        """Erase a vault whose counter is dead, if it is still the one with these params.

        A vault that was replaced under a new counter in the meantime is not the locked one.
        """
        await self._change(handle, self._destroy_locked, handle, params, now_ms)

    async def delete(self, handle: bytes) -> None:
        """Remove a vault or a tombstone.

        Raises:
            VaultNotFound: there is none.
        """
        await self._change(handle, self._delete, handle)

    # --- inside ------------------------------------------------------------------------------

    async def _run(self, work: Callable[..., T], *arguments: Any) -> T:
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def _change(self, handle: bytes, work: Callable[..., None], *arguments: Any) -> None:
        self._changes += 1
        self._cache.pop(handle, None)
        # A caller who goes away does not cut this short: the thread finishes it in any case.
        await self._run(work, *arguments)

    def _keep(self, snapshot: VaultSnapshot) -> None:
        self._cache[snapshot.record.handle] = snapshot
        if len(self._cache) > CACHED_VAULTS_MAX:
            self._cache.popitem(last=False)

    # --- on the thread -----------------------------------------------------------------------

    def _read(self, handle: bytes) -> VaultSnapshot:
        return self._with_keys(self._records.get(handle))

    def _with_keys(self, record: VaultRecord) -> VaultSnapshot:
        return VaultSnapshot(record, self._records.application_keys(record.handle))

    def _read_page(self, owner_uid: int | None, after: bytes | None, limit: int) -> list[VaultSnapshot]:
        return [self._with_keys(record) for record in self._records.list(owner_uid, after, limit)]

    def _read_named(self, owner_uid: int | None, name: str, limit: int) -> list[VaultSnapshot]:
        return [self._with_keys(record) for record in self._records.named(name, owner_uid, limit)]

    def _create(self, record: VaultRecord, keys: Sequence[ApplicationKeyRecord], vaults_max: int) -> None:
        count = self._count(record.owner_uid)
        if count >= vaults_max:
            raise LimitExceeded(f"uid {record.owner_uid} has {count} vaults, no more are taken")
        self._records.create(record, keys)
        self._count_of_uid[record.owner_uid] = count + 1
        self.vaults += 1

    def _count(self, uid: int) -> int:
        if uid not in self._count_of_uid:
            self._count_of_uid[uid] = self._records.count(uid)
        return self._count_of_uid[uid]

    def _replace(self, new: Replacement, now_ms: int) -> None:
        self._records.replace(
            new.handle,
            new.expected_snapshot_version,
            params=new.params,
            vault=new.vault,
            knowledge_factor=new.knowledge_factor,
            keys=new.keys,
            now_ms=now_ms,
        )

    def _put_key(
        self,
        handle: bytes,
        expected_snapshot_version: int,
        key: ApplicationKeyRecord,
        keys_max: int,
        now_ms: int,
    ) -> None:
        others = {known.alias for known in self._records.application_keys(handle)} - {key.alias}
        if len(others) >= keys_max:
            raise LimitExceeded(f"a vault has at most {keys_max} application keys")
        self._records.put_application_key(handle, expected_snapshot_version, key, now_ms=now_ms)

    def _delete_key(self, handle: bytes, alias: str, now_ms: int) -> None:
        self._records.delete_application_key(handle, alias, now_ms=now_ms)

    def _destroy_locked(self, handle: bytes, params: bytes, now_ms: int) -> None:
        try:
            if self._records.get(handle).params == params:
                self._records.destroy_locked(handle, now_ms=now_ms)
        except VaultNotFound:
            return  # deleted in the meantime: nothing is left to erase

    def _delete(self, handle: bytes) -> None:
        owner_uid = self._records.get(handle).owner_uid
        self._records.delete(handle)
        self._count_of_uid.pop(owner_uid, None)
        self.vaults -= 1
