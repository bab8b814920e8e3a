"""The record database behind its thread: what is kept in memory is never stale."""

from __future__ import annotations

import asyncio
import itertools
import secrets
from collections.abc import AsyncIterator
from pathlib import Path

import pytest

from hwkm.errors import LimitExceeded, SnapshotConflict, VaultNotFound
from hwkm.server.handlers.vault_info import knowledge_factor_record
from hwkm.server.record_thread import RecordThread, Replacement
from hwkm.store.vault_record import ApplicationKeyRecord, VaultRecord, VaultState
from tests.vault_clients import SealedVault, reseal, seal
from tests.vault_http import KNOWLEDGE_FACTOR, handle_of

COHORT = bytes.fromhex(
    "046b17d1f2e12c4247f8bce6e563a440f277037d812deb33a0f4a13945d898c296"
    "4fe342e2fe1a7f9b8ee7eb4a7c0f9e162bce33576b315ececbb6406837bf51f5"
)
FACTOR = knowledge_factor_record(KNOWLEDGE_FACTOR)
NUMBERS = itertools.count()


def record_of(vault: SealedVault, uid: int = 1000) -> VaultRecord:
    return VaultRecord(
        bytes.fromhex(handle_of(vault)), f"v{next(NUMBERS)}", uid, uid, vault.params, vault.blob, FACTOR, 1, 1
    )


def replacement_of(vault: SealedVault, expected: int) -> Replacement:
    return Replacement(bytes.fromhex(handle_of(vault)), expected, vault.params, vault.blob, FACTOR, ())


@pytest.fixture
async def records(tmp_path: Path) -> AsyncIterator[RecordThread]:
    opened = await RecordThread.open(f"sqlite:///{tmp_path}/records.db")
    yield opened
    await opened.close()


async def stored(records: RecordThread, uid: int = 1000) -> SealedVault:
    vault = seal(COHORT)
    await records.create(record_of(vault, uid), (), vaults_max=1000)
    return vault


async def test_what_was_changed_is_read_anew(records: RecordThread) -> None:
    vault = await stored(records)
    handle = bytes.fromhex(handle_of(vault))
    first = await records.snapshot(handle)
    assert await records.snapshot(handle) is first
    newer = reseal(vault)
    await records.replace(replacement_of(newer, 1), now_ms=2)
    assert (await records.snapshot(handle)).record.vault == newer.blob
    await records.put_application_key(handle, 2, ApplicationKeyRecord("a", bytes(62)), keys_max=1, now_ms=3)
    assert [key.alias for key in (await records.snapshot(handle)).keys] == ["a"]
    await records.delete_application_key(handle, "a", now_ms=4)
    assert (await records.snapshot(handle)).keys == ()
    await records.destroy_locked(handle, newer.params, now_ms=5)
    assert (await records.snapshot(handle)).record.state is VaultState.LOCKED
    await records.delete(handle)
    with pytest.raises(VaultNotFound):
        await records.snapshot(handle)


async def test_readings_and_changes_at_once_leave_nothing_stale(records: RecordThread) -> None:
    vault = await stored(records)
    handle = bytes.fromhex(handle_of(vault))

    async def reader() -> None:
        for _ in range(200):
            await records.snapshot(handle)
            await asyncio.sleep(0)

    async def writer() -> None:
        for version in range(1, 60):
            newer = reseal(vault)
            await records.replace(replacement_of(newer, version), now_ms=version)
            assert (await records.snapshot(handle)).record.vault == newer.blob

    await asyncio.gather(writer(), *(reader() for _ in range(4)))


async def test_a_change_that_fails_leaves_what_was(records: RecordThread) -> None:
    vault = await stored(records)
    handle = bytes.fromhex(handle_of(vault))
    with pytest.raises(SnapshotConflict):
        await records.replace(replacement_of(reseal(vault), 7), now_ms=2)
    assert (await records.snapshot(handle)).record.vault == vault.blob


async def test_a_vault_replaced_under_a_new_counter_is_not_the_locked_one(records: RecordThread) -> None:
    vault = await stored(records)
    handle = bytes.fromhex(handle_of(vault))
    newer = seal(COHORT, handle=handle)
    await records.replace(replacement_of(newer, 1), now_ms=2)
    await records.destroy_locked(handle, vault.params, now_ms=3)
    assert (await records.snapshot(handle)).record.state is VaultState.ACTIVE
    await records.destroy_locked(secrets.token_bytes(17), vault.params, now_ms=3)


async def test_vaults_of_one_user_are_counted(records: RecordThread) -> None:
    first = await stored(records)
    await stored(records, uid=2000)
    with pytest.raises(LimitExceeded):
        await records.create(record_of(seal(COHORT)), (), vaults_max=1)
    await records.delete(bytes.fromhex(handle_of(first)))
    await records.create(record_of(seal(COHORT)), (), vaults_max=1)
    assert records.vaults == 2


async def test_application_keys_of_one_vault_are_counted(records: RecordThread) -> None:
    handle = bytes.fromhex(handle_of(await stored(records)))
    keys = [ApplicationKeyRecord(alias, bytes(62)) for alias in "abc"]
    for key in keys[:2]:
        await records.put_application_key(handle, 1, key, keys_max=2, now_ms=1)
    with pytest.raises(LimitExceeded):
        await records.put_application_key(handle, 1, keys[2], keys_max=2, now_ms=1)
    replaced = ApplicationKeyRecord("b", b"\x01" * 62)
    await records.put_application_key(handle, 1, replaced, keys_max=2, now_ms=1)


async def test_pages_and_names(records: RecordThread) -> None:
    vaults = [await stored(records) for _ in range(3)]
    await stored(records, uid=2000)
    page = await records.page(1000, None, 2)
    rest = await records.page(1000, page[-1].record.handle, 2)
    handles = [snapshot.record.handle.hex() for snapshot in (*page, *rest)]
    assert handles == sorted(map(handle_of, vaults))
    name = page[0].record.name
    assert [snapshot.record.name for snapshot in await records.named(1000, name, 5)] == [name]
    assert await records.named(2000, name, 5) == []
    assert len(await records.page(None, None, 10)) == 4
