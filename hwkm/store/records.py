"""The record database: sealed vaults, how to stretch their knowledge factors, wrapped application keys.

It holds no secret and no attempt counter: counters live in the attempt tree, so nothing that is
deleted, replaced or restored here gives an attempt back. Used by one thread at a time. Every
method that changes something has made it durable when it returns (SQLite: write-ahead log
fsynced), and has changed nothing when it raises.
"""

from __future__ import annotations

from collections.abc import Sequence
from contextlib import AbstractContextManager
from typing import Any, Final, Self

from sqlalchemy import Connection, bindparam, delete, func, insert, select, update

from hwkm.errors import FormatError, HwkmError, SnapshotConflict, VaultExists, VaultLocked, VaultNotFound
from hwkm.store.database import Database
from hwkm.store.tables import application_keys, vaults
from hwkm.store.vault_record import (
    ApplicationKeyRecord,
    KnowledgeFactorRecord,
    VaultRecord,
    VaultState,
    check_name,
    check_params,
    vault_digest,
)
from hwkm.store.vault_rows import (
    KEY_COLUMNS,
    NO_KNOWLEDGE_FACTOR,
    VAULT_COLUMNS,
    key_of,
    key_row_of,
    knowledge_factor_row,
    record_of,
    row_of,
)

# Built once: SQLAlchemy keeps the compiled form of a statement object. The names of parameters
# are not those of columns, because an UPDATE keeps the latter for what it sets.
_OF_HANDLE: Final = vaults.c.handle == bindparam("of_handle")
_KEY_OF_HANDLE: Final = application_keys.c.handle == bindparam("of_handle")
_KEY_OF_ALIAS: Final = application_keys.c.alias == bindparam("of_alias")
_ACTIVE_SNAPSHOT: Final = (
    _OF_HANDLE
    & (vaults.c.snapshot_version == bindparam("of_snapshot"))
    & (vaults.c.state == VaultState.ACTIVE.value)
)
_OWNED: Final = vaults.c.owner_uid == bindparam("of_owner")

_GET: Final = select(*VAULT_COLUMNS).where(_OF_HANDLE)
_GET_STATE: Final = select(vaults.c.state).where(_OF_HANDLE)
_PAGE: Final = select(*VAULT_COLUMNS).order_by(vaults.c.handle).limit(bindparam("count"))
_LIST: Final = _PAGE.where(vaults.c.handle > bindparam("after"))
_NAMED: Final = _PAGE.where(vaults.c.name == bindparam("of_name"))
_COUNT: Final = select(func.count()).select_from(vaults)
# A statement of its own for one owner's vaults, so that an index leads to them.
_LIST_OWNED: Final = _LIST.where(_OWNED)
_NAMED_OWNED: Final = _NAMED.where(_OWNED)
_COUNT_OWNED: Final = _COUNT.where(_OWNED)
_GET_KEYS: Final = select(*KEY_COLUMNS).where(_KEY_OF_HANDLE).order_by(application_keys.c.alias)
_DELETE: Final = delete(vaults).where(_OF_HANDLE)
_DELETE_KEY: Final = delete(application_keys).where(_KEY_OF_HANDLE, _KEY_OF_ALIAS)
_DELETE_KEYS: Final = delete(application_keys).where(_KEY_OF_HANDLE)


class Records:
    """The vaults and application keys in one database."""

    def __init__(self, database: Database) -> None:
        """Take over an open database; use :meth:`open`."""
        self._database = database

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the database at ``url``, its schema brought up to date.

        Raises:
            ConfigError, StorageMismatch, StorageUnavailable: as :meth:`Database.open`.
        """
        return cls(Database.open(url))

    def close(self) -> None:
        """Let go of the database. May be called again."""
        self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    # --- reading -----------------------------------------------------------------------------

    def get(self, handle: bytes) -> VaultRecord:
        """Return the vault, locked or not.

        Raises:
            VaultNotFound: there is none.
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        rows = self._read(_GET, of_handle=handle)
        if not rows:
            raise _not_found(handle)
        return record_of(rows[0])

    def list(
        self, owner_uid: int | None = None, after: bytes | None = None, limit: int = 100
    ) -> list[VaultRecord]:
        """Return up to ``limit`` vaults in the order of their handles, those after ``after``.

        Of one owner, or of all if ``owner_uid`` is None.

        Raises:
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        rows = self._read_owned(_LIST, _LIST_OWNED, owner_uid, after=after or b"", count=limit)
        return [record_of(row) for row in rows]

    def named(self, name: str, owner_uid: int | None = None, limit: int = 100) -> Sequence[VaultRecord]:
        """Return up to ``limit`` vaults of this name: at most one of one owner, else of all.

        Raises:
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        rows = self._read_owned(_NAMED, _NAMED_OWNED, owner_uid, of_name=name, count=limit)
        return [record_of(row) for row in rows]

    def count(self, owner_uid: int | None = None) -> int:
        """Return how many vaults, locked ones included, one owner has, or all have.

        Raises:
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        return int(self._read_owned(_COUNT, _COUNT_OWNED, owner_uid)[0][0])

    def application_keys(self, handle: bytes) -> tuple[ApplicationKeyRecord, ...]:
        """Return the application keys of a vault by alias; none if there is no such vault.

        Raises:
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        return tuple(key_of(row) for row in self._read(_GET_KEYS, of_handle=handle))

    # --- changing ----------------------------------------------------------------------------

    def create(self, record: VaultRecord, keys: Sequence[ApplicationKeyRecord] = ()) -> None:
        """Add a vault with its application keys. Durable on return, all or nothing.

        Raises:
            VaultExists: the handle is taken, or the owner has a vault of this name.
            FormatError: two keys have one alias.
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        _check_aliases(keys)
        with self._transaction() as connection:
            connection.execute(insert(vaults), row_of(record))
            _insert_keys(connection, record.handle, keys)

    def replace(
        self,
        handle: bytes,
        expected_snapshot_version: int,
        *,
        params: bytes,
        vault: bytes,
        knowledge_factor: KnowledgeFactorRecord,
        keys: Sequence[ApplicationKeyRecord],
        now_ms: int,
    ) -> int:
        """Put a new vault blob and new application keys in place of the old; return the new snapshot version.

        Durable on return, all or nothing. Attempts charged to the counter that ``params`` name are
        not touched by this.

        Raises:
            SnapshotConflict: the vault was replaced since it was read.
            VaultNotFound, VaultLocked: there is none, or nothing is left of it.
            FormatError: two keys have one alias, or the params or the vault have no valid length.
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        _check_aliases(keys)
        check_params(params)
        new_version = expected_snapshot_version + 1
        values = {
            "params": params,
            "vault": vault,
            "vault_digest": vault_digest(vault),
            **knowledge_factor_row(knowledge_factor),
            "snapshot_version": new_version,
            "updated_at_ms": now_ms,
        }
        with self._transaction() as connection:
            self._update_snapshot(connection, handle, expected_snapshot_version, values)
            connection.execute(_DELETE_KEYS, {"of_handle": handle})
            _insert_keys(connection, handle, keys)
        return new_version

    def put_application_key(
        self, handle: bytes, expected_snapshot_version: int, key: ApplicationKeyRecord, *, now_ms: int
    ) -> None:
        """Add an application key, or replace the one of the same alias. Durable on return.

        The snapshot version says which recovery key it is wrapped under; it does not grow.

        Raises:
            SnapshotConflict: the vault was replaced since it was read; wrap the key again.
            VaultNotFound, VaultLocked: there is none, or nothing is left of it.
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        with self._transaction() as connection:
            self._update_snapshot(connection, handle, expected_snapshot_version, {"updated_at_ms": now_ms})
            connection.execute(_DELETE_KEY, {"of_handle": handle, "of_alias": key.alias})
            _insert_keys(connection, handle, [key])

    def delete_application_key(self, handle: bytes, alias: str, *, now_ms: int) -> bool:
        """Remove an application key; return whether there was one. Durable on return.

        Raises:
            VaultNotFound: there is no such vault.
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        with self._transaction() as connection:
            _update(connection, handle, {"updated_at_ms": now_ms})
            removed = connection.execute(_DELETE_KEY, {"of_handle": handle, "of_alias": alias}).rowcount
        return removed > 0

    def rename(self, handle: bytes, name: str, *, now_ms: int) -> None:
        """Give a vault another name. Durable on return.

        Raises:
            VaultExists: its owner has a vault of this name.
            VaultNotFound: there is no such vault.
            FormatError: the name is empty or too long.
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        check_name(name)
        with self._transaction() as connection:
            _update(connection, handle, {"name": name, "updated_at_ms": now_ms})

    def destroy_locked(self, handle: bytes, *, now_ms: int) -> None:
        """Erase blob, application keys and knowledge-factor parameters; a tombstone stays. May be repeated.

        Durable on return. In SQLite the bytes are overwritten in the file and its log emptied;
        what a file system or a disk keeps of old blocks is beyond reach.

        Raises:
            VaultNotFound: there is no such vault.
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        with self._transaction() as connection:
            _update(connection, handle, _tombstone(now_ms))
            connection.execute(_DELETE_KEYS, {"of_handle": handle})
        self._database.erase_log()

    def delete(self, handle: bytes) -> None:
        """Remove a vault, or the tombstone of one, and its keys. Durable on return, bytes erased as above.

        Raises:
            VaultNotFound: there is no such vault.
            StorageMismatch, StorageUnavailable: the database is damaged or failed.
        """
        with self._transaction() as connection:
            if connection.execute(_DELETE, {"of_handle": handle}).rowcount == 0:
                raise _not_found(handle)
        self._database.erase_log()

    # --- inside ------------------------------------------------------------------------------

    def _read_owned(self, every: Any, owned: Any, owner_uid: int | None, **parameters: Any) -> Sequence[Any]:
        if owner_uid is None:
            return self._read(every, **parameters)
        return self._read(owned, of_owner=owner_uid, **parameters)

    def _read(self, statement: Any, **parameters: Any) -> Sequence[Any]:
        return self._database.read(statement, **parameters)

    def _transaction(self) -> AbstractContextManager[Connection]:
        return self._database.transaction(
            VaultExists("a vault of this handle, or of this name and owner, exists")
        )

    def _update_snapshot(
        self, connection: Connection, handle: bytes, expected: int, values: dict[str, Any]
    ) -> None:
        statement = update(vaults).where(_ACTIVE_SNAPSHOT).values(values)
        if connection.execute(statement, {"of_handle": handle, "of_snapshot": expected}).rowcount == 0:
            raise _why_not(connection, handle)


def _update(connection: Connection, handle: bytes, values: dict[str, Any]) -> None:
    statement = update(vaults).where(_OF_HANDLE).values(values)
    if connection.execute(statement, {"of_handle": handle}).rowcount == 0:
        raise _not_found(handle)


def _insert_keys(connection: Connection, handle: bytes, keys: Sequence[ApplicationKeyRecord]) -> None:
    if keys:
        connection.execute(insert(application_keys), [key_row_of(handle, key) for key in keys])


def _tombstone(now_ms: int) -> dict[str, Any]:
    return {
        "vault": None,
        "vault_digest": None,
        **NO_KNOWLEDGE_FACTOR,
        "state": VaultState.LOCKED.value,
        "updated_at_ms": now_ms,
    }


def _check_aliases(keys: Sequence[ApplicationKeyRecord]) -> None:
    if len({key.alias for key in keys}) != len(keys):
        raise FormatError("two application keys have one alias")


def _why_not(connection: Connection, handle: bytes) -> HwkmError:
    """Say why no active vault of the expected snapshot was found."""
    state = connection.execute(_GET_STATE, {"of_handle": handle}).scalar_one_or_none()
    if state is None:
        return _not_found(handle)
    if state == VaultState.LOCKED.value:
        return VaultLocked("the attempt limit was reached; nothing is left of this vault")
    return SnapshotConflict("the vault was replaced by someone else since it was read; read it again")


def _not_found(handle: bytes) -> VaultNotFound:
    return VaultNotFound(f"no vault {handle.hex()}")
