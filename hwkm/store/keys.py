"""The keys of the key service in the record database: wrapped by the hardware, with their life and names.

Used by one thread at a time. Every method that changes something has made it durable when it returns
(SQLite: write-ahead log fsynced), and has changed nothing when it raises. All raise StorageMismatch
where the database is damaged and StorageUnavailable where it fails.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Iterable, Mapping, Sequence
from contextlib import AbstractContextManager
from dataclasses import dataclass
from typing import Any, Final, Self

from sqlalchemy import Connection, Delete, Update, bindparam, delete, func, insert, select, update

from hwkm.errors import (
    AliasExists,
    DomainRotating,
    HwkmError,
    KeyNotFound,
    KeyStateInvalid,
    LimitExceeded,
    StorageMismatch,
    TagInvalid,
)
from hwkm.formats.key_kind import KeyKind
from hwkm.store.database import Database
from hwkm.store.key_record import (
    EMPTY,
    AliasRecord,
    KeyRecord,
    KeySnapshot,
    KeyState,
    RecordedKey,
    VersionRecord,
)
from hwkm.store.key_rows import (
    ALIAS_COLUMNS,
    KEY_COLUMNS,
    RECORDED_COLUMNS,
    VERSION_COLUMNS,
    alias_of,
    key_of,
    key_row,
    kind_of,
    recorded_of,
    tag_of,
    version_of,
    version_row,
)
from hwkm.store.tables import domain_rotations, key_aliases, key_tags, key_versions, keys, recorded_data_keys

# Built once: SQLAlchemy keeps the compiled form of a statement object.
_KEY: Final = keys.c.key_id == bindparam("of_key")
_VERSIONS_OF: Final = key_versions.c.key_id == bindparam("of_key")
_VERSION: Final = _VERSIONS_OF & (key_versions.c.version == bindparam("of_version"))
_ALIAS: Final = (key_aliases.c.account == bindparam("of_account")) & (
    key_aliases.c.alias == bindparam("of_alias")
)
_TAGS_OF: Final = key_tags.c.key_id == bindparam("of_key")
_TAG: Final = _TAGS_OF & (key_tags.c.name == bindparam("of_name"))
_RECORDED_OF: Final = recorded_data_keys.c.key_id == bindparam("of_key")
_IS_THERE: Final = keys.c.state != KeyState.DELETED.value
_IS_OLD: Final = (key_versions.c.generation < bindparam("newest")) & key_versions.c.wrapped.is_not(None)
_AFTER_KEY: Final = keys.c.key_id > bindparam("after")
_LIMIT: Final[Any] = bindparam("count")

_NAMES: Final = key_aliases.c.key_id == bindparam("of_key")
_LIVING: Final = select(keys.c.key_id).where(
    _KEY, keys.c.state.in_([KeyState.ENABLED.value, KeyState.DISABLED.value])
)
_COUNT_ALIASES: Final = select(func.count()).select_from(key_aliases).where(_NAMES)
_COUNT_TAGS: Final = select(func.count()).select_from(key_tags).where(_TAGS_OF)
_GET: Final = select(*KEY_COLUMNS).where(_KEY)
_TOUCH: Final = (
    update(keys)
    .where(_KEY, keys.c.last_used_at_ms.is_(None) | (keys.c.last_used_at_ms < bindparam("at")))
    .values(last_operation=bindparam("operation"), last_used_at_ms=bindparam("at"))
)
_GET_VERSION: Final = select(*VERSION_COLUMNS).where(_VERSION)
_GET_VERSIONS: Final = (
    select(*VERSION_COLUMNS)
    .where(_VERSIONS_OF, key_versions.c.version > bindparam("after"))
    .order_by(key_versions.c.version)
    .limit(_LIMIT)
)
_COUNT_VERSIONS: Final = select(func.count()).select_from(key_versions).where(_VERSIONS_OF)
_LIST: Final = select(*KEY_COLUMNS).where(_AFTER_KEY, _IS_THERE).order_by(keys.c.key_id).limit(_LIMIT)
_LIST_OF_ACCOUNT: Final = _LIST.where(keys.c.account == bindparam("of_account"))
_COUNT: Final = select(func.count()).select_from(keys).where(_IS_THERE)
_DUE_DELETIONS: Final = (
    select(*KEY_COLUMNS)
    .where(keys.c.state == KeyState.PENDING_DELETION.value, keys.c.deletion_at_ms <= bindparam("now"))
    .order_by(keys.c.deletion_at_ms)
    .limit(_LIMIT)
)
_DUE_ROTATIONS: Final = (
    select(*KEY_COLUMNS)
    .where(keys.c.state == KeyState.ENABLED.value, keys.c.next_rotation_at_ms <= bindparam("now"))
    .order_by(keys.c.next_rotation_at_ms)
    .limit(_LIMIT)
)
_GET_ALIAS: Final = select(*ALIAS_COLUMNS).where(_ALIAS)
_ALIASES_OF: Final = (
    select(*ALIAS_COLUMNS).where(key_aliases.c.key_id == bindparam("of_key")).order_by(key_aliases.c.alias)
)
_ALIASES_BETWEEN: Final = (
    select(*ALIAS_COLUMNS)
    .where(key_aliases.c.key_id.between(bindparam("first"), bindparam("last")))
    .order_by(key_aliases.c.alias)
)
_LIST_ALIASES: Final = (
    select(*ALIAS_COLUMNS)
    .where(key_aliases.c.account == bindparam("of_account"), key_aliases.c.alias > bindparam("after"))
    .order_by(key_aliases.c.alias)
    .limit(_LIMIT)
)
_GET_TAGS: Final = select(key_tags.c.name, key_tags.c.value).where(_TAGS_OF).order_by(key_tags.c.name)
_LIST_RECORDED: Final = (
    select(*RECORDED_COLUMNS)
    .where(_RECORDED_OF, recorded_data_keys.c.number > bindparam("after"))
    .order_by(recorded_data_keys.c.number)
    .limit(_LIMIT)
)
_COUNT_RECORDED: Final = select(func.count()).select_from(recorded_data_keys).where(_RECORDED_OF)
_OLD: Final = (
    select(*VERSION_COLUMNS, keys.c.kind)
    .join(keys, keys.c.key_id == key_versions.c.key_id)
    .where(
        _IS_OLD,
        (key_versions.c.key_id > bindparam("after"))
        | (
            (key_versions.c.key_id == bindparam("after"))
            & (key_versions.c.version > bindparam("after_version"))
        ),
    )
    .order_by(key_versions.c.key_id, key_versions.c.version)
    .limit(_LIMIT)
)
_TO_EXPORT: Final = (
    select(*VERSION_COLUMNS, keys.c.kind)
    .join(keys, keys.c.key_id == key_versions.c.key_id)
    .where(
        key_versions.c.wrapped.is_not(None),
        (key_versions.c.key_id > bindparam("after"))
        | (
            (key_versions.c.key_id == bindparam("after"))
            & (key_versions.c.version < bindparam("after_version"))
        ),
    )
    .order_by(key_versions.c.key_id, key_versions.c.version.desc())
    .limit(_LIMIT)
)
_COUNT_OLD: Final = select(func.count()).select_from(key_versions).where(_IS_OLD)
_UNFINISHED: Final = (
    select(domain_rotations.c.generation)
    .where(domain_rotations.c.finished_at_ms.is_(None))
    .order_by(domain_rotations.c.generation.desc())
)
_COUNT_WRAPPED: Final = (
    select(func.count()).select_from(key_versions).where(key_versions.c.wrapped.is_not(None))
)


@dataclass(frozen=True, slots=True)
class Rewrapped:
    """A version under a newer domain key. ``before`` is what it was made from."""

    key_id: bytes
    version: int
    before: bytes
    wrapped: bytes
    generation: int


@dataclass(frozen=True, slots=True)
class ReEncrypted:
    """A data key that got another ciphertext: SHA-256 of the old one and of the new one."""

    key_id: bytes
    digest: bytes
    new_key_id: bytes
    new_version: int
    new_digest: bytes


class KeyStore:
    """The keys in one database."""

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

    # --- reading keys ------------------------------------------------------------------------

    def get(self, key_id: bytes) -> KeySnapshot:
        """Return a key, whatever its state.

        Raises:
            KeyNotFound: there is none.
        """
        rows = self._database.read(_GET, of_key=key_id)
        if not rows:
            raise _not_found()
        record = key_of(rows[0])
        aliases = tuple(alias_of(row).alias for row in self._database.read(_ALIASES_OF, of_key=key_id))
        tags = dict(tag_of(row) for row in self._database.read(_GET_TAGS, of_key=key_id))
        return KeySnapshot(record, self.version(record, record.version), aliases, tags or EMPTY)

    def version(self, key: KeyRecord, version: int) -> VersionRecord:
        """Return one version of a key.

        Raises:
            KeyNotFound: the key has no such version.
        """
        rows = self._database.read(_GET_VERSION, of_key=key.key_id, of_version=version)
        if not rows:
            raise _not_found()
        return version_of(rows[0], key.kind)

    def versions(self, key: KeyRecord, after: int, limit: int) -> list[VersionRecord]:
        """Return up to ``limit`` versions of a key after version ``after``."""
        rows = self._database.read(_GET_VERSIONS, of_key=key.key_id, after=after, count=limit)
        return [version_of(row, key.kind) for row in rows]

    def count_versions(self, key_id: bytes) -> int:
        """Return how many versions a key has."""
        return self._count(_COUNT_VERSIONS, of_key=key_id)

    def list(
        self, account: str | None, after: bytes, limit: int
    ) -> Sequence[tuple[KeyRecord, tuple[str, ...]]]:
        """Return up to ``limit`` keys with their aliases by key id, of one account or all; no deleted ones."""
        if account is None:
            rows = self._database.read(_LIST, after=after, count=limit)
        else:
            rows = self._database.read(_LIST_OF_ACCOUNT, of_account=account, after=after, count=limit)
        records = [key_of(row) for row in rows]
        if not records:
            return []
        aliases = defaultdict(list)
        first, last = records[0].key_id, records[-1].key_id
        for row in self._database.read(_ALIASES_BETWEEN, first=first, last=last):
            alias = alias_of(row)
            aliases[alias.key_id].append(alias.alias)
        return [(record, tuple(aliases[record.key_id])) for record in records]

    def count(self) -> int:
        """Return how many keys there are that were not deleted."""
        return self._count(_COUNT)

    def due_deletions(self, now_ms: int, limit: int) -> Sequence[KeyRecord]:
        """Return up to ``limit`` keys whose waiting period is over."""
        return [key_of(row) for row in self._database.read(_DUE_DELETIONS, now=now_ms, count=limit)]

    def due_rotations(self, now_ms: int, limit: int) -> Sequence[KeyRecord]:
        """Return up to ``limit`` enabled keys whose time to rotate has come."""
        return [key_of(row) for row in self._database.read(_DUE_ROTATIONS, now=now_ms, count=limit)]

    # --- changing keys -----------------------------------------------------------------------

    def create(self, key: KeySnapshot) -> None:
        """Add a key with its first version, aliases and tags.

        Raises:
            AliasExists: its account has such an alias.
        """
        record = key.record
        with self._transaction(AliasExists("the account has an alias of this name already")) as connection:
            connection.execute(insert(keys), key_row(record))
            connection.execute(insert(key_versions), version_row(key.current))
            for alias in key.aliases:
                connection.execute(insert(key_aliases), _alias_row(record, alias, record.created_at_ms))
            _put_tags(connection, record.key_id, key.tags)

    def change(self, key_id: bytes, *states: KeyState, **values: Any) -> None:
        """Set columns of a key that is in one of ``states``.

        Raises:
            KeyNotFound, KeyStateInvalid: there is none, or it is in another state.
        """
        allowed = keys.c.state.in_([state.value for state in states])
        with self._transaction(_contradiction()) as connection:
            statement = update(keys).where(_KEY, allowed).values(values)
            if connection.execute(statement, {"of_key": key_id}).rowcount == 0:
                raise _not_in_state(connection, key_id)

    def add_version(self, new: VersionRecord, next_rotation_at_ms: int | None) -> None:
        """Add a version to an enabled key, the one after its current, and make it the current one.

        Raises:
            KeyNotFound, KeyStateInvalid: there is no such key, or it is not enabled, or was rotated since.
        """
        expected = _KEY & (keys.c.version == new.version - 1) & (keys.c.state == KeyState.ENABLED.value)
        values: dict[str, Any] = {"version": new.version}
        if next_rotation_at_ms is not None:
            values["next_rotation_at_ms"] = next_rotation_at_ms
        with self._transaction(KeyStateInvalid("the key was rotated by somebody else")) as connection:
            connection.execute(insert(key_versions), version_row(new))
            statement = update(keys).where(expected).values(values)
            if connection.execute(statement, {"of_key": new.key_id}).rowcount == 0:
                raise _not_in_state(connection, new.key_id)

    def erase(self, key_id: bytes, now_ms: int) -> None:
        """Delete a key that is pending deletion: its wrapped versions, aliases and tags go, a tombstone stays.

        May be repeated. In SQLite the bytes are overwritten in the file and its log emptied; what
        another database, a file system or a disk keeps of old rows is beyond reach.

        Raises:
            KeyNotFound, KeyStateInvalid: there is none, or it is not pending deletion nor due.
        """
        due = (
            _KEY
            & keys.c.state.in_([KeyState.PENDING_DELETION.value, KeyState.DELETED.value])
            & (keys.c.deletion_at_ms <= now_ms)
        )
        tombstone = {
            "state": KeyState.DELETED.value,
            "description": "",
            "rotation_period_days": None,
            "next_rotation_at_ms": None,
        }
        of_key = {"of_key": key_id}
        with self._transaction(_contradiction()) as connection:
            if connection.execute(update(keys).where(due).values(tombstone), of_key).rowcount == 0:
                raise _not_in_state(connection, key_id)
            connection.execute(update(key_versions).where(_VERSIONS_OF).values(wrapped=None), of_key)
            connection.execute(delete(key_aliases).where(key_aliases.c.key_id == bindparam("of_key")), of_key)
            connection.execute(delete(key_tags).where(_TAGS_OF), of_key)
        self._database.erase_log()

    def touch(self, uses: Iterable[tuple[bytes, str, int]]) -> None:
        """Note the last use of keys: key id, operation, time. An earlier time than is noted changes nothing."""
        rows = [{"of_key": key_id, "operation": operation, "at": at_ms} for key_id, operation, at_ms in uses]
        with self._transaction(_contradiction()) as connection:
            connection.execute(_TOUCH, rows)

    def put_tags(self, key_id: bytes, tags: Mapping[str, str], tags_max: int) -> None:
        """Add tags to a living key, or change their values.

        Raises:
            KeyNotFound, KeyStateInvalid: there is no such key, or it is to be deleted.
            TagInvalid: it would have more than ``tags_max``.
        """
        with self._transaction(_not_found()) as connection:
            _require_living(connection, key_id)
            for name in tags:
                connection.execute(delete(key_tags).where(_TAG), {"of_key": key_id, "of_name": name})
            _put_tags(connection, key_id, tags)
            if connection.execute(_COUNT_TAGS, {"of_key": key_id}).scalar_one() > tags_max:
                raise TagInvalid(f"a key has at most {tags_max} tags")

    def remove_tags(self, key_id: bytes, names: Iterable[str]) -> None:
        """Remove tags; one that is not there is passed over."""
        with self._transaction(_contradiction()) as connection:
            for name in names:
                connection.execute(delete(key_tags).where(_TAG), {"of_key": key_id, "of_name": name})

    # --- aliases -----------------------------------------------------------------------------

    def alias(self, account: str, alias: str) -> AliasRecord:
        """Return an alias.

        Raises:
            KeyNotFound: the account has none of this name.
        """
        rows = self._database.read(_GET_ALIAS, of_account=account, of_alias=alias)
        if not rows:
            raise KeyNotFound(f"no alias {alias} in account {account}")
        return alias_of(rows[0])

    def aliases(self, account: str, after: str, limit: int) -> Sequence[AliasRecord]:
        """Return up to ``limit`` aliases of an account after ``after``, by name."""
        rows = self._database.read(_LIST_ALIASES, of_account=account, after=after, count=limit)
        return [alias_of(row) for row in rows]

    def aliases_of(self, key_id: bytes) -> Sequence[AliasRecord]:
        """Return all aliases of a key, by name."""
        return [alias_of(row) for row in self._database.read(_ALIASES_OF, of_key=key_id)]

    def create_alias(self, key: KeyRecord, alias: str, now_ms: int, aliases_max: int) -> None:
        """Name a living key.

        Raises:
            AliasExists: its account has such an alias.
            KeyNotFound, KeyStateInvalid: there is no such key, or it is to be deleted.
            LimitExceeded: it would have more than ``aliases_max``.
        """
        with self._transaction(AliasExists(f"account {key.account} has an alias {alias}")) as connection:
            _require_living(connection, key.key_id)
            connection.execute(insert(key_aliases), _alias_row(key, alias, now_ms))
            _require_few_aliases(connection, key.key_id, aliases_max)

    def move_alias(self, before: bytes, key: KeyRecord, alias: str, now_ms: int, aliases_max: int) -> None:
        """Let an alias that names the key ``before`` name this living key of the same account.

        Raises:
            KeyNotFound: the account has none of this name, or the key is not there.
            KeyStateInvalid: the alias names another key than ``before``, or the key is to be deleted.
            LimitExceeded: the key would have more than ``aliases_max``.
        """
        values = {"key_id": key.key_id, "updated_at_ms": now_ms}
        with self._transaction(_contradiction()) as connection:
            _require_living(connection, key.key_id)
            statement = update(key_aliases).where(_ALIAS, _NAMES).values(values)
            _change_alias(connection, statement, key.account, alias, before)
            if key.key_id != before:
                _require_few_aliases(connection, key.key_id, aliases_max)

    def delete_alias(self, key: KeyRecord, alias: str) -> None:
        """Remove an alias that names this key.

        Raises:
            KeyNotFound: the account has none of this name.
            KeyStateInvalid: it names another key.
        """
        with self._transaction(_contradiction()) as connection:
            statement = delete(key_aliases).where(_ALIAS, _NAMES)
            _change_alias(connection, statement, key.account, alias, key.key_id)

    # --- recorded data keys ------------------------------------------------------------------

    def record(self, key_id: bytes, recorded: Iterable[RecordedKey]) -> None:
        """Record data keys under their labels; their numbers are given here."""
        rows = [
            {
                "key_id": key_id,
                "version": item.version,
                "digest": item.digest,
                "label": item.label,
                "created_at_ms": item.created_at_ms,
            }
            for item in recorded
        ]
        with self._transaction(_not_found()) as connection:
            connection.execute(insert(recorded_data_keys), rows)

    def recorded(self, key_id: bytes, after: int, limit: int) -> Sequence[RecordedKey]:
        """Return up to ``limit`` recorded data keys of a key after number ``after``."""
        rows = self._database.read(_LIST_RECORDED, of_key=key_id, after=after, count=limit)
        return [recorded_of(row) for row in rows]

    def count_recorded(self, key_id: bytes) -> int:
        """Return how many data keys of a key are recorded."""
        return self._count(_COUNT_RECORDED, of_key=key_id)

    def move_recorded(self, moves: Iterable[ReEncrypted]) -> None:
        """Let records follow data keys that were re-encrypted; what is not recorded is passed over."""
        with self._transaction(_contradiction()) as connection:
            for move in moves:
                statement = (
                    update(recorded_data_keys)
                    .where(_RECORDED_OF, recorded_data_keys.c.digest == move.digest)
                    .values(key_id=move.new_key_id, version=move.new_version, digest=move.new_digest)
                )
                connection.execute(statement, {"of_key": move.key_id})

    # --- moving to another module ------------------------------------------------------------

    def to_export(self, after: tuple[bytes, int], limit: int) -> Sequence[tuple[VersionRecord, KeyKind]]:
        """Return up to ``limit`` versions by key id, the newest of a key first, those after ``after``."""
        rows = self._database.read(_TO_EXPORT, after=after[0], after_version=after[1], count=limit)
        found = []
        for row in rows:
            kind = kind_of(row[-1])
            found.append((version_of(row[:-1], kind), kind))
        return found

    def find(self, key_id: bytes) -> KeyRecord | None:
        """Return a key whatever its state, or None."""
        rows = self._database.read(_GET, of_key=key_id)
        return key_of(rows[0]) if rows else None

    def has_alias(self, account: str, alias: str) -> bool:
        """Whether the account has an alias of this name."""
        return bool(self._database.read(_GET_ALIAS, of_account=account, of_alias=alias))

    def add_moved_version(self, version: VersionRecord) -> bool:
        """Add a version that was made elsewhere; whether it was not there already.

        One that is newer than the current one becomes it: the next rotation makes the one after.
        """
        if self._database.read(_GET_VERSION, of_key=version.key_id, of_version=version.version):
            return False
        older = _KEY & (keys.c.version < version.version)
        with self._transaction(_contradiction()) as connection:
            connection.execute(insert(key_versions), version_row(version))
            connection.execute(
                update(keys).where(older).values(version=version.version), {"of_key": version.key_id}
            )
        return True

    # --- domain keys -------------------------------------------------------------------------

    def under_older(
        self, newest: int, after: tuple[bytes, int], limit: int
    ) -> Sequence[tuple[VersionRecord, KeyKind]]:
        """Return up to ``limit`` versions that are wrapped under a domain key older than ``newest``.

        In the order of (key id, version), those after ``after``.
        """
        rows = self._database.read(_OLD, newest=newest, after=after[0], after_version=after[1], count=limit)
        found = []
        for row in rows:
            kind = kind_of(row[-1])
            found.append((version_of(row[:-1], kind), kind))
        return found

    def count_under_older(self, newest: int) -> int:
        """Return how many versions are wrapped under a domain key older than ``newest``."""
        return self._count(_COUNT_OLD, newest=newest)

    def count_wrapped(self) -> int:
        """Return how many versions there are that were not erased."""
        return self._count(_COUNT_WRAPPED)

    def rewrap(self, rewrapped: Iterable[Rewrapped]) -> None:
        """Put newly wrapped versions in the place of old ones. One that has changed since is passed over."""
        with self._transaction(_contradiction()) as connection:
            for item in rewrapped:
                statement = (
                    update(key_versions)
                    .where(_VERSION, key_versions.c.wrapped == item.before)
                    .values(wrapped=item.wrapped, generation=item.generation)
                )
                connection.execute(statement, {"of_key": item.key_id, "of_version": item.version})

    def unfinished_rotation(self) -> int | None:
        """Return the generation that the domain key is being rotated to, if it is."""
        rows = self._database.read(_UNFINISHED)
        if not rows:
            return None
        generation = rows[0][0]
        if not isinstance(generation, int) or generation < 1:
            raise StorageMismatch("a rotation of the domain key in the record database is damaged")
        return generation

    def begin_rotation(self, generation: int, now_ms: int) -> None:
        """Note that the domain key is to be rotated to ``generation``, before it is.

        Raises:
            DomainRotating: that was noted already.
        """
        row = {"generation": generation, "started_at_ms": now_ms}
        # Another token may begin to count anew.
        finished = delete(domain_rotations).where(
            domain_rotations.c.generation >= generation, domain_rotations.c.finished_at_ms.is_not(None)
        )
        with self._transaction(DomainRotating("the domain key is being rotated already")) as connection:
            connection.execute(finished)
            connection.execute(insert(domain_rotations), row)

    def finish_rotation(self, generation: int, now_ms: int) -> None:
        """Note that nothing is wrapped under an older domain key any more, and that those are gone."""
        statement = update(domain_rotations).where(
            domain_rotations.c.generation <= generation, domain_rotations.c.finished_at_ms.is_(None)
        )
        with self._transaction(_contradiction()) as connection:
            connection.execute(statement.values(finished_at_ms=now_ms))

    # --- inside ------------------------------------------------------------------------------

    def _count(self, statement: Any, **parameters: Any) -> int:
        return int(self._database.read(statement, **parameters)[0][0])

    def _transaction(self, conflict: HwkmError) -> AbstractContextManager[Connection]:
        return self._database.transaction(conflict)


def _alias_row(key: KeyRecord, alias: str, now_ms: int) -> dict[str, Any]:
    return {
        "account": key.account,
        "alias": alias,
        "key_id": key.key_id,
        "created_at_ms": now_ms,
        "updated_at_ms": now_ms,
    }


def _change_alias(
    connection: Connection, statement: Update | Delete, account: str, alias: str, names: bytes
) -> None:
    """Change an alias only while it names the key that the caller was allowed to take it from."""
    where = {"of_account": account, "of_alias": alias}
    if connection.execute(statement, {**where, "of_key": names}).rowcount:
        return
    if connection.execute(_GET_ALIAS, where).first() is None:
        raise KeyNotFound(f"no alias {alias} in account {account}")
    raise KeyStateInvalid(f"{alias} was given to another key meanwhile")


def _require_few_aliases(connection: Connection, key_id: bytes, aliases_max: int) -> None:
    if connection.execute(_COUNT_ALIASES, {"of_key": key_id}).scalar_one() > aliases_max:
        raise LimitExceeded(f"a key has at most {aliases_max} aliases")


def _require_living(connection: Connection, key_id: bytes) -> None:
    if connection.execute(_LIVING, {"of_key": key_id}).first() is None:
        raise _not_in_state(connection, key_id)


def _put_tags(connection: Connection, key_id: bytes, tags: Mapping[str, str]) -> None:
    if tags:
        rows = [{"key_id": key_id, "name": name, "value": value} for name, value in tags.items()]
        connection.execute(insert(key_tags), rows)


def _not_found() -> KeyNotFound:
    return KeyNotFound("no such key")


def _not_in_state(connection: Connection, key_id: bytes) -> HwkmError:
    state = connection.execute(select(keys.c.state).where(_KEY), {"of_key": key_id}).scalar_one_or_none()
    if state is None:
        return _not_found()
    return KeyStateInvalid(f"the key is {state}, or was changed by somebody else meanwhile")


def _contradiction() -> KeyStateInvalid:
    return KeyStateInvalid("the change contradicts the state of the key")
