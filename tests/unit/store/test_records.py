"""What the record database promises about each of its operations."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable, Iterator
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
from sqlalchemy import Select
from sqlalchemy.dialects.sqlite.pysqlite import SQLiteDialect_pysqlite

from hwkm.errors import FormatError, SnapshotConflict, VaultExists, VaultLocked, VaultNotFound
from hwkm.store.migration import upgrade
from hwkm.store.records import (
    _COUNT_OWNED,
    _GET,
    _GET_KEYS,
    _LIST,
    _LIST_OWNED,
    _NAMED,
    _NAMED_OWNED,
    Records,
)
from hwkm.store.vault_record import ApplicationKeyRecord, KnowledgeFactorRecord, VaultState
from tests.unit.store.examples import (
    KEYS,
    PASSWORD_FACTOR,
    PATTERN_FACTOR,
    PIN_FACTOR,
    blob,
    handle,
    sqlite_url,
    vault,
)

NEW_PARAMS = b"\x04" + b"\x07" * 76 + handle(1)


@pytest.fixture
def records(tmp_path: Path) -> Iterator[Records]:
    with Records.open(sqlite_url(tmp_path)) as opened:
        yield opened


def replace_vault(records: Records, expected: int, keys: tuple[ApplicationKeyRecord, ...] = ()) -> int:
    return records.replace(
        handle(1),
        expected,
        params=NEW_PARAMS,
        vault=blob("new"),
        knowledge_factor=PASSWORD_FACTOR,
        keys=keys,
        now_ms=1_800_000_000_000,
    )


@pytest.mark.parametrize("factor", [PIN_FACTOR, PASSWORD_FACTOR, PATTERN_FACTOR])
def test_a_vault_comes_back_as_it_was_stored(records: Records, factor: KnowledgeFactorRecord) -> None:
    record = replace(vault(1), knowledge_factor=factor)
    records.create(record, KEYS)
    assert records.get(handle(1)) == record
    assert records.application_keys(handle(1)) == KEYS


def test_a_vault_is_there_after_closing_and_opening(tmp_path: Path) -> None:
    with Records.open(sqlite_url(tmp_path)) as records:
        records.create(vault(1), KEYS)
    with Records.open(sqlite_url(tmp_path)) as records:
        assert records.get(handle(1)) == vault(1)


def test_ids_of_owners_may_use_all_32_bits(records: Records) -> None:
    record = vault(1, owner=2**32 - 1)
    records.create(record)
    assert records.get(handle(1)) == record


@pytest.mark.parametrize("unknown", [handle(2), b"", bytes(17), b"x" * 1000])
def test_an_unknown_handle_is_not_found(records: Records, unknown: bytes) -> None:
    records.create(vault(1))
    with pytest.raises(VaultNotFound):
        records.get(unknown)
    assert records.application_keys(unknown) == ()


def test_a_handle_is_taken_once_whoever_owns_it(records: Records) -> None:
    records.create(vault(1))
    with pytest.raises(VaultExists):
        records.create(vault(1, owner=2000, name="other"))
    assert records.get(handle(1)) == vault(1)


def test_a_name_is_taken_once_for_each_owner(records: Records) -> None:
    records.create(vault(1, name="phone"))
    records.create(vault(2, name="phone", owner=2000))
    with pytest.raises(VaultExists):
        records.create(vault(3, name="phone"), KEYS)
    assert records.count() == 2
    assert records.application_keys(handle(3)) == ()


def test_two_keys_of_one_alias_are_refused_and_nothing_is_stored(records: Records) -> None:
    with pytest.raises(FormatError, match="alias"):
        records.create(vault(1), [KEYS[0], KEYS[0]])
    assert records.count() == 0


def test_replacing_changes_everything_sealed_at_once(records: Records) -> None:
    records.create(vault(1), KEYS)
    new_keys = (ApplicationKeyRecord("documents", b"\x03" * 62),)
    assert replace_vault(records, 1, new_keys) == 2
    assert records.application_keys(handle(1)) == new_keys
    assert records.get(handle(1)) == replace(
        vault(1),
        params=NEW_PARAMS,
        vault=blob("new"),
        knowledge_factor=PASSWORD_FACTOR,
        snapshot_version=2,
        updated_at_ms=1_800_000_000_000,
    )


def test_of_two_who_replace_the_same_snapshot_one_is_told(records: Records) -> None:
    records.create(vault(1), KEYS)
    replace_vault(records, 1)
    before = records.get(handle(1))
    with pytest.raises(SnapshotConflict):
        replace_vault(records, 1, KEYS)
    assert records.get(handle(1)) == before
    assert records.application_keys(handle(1)) == ()


def test_replacing_with_two_keys_of_one_alias_changes_nothing(records: Records) -> None:
    records.create(vault(1), KEYS)
    with pytest.raises(FormatError):
        replace_vault(records, 1, (KEYS[0], KEYS[0]))
    assert records.get(handle(1)) == vault(1)
    assert records.application_keys(handle(1)) == KEYS


def test_what_is_not_there_cannot_be_replaced(records: Records) -> None:
    with pytest.raises(VaultNotFound):
        replace_vault(records, 1)


@pytest.mark.parametrize("change", [{"params": b"short"}, {"vault": b""}])
def test_replacing_with_malformed_bytes_is_refused(records: Records, change: dict[str, bytes]) -> None:
    records.create(vault(1))
    sealed = {"params": NEW_PARAMS, "vault": blob("new"), **change}
    with pytest.raises(FormatError):
        records.replace(handle(1), 1, knowledge_factor=PIN_FACTOR, keys=(), now_ms=1, **sealed)
    assert records.get(handle(1)) == vault(1)


def test_vaults_are_listed_page_by_page_in_the_order_of_their_handles(records: Records) -> None:
    for number in (5, 3, 1, 4, 2):
        records.create(vault(number))
    first = records.list(limit=2)
    second = records.list(after=first[-1].handle, limit=2)
    third = records.list(after=second[-1].handle, limit=2)
    assert [record.handle for record in first + second + third] == [handle(n) for n in range(1, 6)]
    assert records.list(after=handle(5)) == []


def test_listing_and_counting_by_owner_leave_out_others(records: Records) -> None:
    records.create(vault(1, owner=0))
    records.create(vault(2, owner=1000))
    assert [record.handle for record in records.list(0)] == [handle(1)]
    assert [records.count(0), records.count(1000), records.count(5), records.count()] == [1, 1, 0, 2]


@pytest.mark.parametrize("statement", [_LIST, _LIST_OWNED, _COUNT_OWNED, _GET, _GET_KEYS])
def test_no_operation_for_one_vault_or_owner_scans_a_table(tmp_path: Path, statement: Select[Any]) -> None:
    plan = query_plan(tmp_path, statement)
    assert not [step for step in plan if step.startswith("SCAN") or "TEMP B-TREE" in step]


@pytest.mark.parametrize("statement", [_NAMED, _NAMED_OWNED])
def test_a_vault_is_found_by_name_without_a_scan(tmp_path: Path, statement: Select[Any]) -> None:
    assert not [step for step in query_plan(tmp_path, statement) if step.startswith("SCAN")]


def test_vaults_are_found_by_name_for_one_owner_and_for_all(records: Records) -> None:
    records.create(vault(1, name="phone"))
    records.create(vault(2, name="phone", owner=2000))
    records.create(vault(3, name="tablet"))
    assert [record.handle for record in records.named("phone")] == [handle(1), handle(2)]
    assert [record.handle for record in records.named("phone", 2000)] == [handle(2)]
    assert [record.handle for record in records.named("phone", limit=1)] == [handle(1)]
    assert records.named("watch") == []


def query_plan(directory: Path, statement: Select[Any]) -> list[str]:
    upgrade(sqlite_url(directory))
    sql = str(statement.compile(dialect=SQLiteDialect_pysqlite()))
    database = sqlite3.connect(directory / "records.db")
    plan = [row[3] for row in database.execute(f"EXPLAIN QUERY PLAN {sql}", (0,) * sql.count("?"))]
    database.close()
    assert plan
    return plan


def test_an_application_key_is_added_replaced_and_deleted(records: Records) -> None:
    records.create(vault(1))
    records.put_application_key(handle(1), 1, KEYS[0], now_ms=5)
    other = ApplicationKeyRecord("backup", b"\x09" * 62, b"")
    records.put_application_key(handle(1), 1, other, now_ms=6)
    assert records.application_keys(handle(1)) == (other,)
    assert records.delete_application_key(handle(1), "backup", now_ms=7) is True
    assert records.delete_application_key(handle(1), "backup", now_ms=8) is False
    assert records.application_keys(handle(1)) == ()
    assert records.get(handle(1)) == replace(vault(1), updated_at_ms=8)


def test_a_key_wrapped_under_a_recovery_key_that_was_replaced_is_refused(records: Records) -> None:
    records.create(vault(1))
    replace_vault(records, 1)
    with pytest.raises(SnapshotConflict):
        records.put_application_key(handle(1), 1, KEYS[0], now_ms=5)
    assert records.application_keys(handle(1)) == ()


def test_metadata_absent_and_empty_are_kept_apart(records: Records) -> None:
    keys = (ApplicationKeyRecord("absent", b"w"), ApplicationKeyRecord("empty", b"w", b""))
    records.create(vault(1), keys)
    assert records.application_keys(handle(1)) == keys


def test_a_vault_is_renamed_unless_its_owner_uses_the_name(records: Records) -> None:
    records.create(vault(1))
    records.create(vault(2, name="taken"))
    with pytest.raises(VaultExists):
        records.rename(handle(1), "taken", now_ms=5)
    records.rename(handle(1), "été 日本", now_ms=6)
    assert records.get(handle(1)) == replace(vault(1), name="été 日本", updated_at_ms=6)


def test_deleting_takes_the_application_keys_along(records: Records) -> None:
    records.create(vault(1), KEYS)
    records.delete(handle(1))
    assert records.application_keys(handle(1)) == ()
    records.create(vault(1))
    assert records.application_keys(handle(1)) == ()


def test_a_locked_vault_is_a_tombstone_that_keeps_its_name_and_params(records: Records) -> None:
    records.create(vault(1), KEYS)
    records.destroy_locked(handle(1), now_ms=5)
    tombstone = replace(vault(1), vault=b"", knowledge_factor=None, state=VaultState.LOCKED, updated_at_ms=5)
    assert records.get(handle(1)) == tombstone
    assert records.get(handle(1)).vault_digest is None
    assert records.application_keys(handle(1)) == ()
    with pytest.raises(VaultExists):
        records.create(vault(1))


def test_nothing_can_be_put_into_a_locked_vault(records: Records) -> None:
    records.create(vault(1))
    records.destroy_locked(handle(1), now_ms=5)
    records.destroy_locked(handle(1), now_ms=5)
    with pytest.raises(VaultLocked):
        replace_vault(records, 1)
    with pytest.raises(VaultLocked):
        records.put_application_key(handle(1), 1, KEYS[0], now_ms=6)
    assert records.get(handle(1)).state is VaultState.LOCKED


def test_a_tombstone_can_be_deleted(records: Records) -> None:
    records.create(vault(1))
    records.destroy_locked(handle(1), now_ms=5)
    records.delete(handle(1))
    assert records.count() == 0


@pytest.mark.parametrize(
    "change",
    [
        lambda records: records.delete(handle(9)),
        lambda records: records.rename(handle(9), "new", now_ms=1),
        lambda records: records.destroy_locked(handle(9), now_ms=1),
        lambda records: records.delete_application_key(handle(9), "a", now_ms=1),
        lambda records: records.put_application_key(handle(9), 1, KEYS[0], now_ms=1),
    ],
)
def test_a_vault_that_is_not_there_cannot_be_changed(
    records: Records, change: Callable[[Records], object]
) -> None:
    with pytest.raises(VaultNotFound):
        change(records)


@pytest.mark.parametrize(
    "fault",
    [
        {"handle": bytes(16)},
        {"handle": bytes(18)},
        {"params": bytes(93)},
        {"name": ""},
        {"name": "x" * 256},
        {"vault": b""},
        {"knowledge_factor": None},
        {"state": VaultState.LOCKED},
    ],
)
def test_a_half_valid_vault_record_cannot_be_made(fault: dict[str, object]) -> None:
    with pytest.raises(FormatError):
        replace(vault(1), **fault)  # type: ignore[arg-type]


@pytest.mark.parametrize("alias", ["", "x" * 256])
def test_an_application_key_has_an_alias(alias: str) -> None:
    with pytest.raises(FormatError):
        ApplicationKeyRecord(alias, b"wrapped")


def test_a_reader_in_another_connection_sees_whole_snapshots_while_vaults_are_replaced(
    records: Records, tmp_path: Path
) -> None:
    records.create(vault(1), KEYS)
    with Records.open(sqlite_url(tmp_path)) as reader:
        for version in range(1, 20):
            assert reader.get(handle(1)).snapshot_version == version
            replace_vault(records, version, KEYS)
            assert reader.get(handle(1)).vault == blob("new")
            assert reader.application_keys(handle(1)) == KEYS
