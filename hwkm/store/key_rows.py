"""Between the records of the key service and database rows. A row is untrusted: it is checked like any input."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any, Final

from hwkm.errors import FormatError, StorageMismatch
from hwkm.formats.key_kind import KEY_ID_BYTES, VERSION_MAX, KeyKind, KeyName
from hwkm.formats.wrapped_key import WrappedKey
from hwkm.store.key_record import (
    AliasRecord,
    KeyRecord,
    KeyState,
    RecordedKey,
    VersionCause,
    VersionRecord,
)
from hwkm.store.tables import key_aliases, key_versions, keys, recorded_data_keys

# In the order in which the functions below take them apart.
KEY_COLUMNS: Final = (
    keys.c.key_id,
    keys.c.account,
    keys.c.kind,
    keys.c.state,
    keys.c.description,
    keys.c.version,
    keys.c.rotation_period_days,
    keys.c.next_rotation_at_ms,
    keys.c.created_at_ms,
    keys.c.deletion_at_ms,
    keys.c.last_operation,
    keys.c.last_used_at_ms,
)
VERSION_COLUMNS: Final = (
    key_versions.c.key_id,
    key_versions.c.version,
    key_versions.c.wrapped,
    key_versions.c.public_key,
    key_versions.c.generation,
    key_versions.c.created_at_ms,
    key_versions.c.cause,
)
ALIAS_COLUMNS: Final = (
    key_aliases.c.account,
    key_aliases.c.alias,
    key_aliases.c.key_id,
    key_aliases.c.created_at_ms,
    key_aliases.c.updated_at_ms,
)
RECORDED_COLUMNS: Final = (
    recorded_data_keys.c.number,
    recorded_data_keys.c.version,
    recorded_data_keys.c.digest,
    recorded_data_keys.c.label,
    recorded_data_keys.c.created_at_ms,
)
_WORDS_MAX: Final = 8192


def key_row(record: KeyRecord) -> dict[str, Any]:
    """Return the column values of a key."""
    operation, used_at = record.last_use or (None, None)
    return {
        "key_id": record.key_id,
        "account": record.account,
        "kind": record.kind.value,
        "state": record.state.value,
        "description": record.description,
        "version": record.version,
        "rotation_period_days": record.rotation_period_days,
        "next_rotation_at_ms": record.next_rotation_at_ms,
        "created_at_ms": record.created_at_ms,
        "deletion_at_ms": record.deletion_at_ms,
        "last_operation": operation,
        "last_used_at_ms": used_at,
    }


def version_row(record: VersionRecord) -> dict[str, Any]:
    """Return the column values of a version."""
    return {
        "key_id": record.key_id,
        "version": record.version,
        "wrapped": record.wrapped or None,
        "public_key": record.public_key,
        "generation": record.generation,
        "created_at_ms": record.created_at_ms,
        "cause": record.cause.value,
    }


def key_of(row: Sequence[Any]) -> KeyRecord:
    """Return the key in a row of ``KEY_COLUMNS``.

    Raises:
        StorageMismatch: the row is damaged.
    """
    key_id, account, kind, state, description, version, period, due, created, deletion, operation, used = row
    try:
        _check(isinstance(key_id, bytes) and len(key_id) == KEY_ID_BYTES)
        _check(_is_account(account) and _is_text(description))
        _check(_is_number(version, 1, VERSION_MAX) and _is_number(created))
        _check((period is None) == (due is None) and (operation is None) == (used is None))
        _check(period is None or (_is_number(period, 1, 36_500) and _is_number(due)))
        _check(operation is None or (_is_text(operation) and _is_number(used)))
        found = KeyState(state)
        _check((deletion is not None) == (found in (KeyState.PENDING_DELETION, KeyState.DELETED)))
        _check(deletion is None or _is_number(deletion))
        return KeyRecord(
            key_id, account, KeyKind(kind), found, description, version, period, due, created, deletion,
            None if operation is None else (operation, used),
        )  # fmt: skip
    except ValueError as exc:
        raise _damaged("a key") from exc


def version_of(row: Sequence[Any], kind: KeyKind) -> VersionRecord:
    """Return the version in a row of ``VERSION_COLUMNS``, of a key of this kind.

    A wrapped key says itself what it is of. One in the wrong row is found here already; the hardware
    would refuse it all the same.

    Raises:
        StorageMismatch: the row is damaged.
    """
    key_id, version, wrapped, public_key, generation, created, cause = row
    try:
        _check(isinstance(wrapped, bytes | None) and isinstance(public_key, bytes))
        _check(_is_number(created) and _is_number(generation, 1, 2**32 - 1))
        _check(bool(public_key) != kind.is_secret_key)
        name = KeyName(key_id, version)
        if wrapped is not None:
            parsed = WrappedKey.parse(wrapped)
            _check((parsed.name, parsed.kind, parsed.generation) == (name, kind, generation))
        return VersionRecord(
            key_id, version, wrapped or b"", public_key, generation, created, VersionCause(cause)
        )
    except (ValueError, TypeError, FormatError) as exc:
        raise _damaged("a version of a key") from exc


def alias_of(row: Sequence[Any]) -> AliasRecord:
    """Return the alias in a row of ``ALIAS_COLUMNS``.

    Raises:
        StorageMismatch: the row is damaged.
    """
    account, alias, key_id, created, updated = row
    try:
        _check(_is_account(account) and _is_text(alias) and alias.startswith("alias/"))
        _check(isinstance(key_id, bytes) and len(key_id) == KEY_ID_BYTES)
        _check(_is_number(created) and _is_number(updated))
    except ValueError as exc:
        raise _damaged("an alias") from exc
    return AliasRecord(account, alias, key_id, created, updated)


def recorded_of(row: Sequence[Any]) -> RecordedKey:
    """Return the recorded data key in a row of ``RECORDED_COLUMNS``.

    Raises:
        StorageMismatch: the row is damaged.
    """
    number, version, digest, label, created = row
    try:
        _check(_is_number(number) and _is_number(version, 1, VERSION_MAX) and _is_number(created))
        _check(isinstance(digest, bytes) and len(digest) == 32 and _is_text(label))
    except ValueError as exc:
        raise _damaged("a recorded data key") from exc
    return RecordedKey(number, version, digest, label, created)


def tag_of(row: Sequence[Any]) -> tuple[str, str]:
    """Return the tag in a row of name and value.

    Raises:
        StorageMismatch: the row is damaged.
    """
    name, value = row
    if not (_is_text(name) and _is_text(value)):
        raise _damaged("a tag")
    return name, value


def kind_of(text: Any) -> KeyKind:
    """Return the kind in a column of kinds.

    Raises:
        StorageMismatch: there is no such kind.
    """
    try:
        return KeyKind(text)
    except ValueError as exc:
        raise _damaged("a key") from exc


def _check(holds: bool) -> None:
    if not holds:
        raise ValueError


def _is_number(value: Any, least: int = 0, most: int = 2**53) -> bool:
    return isinstance(value, int) and least <= value <= most


def _is_text(value: Any) -> bool:
    return isinstance(value, str) and len(value) <= _WORDS_MAX


def _is_account(value: Any) -> bool:
    return isinstance(value, str) and len(value) == 12 and value.isascii() and value.isdigit()


def _damaged(what: str) -> StorageMismatch:
    return StorageMismatch(f"{what} in the record database is damaged")
