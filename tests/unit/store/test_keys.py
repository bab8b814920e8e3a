"""What the store of keys promises about each of its operations."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path

import pytest
from alembic import command
from sqlalchemy import insert, inspect

from hwkm.errors import (
    AliasExists,
    KeyNotFound,
    KeyStateInvalid,
    LimitExceeded,
    StorageMismatch,
    TagInvalid,
)
from hwkm.formats.key_kind import KeyKind
from hwkm.store.engine import open_engine
from hwkm.store.key_record import EMPTY, KeyState
from hwkm.store.keys import KeyStore, ReEncrypted, Rewrapped
from hwkm.store.migration import upgrade
from hwkm.store.records import Records
from hwkm.store.tables import vaults
from hwkm.store.vault_rows import row_of
from tests.unit.store.examples import handle, sqlite_url, vault
from tests.unit.store.key_examples import (
    ACCOUNT,
    CREATED_MS,
    OTHER_ACCOUNT,
    key,
    key_id,
    recorded,
    version,
    wrapped,
)

NOW = CREATED_MS + 1_000_000
PENDING = {"state": KeyState.PENDING_DELETION.value, "deletion_at_ms": NOW}


@pytest.fixture
def store(tmp_path: Path) -> Iterator[KeyStore]:
    with KeyStore.open(sqlite_url(tmp_path)) as opened:
        yield opened


@pytest.mark.parametrize("kind", list(KeyKind))
def test_a_key_comes_back_as_it_was_stored(store: KeyStore, kind: KeyKind) -> None:
    made = key(1, kind=kind, aliases=("alias/a", "alias/b"), tags={"team": "blue", "x": ""})
    store.create(made)
    assert store.get(key_id(1)) == made
    assert store.count() == 1


def test_an_unknown_key_is_not_found(store: KeyStore) -> None:
    with pytest.raises(KeyNotFound):
        store.get(key_id(9))
    with pytest.raises(KeyNotFound):
        store.change(key_id(9), KeyState.ENABLED, description="x")
    with pytest.raises(KeyNotFound):
        store.erase(key_id(9), NOW)
    with pytest.raises(KeyNotFound):
        store.put_tags(key_id(9), {"a": "b"}, 50)


def test_an_alias_is_taken_once_in_an_account_and_a_refused_key_leaves_nothing(store: KeyStore) -> None:
    store.create(key(1, aliases=("alias/a",)))
    store.create(key(2, aliases=("alias/a",), account=OTHER_ACCOUNT))
    with pytest.raises(AliasExists):
        store.create(key(3, aliases=("alias/b", "alias/a"), tags={"a": "b"}))
    with pytest.raises(AliasExists):
        store.create_alias(key(1).record, "alias/a", NOW, 50)
    assert store.count() == 2
    assert [alias.alias for alias in store.aliases(ACCOUNT, "", 10)] == ["alias/a"]


def test_aliases_move_and_go(store: KeyStore) -> None:
    store.create(key(1, aliases=("alias/a",)))
    store.create(key(2))
    store.move_alias(key_id(1), key(2).record, "alias/a", NOW, 50)
    moved = store.alias(ACCOUNT, "alias/a")
    assert (moved.key_id, moved.created_at_ms, moved.updated_at_ms) == (key_id(2), CREATED_MS, NOW)
    assert [alias.alias for alias in store.aliases_of(key_id(2))] == ["alias/a"]
    store.delete_alias(key(2).record, "alias/a")
    for gone in (
        lambda: store.alias(ACCOUNT, "alias/a"),
        lambda: store.move_alias(key_id(2), key(1).record, "alias/a", NOW, 50),
        lambda: store.delete_alias(key(2).record, "alias/a"),
    ):
        with pytest.raises(KeyNotFound):
            gone()


def test_an_alias_is_taken_only_from_the_key_that_it_was_seen_to_name(store: KeyStore) -> None:
    for number, aliases in ((1, ()), (2, ("alias/a",)), (3, ())):
        store.create(key(number, aliases=aliases))
    with pytest.raises(KeyStateInvalid, match="another key meanwhile"):
        store.move_alias(key_id(1), key(3).record, "alias/a", NOW, 50)
    with pytest.raises(KeyStateInvalid, match="another key meanwhile"):
        store.delete_alias(key(1).record, "alias/a")
    assert store.alias(ACCOUNT, "alias/a").key_id == key_id(2)


def test_the_limit_of_aliases_is_kept_by_the_change_itself(store: KeyStore) -> None:
    store.create(key(1, aliases=("alias/a", "alias/b")))
    store.create(key(2, aliases=("alias/c",)))
    with pytest.raises(LimitExceeded):
        store.create_alias(key(1).record, "alias/d", NOW, 2)
    with pytest.raises(LimitExceeded):
        store.move_alias(key_id(2), key(1).record, "alias/c", NOW, 2)
    store.move_alias(key_id(1), key(1).record, "alias/a", NOW, 2)
    assert [alias.alias for alias in store.aliases_of(key_id(1))] == ["alias/a", "alias/b"]
    assert [alias.alias for alias in store.aliases_of(key_id(2))] == ["alias/c"]


def test_the_limit_of_tags_is_kept_by_the_change_itself(store: KeyStore) -> None:
    store.create(key(1, tags={"a": "1", "b": "2"}))
    with pytest.raises(TagInvalid):
        store.put_tags(key_id(1), {"a": "9", "c": "3"}, 2)
    assert store.get(key_id(1)).tags == {"a": "1", "b": "2"}


def test_a_key_that_is_to_be_deleted_gets_no_name_and_no_tag(store: KeyStore) -> None:
    store.create(key(1))
    store.create(key(2, aliases=("alias/a",)))
    store.change(key_id(1), KeyState.ENABLED, **PENDING)
    changes: list[Callable[[], None]] = [
        lambda: store.create_alias(key(1).record, "alias/b", NOW, 50),
        lambda: store.move_alias(key_id(2), key(1).record, "alias/a", NOW, 50),
        lambda: store.put_tags(key_id(1), {"a": "b"}, 50),
    ]
    for change in changes:
        with pytest.raises(KeyStateInvalid, match="pending"):
            change()
    assert store.get(key_id(1)).aliases == ()
    assert store.alias(ACCOUNT, "alias/a").key_id == key_id(2)


def test_listing_goes_page_by_page_through_one_account_or_all(store: KeyStore) -> None:
    for number in range(1, 8):
        account = ACCOUNT if number % 2 else OTHER_ACCOUNT
        store.create(key(number, account=account, aliases=(f"alias/{number}",)))
    assert [record.key_id for record, _ in store.list(None, b"", 4)] == [key_id(n) for n in (1, 2, 3, 4)]
    page = store.list(ACCOUNT, key_id(1), 2)
    assert [(record.key_id, aliases) for record, aliases in page] == [
        (key_id(3), ("alias/3",)),
        (key_id(5), ("alias/5",)),
    ]
    assert store.list(ACCOUNT, key_id(7), 2) == []
    assert [alias.alias for alias in store.aliases(ACCOUNT, "alias/3", 10)] == ["alias/5", "alias/7"]


def test_tags_are_added_changed_and_removed(store: KeyStore) -> None:
    store.create(key(1, tags={"a": "1", "b": "2"}))
    store.put_tags(key_id(1), {"b": "3", "c": "4"}, 50)
    store.remove_tags(key_id(1), ["a", "never"])
    assert store.get(key_id(1)).tags == {"b": "3", "c": "4"}


def test_a_state_changes_only_from_those_that_are_named(store: KeyStore) -> None:
    store.create(key(1))
    store.change(key_id(1), KeyState.ENABLED, state=KeyState.DISABLED.value)
    with pytest.raises(KeyStateInvalid, match="disabled"):
        store.change(key_id(1), KeyState.ENABLED, description="other")
    assert store.get(key_id(1)).record == replace(key(1).record, state=KeyState.DISABLED)


def test_a_change_that_contradicts_itself_is_refused(store: KeyStore) -> None:
    store.create(key(1))
    with pytest.raises(KeyStateInvalid):
        store.change(key_id(1), KeyState.ENABLED, state=KeyState.PENDING_DELETION.value)
    assert store.get(key_id(1)) == key(1)


def test_a_rotation_adds_a_version_and_keeps_the_old_one(store: KeyStore) -> None:
    store.create(key(1))
    store.add_version(version(1, 2), None)
    snapshot = store.get(key_id(1))
    assert (snapshot.record.version, snapshot.current) == (2, version(1, 2))
    assert store.version(snapshot.record, 1) == version(1, 1)
    assert store.versions(snapshot.record, 0, 10) == [version(1, 1), version(1, 2)]
    assert store.versions(snapshot.record, 1, 10) == [version(1, 2)]
    with pytest.raises(KeyNotFound):
        store.version(snapshot.record, 3)


@pytest.mark.parametrize("number", [2, 4])
def test_a_version_that_is_not_the_next_one_is_refused_and_leaves_nothing(
    store: KeyStore, number: int
) -> None:
    store.create(key(1))
    store.add_version(version(1, 2), None)
    with pytest.raises(KeyStateInvalid):
        store.add_version(version(1, number), None)
    assert store.count_versions(key_id(1)) == 2
    assert store.get(key_id(1)).record.version == 2


def test_a_disabled_key_is_not_rotated(store: KeyStore) -> None:
    store.create(key(1))
    store.change(key_id(1), KeyState.ENABLED, state=KeyState.DISABLED.value)
    with pytest.raises(KeyStateInvalid, match="disabled"):
        store.add_version(version(1, 2), None)
    assert store.count_versions(key_id(1)) == 1


def test_what_is_due_is_found_when_its_time_has_come(store: KeyStore) -> None:
    for number in (1, 2, 3):
        store.create(key(number))
    store.change(key_id(1), KeyState.ENABLED, rotation_period_days=90, next_rotation_at_ms=NOW)
    store.change(key_id(2), KeyState.ENABLED, **PENDING)
    assert store.due_rotations(NOW - 1, 10) == store.due_deletions(NOW - 1, 10) == []
    assert [record.key_id for record in store.due_rotations(NOW, 10)] == [key_id(1)]
    assert [record.key_id for record in store.due_deletions(NOW, 10)] == [key_id(2)]
    store.add_version(version(1, 2), NOW + 5)
    assert store.due_rotations(NOW, 10) == []


def test_a_key_is_erased_when_it_is_due_and_leaves_a_tombstone(store: KeyStore) -> None:
    store.create(key(1, aliases=("alias/a",), tags={"a": "b"}))
    store.add_version(version(1, 2), None)
    store.record(key_id(1), [recorded("file 1")])
    with pytest.raises(KeyStateInvalid):
        store.erase(key_id(1), NOW)
    store.change(key_id(1), KeyState.ENABLED, **PENDING)
    with pytest.raises(KeyStateInvalid):
        store.erase(key_id(1), NOW - 1)
    assert store.get(key_id(1)).current.wrapped
    store.erase(key_id(1), NOW)
    store.erase(key_id(1), NOW)
    snapshot = store.get(key_id(1))
    assert snapshot.record.state is KeyState.DELETED
    assert (snapshot.aliases, snapshot.tags, snapshot.record.description) == ((), EMPTY, "")
    assert [item.wrapped for item in store.versions(snapshot.record, 0, 10)] == [b"", b""]
    assert store.count() == store.count_wrapped() == 0
    assert store.list(None, b"", 10) == []
    assert store.count_recorded(key_id(1)) == 1


def test_an_erased_key_leaves_no_wrapped_byte_behind_while_the_database_is_open(tmp_path: Path) -> None:
    def on_disk(needle: bytes) -> bool:
        return any(needle in path.read_bytes() for path in tmp_path.iterdir())

    with KeyStore.open(sqlite_url(tmp_path)) as store:
        for number in range(60):
            store.create(key(number))
        store.add_version(version(30, 2), None)
        needles = [wrapped(30, number)[29:93] for number in (1, 2)]
        assert all(map(on_disk, needles))
        store.change(key_id(30), KeyState.ENABLED, **PENDING)
        store.erase(key_id(30), NOW)
        assert not any(map(on_disk, needles))
        assert on_disk(wrapped(31)[29:93])


def test_the_last_use_never_goes_back(store: KeyStore) -> None:
    store.create(key(1))
    store.touch([(key_id(1), "key.decrypt", NOW), (key_id(9), "key.decrypt", NOW)])
    store.touch([(key_id(1), "key.encrypt", NOW - 1)])
    assert store.get(key_id(1)).record.last_use == ("key.decrypt", NOW)


def test_recorded_data_keys_are_listed_and_follow_their_re_encryption(store: KeyStore) -> None:
    store.create(key(1))
    store.create(key(2))
    items = [recorded(f"file {number}") for number in range(5)]
    store.record(key_id(1), items)
    page = store.recorded(key_id(1), 0, 3)
    assert [item.label for item in page] == ["file 0", "file 1", "file 2"]
    assert [item.label for item in store.recorded(key_id(1), page[-1].number, 3)] == ["file 3", "file 4"]
    moves = [
        ReEncrypted(key_id(1), items[0].digest, key_id(2), 1, bytes(32)),
        ReEncrypted(key_id(1), b"\xff" * 32, key_id(2), 1, b"\x01" * 32),
    ]
    store.move_recorded(moves)
    assert (store.count_recorded(key_id(1)), store.count_recorded(key_id(2))) == (4, 1)
    assert [item.digest for item in store.recorded(key_id(2), 0, 3)] == [bytes(32)]


def test_what_is_under_an_older_domain_key_is_walked_through_and_replaced(store: KeyStore) -> None:
    for number in range(1, 5):
        store.create(key(number))
    store.add_version(version(2, 2), None)
    first = store.under_older(2, (b"", 0), 3)
    assert [(item.key_id, item.version) for item, _ in first] == [
        (key_id(1), 1),
        (key_id(2), 1),
        (key_id(2), 2),
    ]
    rest = store.under_older(2, (key_id(2), 2), 3)
    assert [item.key_id for item, _ in rest] == [key_id(3), key_id(4)]
    assert store.count_under_older(2) == store.count_wrapped() == 5
    store.rewrap(
        [
            Rewrapped(key_id(1), 1, wrapped(1), wrapped(1, generation=2), 2),
            Rewrapped(key_id(2), 1, b"changed since", wrapped(2, generation=2), 2),
        ]
    )
    assert store.count_under_older(2) == 4
    assert store.get(key_id(1)).current == version(1, generation=2)
    assert store.version(key(2).record, 1) == version(2)


# --- damage and migration --------------------------------------------------------------------


def alter(directory: Path, statement: str, *parameters: object) -> None:
    database = sqlite3.connect(directory / "records.db")
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute(statement, parameters)
    database.commit()
    database.close()


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("account", "short"),
        ("account", "00000000000x"),
        ("kind", "rot13"),
        ("kind", "hmac_256"),
        ("state", "open"),
        ("state", "deleted"),
        ("description", b"bytes"),
        ("version", 0),
        ("version", "two"),
        ("rotation_period_days", 90),
        ("next_rotation_at_ms", 5),
        ("created_at_ms", "yesterday"),
        ("deletion_at_ms", 5),
        ("last_operation", "key.decrypt"),
    ],
)
def test_a_damaged_key_is_a_typed_error(tmp_path: Path, column: str, value: object) -> None:
    with KeyStore.open(sqlite_url(tmp_path)) as store:
        store.create(key(1))
    alter(tmp_path, f"UPDATE keys SET {column} = ?", value)
    with KeyStore.open(sqlite_url(tmp_path)) as store, pytest.raises(StorageMismatch):
        store.get(key_id(1))


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("wrapped", b""),
        ("wrapped", "text"),
        ("wrapped", wrapped(2)),
        ("wrapped", wrapped(1, 2)),
        ("wrapped", wrapped(1, kind=KeyKind.HMAC_256)),
        ("wrapped", wrapped(1, generation=2)),
        ("wrapped", wrapped(1)[:40]),
        ("public_key", b"a public key of a secret key"),
        ("public_key", "text"),
        ("generation", 2),
        ("generation", "one"),
        ("created_at_ms", "yesterday"),
        ("cause", "boredom"),
    ],
)
def test_a_damaged_or_swapped_version_is_a_typed_error(tmp_path: Path, column: str, value: object) -> None:
    with KeyStore.open(sqlite_url(tmp_path)) as store:
        store.create(key(1))
    alter(tmp_path, f"UPDATE key_versions SET {column} = ?", value)
    with KeyStore.open(sqlite_url(tmp_path)) as store, pytest.raises(StorageMismatch):
        store.get(key_id(1))


@pytest.mark.parametrize(
    ("statement", "read"),
    [
        ("UPDATE key_aliases SET alias = 'a'", lambda store: store.get(key_id(1))),
        ("UPDATE key_aliases SET account = 'a'", lambda store: store.aliases_of(key_id(1))),
        ("UPDATE key_tags SET value = x'00'", lambda store: store.get(key_id(1))),
        ("UPDATE recorded_data_keys SET digest = x'00'", lambda store: store.recorded(key_id(1), 0, 9)),
        ("UPDATE recorded_data_keys SET label = x'00'", lambda store: store.recorded(key_id(1), 0, 9)),
        ("UPDATE keys SET kind = 'rot13'", lambda store: store.under_older(2, (b"", 0), 9)),
    ],
)
def test_what_belongs_to_a_key_is_checked_too(
    tmp_path: Path, statement: str, read: Callable[[KeyStore], object]
) -> None:
    with KeyStore.open(sqlite_url(tmp_path)) as store:
        store.create(key(1, aliases=("alias/a",), tags={"a": "b"}))
        store.record(key_id(1), [recorded("file")])
    alter(tmp_path, statement)
    with KeyStore.open(sqlite_url(tmp_path)) as store, pytest.raises(StorageMismatch):
        read(store)


def test_a_database_of_vaults_gets_the_tables_of_keys_and_keeps_its_vaults(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    whole_upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", lambda config, _revision: whole_upgrade(config, "0001"))
    upgrade(sqlite_url(tmp_path))
    monkeypatch.undo()
    engine = open_engine(sqlite_url(tmp_path))
    assert inspect(engine).get_table_names() == ["alembic_version", "application_keys", "vaults"]
    with engine.begin() as connection:
        connection.execute(insert(vaults), row_of(vault(1)))
    engine.dispose()
    with KeyStore.open(sqlite_url(tmp_path)) as store, Records.open(sqlite_url(tmp_path)) as records:
        store.create(key(1))
        assert store.get(key_id(1)) == key(1)
        assert records.get(handle(1)) == vault(1)


def test_two_connections_do_not_get_in_each_others_way(tmp_path: Path) -> None:
    with Records.open(sqlite_url(tmp_path)) as records, KeyStore.open(sqlite_url(tmp_path)) as store:
        for number in range(20):
            records.create(vault(number))
            store.create(key(number))
        assert records.count() == store.count() == 20
