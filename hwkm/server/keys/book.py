"""The keys for use from the event loop: what was used lately in memory, the database on one thread.

This daemon is the only writer (a lock on the state directory sees to that) and the thread is first
in, first out, so it is enough that a change drops what is kept when it is *asked for*, and that a
reading that was asked for before a change is not kept. A key that is kept is found without a wait.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Callable, Iterable
from concurrent.futures import ThreadPoolExecutor
from typing import Any, Final, Generic, Self, TypeVar

from hwkm.errors import KeyNotFound, LimitExceeded
from hwkm.formats.key_kind import KeyKind
from hwkm.server.keys.names import KeyNames, key_id_text
from hwkm.store.key_record import KeyRecord, KeySnapshot, VersionRecord
from hwkm.store.keys import KeyStore
from hwkm.wire.key_messages import KeyRef

ALIASES_PER_KEY: Final = 50

T = TypeVar("T")
K = TypeVar("K")


class KeyEntry:
    """A key as it is kept in memory, with what every use of it needs made ready."""

    __slots__ = ("arn", "has_recorded", "last_use", "names", "ref", "snapshot")

    def __init__(self, snapshot: KeySnapshot, arn: str, has_recorded: bool) -> None:
        self.snapshot = snapshot
        self.arn = arn
        self.has_recorded = has_recorded
        self.last_use = snapshot.record.last_use
        self.names = (key_id_text(snapshot.record.key_id), *snapshot.aliases)
        """What patterns of the policy are compared with."""
        self.ref = key_ref(snapshot.record.kind, snapshot.current) if snapshot.current.wrapped else None
        """The current version, for the core; None once the key was deleted."""

    @property
    def record(self) -> KeyRecord:
        """The key's row."""
        return self.snapshot.record


class _Kept(Generic[K, T]):
    """The things used last, a bounded number."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self._kept: OrderedDict[K, T] = OrderedDict()

    def __len__(self) -> int:
        return len(self._kept)

    def get(self, key: K) -> T | None:
        found = self._kept.get(key)
        if found is not None:
            self._kept.move_to_end(key)
        return found

    def put(self, key: K, thing: T) -> None:
        self._kept[key] = thing
        if len(self._kept) > self._count_max:
            self._kept.popitem(last=False)

    def drop(self, key: K) -> None:
        self._kept.pop(key, None)

    def clear(self) -> None:
        self._kept.clear()


class KeyBook:
    """All keys. What raises is documented at :class:`KeyStore`."""

    def __init__(
        self, store: KeyStore, thread: ThreadPoolExecutor, names: KeyNames, *, cached_max: int, keys: int
    ) -> None:
        """Take over an open store; use :meth:`open`."""
        self._store = store
        self._thread = thread
        self.names = names
        self._entries: _Kept[bytes, KeyEntry] = _Kept(cached_max)
        self._older: _Kept[tuple[bytes, int], KeyRef] = _Kept(cached_max)
        self._aliases: _Kept[tuple[str, str], bytes] = _Kept(cached_max)
        self._changes = 0
        self._uses: dict[bytes, tuple[str, int]] = {}
        self.keys = keys
        """How many there are that were not deleted."""
        self.hits = 0
        self.misses = 0

    @classmethod
    async def open(cls, url: str, names: KeyNames, *, cached_max: int) -> Self:
        """Open the database, its schema brought up to date.

        Raises:
            ConfigError, StorageMismatch, StorageUnavailable: as :meth:`KeyStore.open`.
        """
        thread = ThreadPoolExecutor(1, thread_name_prefix="keys")
        loop = asyncio.get_running_loop()
        try:
            store = await loop.run_in_executor(thread, KeyStore.open, url)
            keys = await loop.run_in_executor(thread, store.count)
        except BaseException:
            thread.shutdown()
            raise
        return cls(store, thread, names, cached_max=cached_max, keys=keys)

    async def close(self) -> None:
        """Let go of the database after the work that was asked for is done."""
        await self.run(self._store.close)
        self._thread.shutdown()

    @property
    def cached(self) -> int:
        """How many keys are kept in memory."""
        return len(self._entries)

    # --- finding -----------------------------------------------------------------------------

    def known(self, key_id: bytes) -> KeyEntry | None:
        """Return a key that is kept in memory, without a wait."""
        entry = self._entries.get(key_id)
        if entry is not None:
            self.hits += 1
        return entry

    async def load(self, key_id: bytes) -> KeyEntry:
        """Read a key that is not kept.

        Raises:
            KeyNotFound: there is none.
        """
        self.misses += 1
        changes = self._changes
        snapshot, has_recorded = await self.run(self._read, key_id)
        entry = KeyEntry(snapshot, self.names.key_arn(snapshot.record.account, key_id), has_recorded)
        if changes == self._changes:
            self._entries.put(key_id, entry)
        return entry

    def known_alias(self, account: str, alias: str) -> bytes | None:
        """Return the key id behind an alias that is kept in memory, without a wait."""
        return self._aliases.get((account, alias))

    async def load_alias(self, account: str, alias: str) -> bytes:
        """Return the key id behind an alias.

        Raises:
            KeyNotFound: the account has no such alias.
        """
        changes = self._changes
        record = await self.run(self._store.alias, account, alias)
        if changes == self._changes:
            self._aliases.put((account, alias), record.key_id)
        return record.key_id

    def known_version(self, entry: KeyEntry, version: int) -> KeyRef | None:
        """Return a version of a key that is kept in memory, without a wait."""
        if entry.ref is not None and version == entry.ref.version:
            return entry.ref
        return self._older.get((entry.record.key_id, version))

    async def load_version(self, entry: KeyEntry, version: int) -> KeyRef:
        """Return an older version of a key.

        Raises:
            KeyNotFound: there is none, or it was erased.
        """
        changes = self._changes
        record = await self.run(self._store.version, entry.record, version)
        ref = key_ref(entry.record.kind, record)
        if changes == self._changes:
            self._older.put((record.key_id, version), ref)
        return ref

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        """Do something on the database's thread, after all that was asked for before."""
        return await asyncio.get_running_loop().run_in_executor(self._thread, work, *arguments)

    async def read(self, work: Callable[..., T], *arguments: Any) -> T:
        """Call a reading method of the store: ``read(KeyStore.aliases, account, after, limit)``."""
        return await self.run(work, self._store, *arguments)

    # --- changing ----------------------------------------------------------------------------

    async def change(self, key_id: bytes, work: Callable[..., T], *arguments: Any) -> T:
        """Call a changing method of the store that is about one key: ``change(key_id, KeyStore.record, ...)``."""
        self.forget(key_id)
        return await self.run(work, self._store, *arguments)

    async def change_alias(
        self, account: str, alias: str, key_id: bytes, work: Callable[..., T], *arguments: Any
    ) -> T:
        """Call a changing method of the store that is about an alias of a key."""
        self._aliases.drop((account, alias))
        return await self.change(key_id, work, *arguments)

    async def create(self, key: KeySnapshot, *, keys_max: int) -> None:
        """Add a key.

        Raises:
            LimitExceeded: there are ``keys_max`` already.
            AliasExists: as :meth:`KeyStore.create`.
        """
        self._changes += 1
        await self.run(self._create, key, keys_max)

    async def erase(self, key_id: bytes, aliases: Iterable[tuple[str, str]], now_ms: int) -> None:
        """Delete a key for good; see :meth:`KeyStore.erase`."""
        for name in aliases:
            self._aliases.drop(name)
        self.forget(key_id)
        self._older.clear()
        await self.run(self._erase, key_id, now_ms)

    async def recount(self) -> None:
        """Count the keys anew, after some came from elsewhere."""
        self.keys = await self.run(self._store.count)

    def forget(self, key_id: bytes) -> None:
        """Drop a key from memory, since it is about to change."""
        self._changes += 1
        self._entries.drop(key_id)

    def forget_wrapped(self) -> None:
        """Drop every wrapped key from memory, since many are about to change."""
        self._changes += 1
        self._entries.clear()
        self._older.clear()

    # --- last use ----------------------------------------------------------------------------

    def used(self, entry: KeyEntry, operation: str, at_ms: int) -> None:
        """Note a use; it is written with many others, later."""
        entry.last_use = self._uses[entry.record.key_id] = (operation, at_ms)

    def last_use(self, entry: KeyEntry) -> tuple[str, int] | None:
        """The newest use of a key, written or not."""
        return self._uses.get(entry.record.key_id) or entry.last_use

    async def write_uses(self) -> None:
        """Write what :meth:`used` noted. What could not be written is kept for the next time."""
        uses, self._uses = self._uses, {}
        if not uses:
            return
        rows = [(key_id, operation, at_ms) for key_id, (operation, at_ms) in uses.items()]
        try:
            await self.run(self._store.touch, rows)
        except BaseException:
            self._uses = uses | self._uses
            raise

    # --- on the thread -----------------------------------------------------------------------

    def _read(self, key_id: bytes) -> tuple[KeySnapshot, bool]:
        return self._store.get(key_id), self._store.count_recorded(key_id) > 0

    def _create(self, key: KeySnapshot, keys_max: int) -> None:
        if self.keys >= keys_max:
            raise LimitExceeded(f"there are {self.keys} keys, no more are made")
        self._store.create(key)
        self.keys += 1

    def _erase(self, key_id: bytes, now_ms: int) -> None:
        self._store.erase(key_id, now_ms)
        self.keys = self._store.count()


def key_ref(kind: KeyKind, version: VersionRecord) -> KeyRef:
    """A version of a key as the core takes it.

    Raises:
        KeyNotFound: it was erased.
    """
    if not version.wrapped:
        raise KeyNotFound("this version of the key was deleted")
    return KeyRef(version.key_id, version.version, kind, version.wrapped)
