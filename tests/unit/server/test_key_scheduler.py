"""What is done with keys when its time has come: on a core and a database of their own, with a clock of ours."""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path

import pytest

from hwkm.audit.record import AuditEntry
from hwkm.errors import CiphertextInvalid, KeyNotFound, KeyStateInvalid, StorageUnavailable
from hwkm.server.keys.desk import DAY_MS
from hwkm.server.keys.scheduler import Scheduler
from tests.key_rig import CALLER, KeyWorld, Rig, call


@dataclass
class Log:
    """What was recorded: operation and outcome."""

    entries: list[tuple[str, str]] = field(default_factory=list)
    is_full: bool = False

    async def append(self, entry: AuditEntry) -> None:
        if self.is_full:
            raise StorageUnavailable("no room for a record")
        assert entry.caller == CALLER
        assert entry.key is not None
        assert entry.key_version is not None
        self.entries.append((entry.operation, entry.outcome))


@pytest.fixture
def log() -> Log:
    return Log()


@asynccontextmanager
async def scheduled(world: KeyWorld, log: Log) -> AsyncIterator[tuple[Rig, Scheduler]]:
    async with world.daemon(versions=4) as rig:
        yield rig, Scheduler(rig.desk, rig.keys, rig.domain, log.append, CALLER)


async def test_a_key_is_deleted_when_it_is_due_not_before_and_its_data_are_gone(
    tmp_path: Path, log: Log
) -> None:
    world = KeyWorld(tmp_path)
    async with scheduled(world, log) as (rig, scheduler):
        key = await rig.create(alias="alias/a")
        ciphertext = await rig.encrypt(key, b"x")
        await rig.keys.schedule_deletion(call(), key, 7)
        world.now_ms += 7 * DAY_MS - 1
        await scheduler.look_after()
        assert (await rig.keys.show(call(), key)).state == "pending_deletion"
        with pytest.raises(KeyStateInvalid):
            await rig.decrypt(ciphertext)
        world.now_ms += 1
        await scheduler.look_after()
        assert (await rig.keys.show(call(), key)).state == "deleted"
        with pytest.raises(CiphertextInvalid):
            await rig.decrypt(ciphertext)
        with pytest.raises(KeyNotFound):
            await rig.keys.show(call(), "alias/a")
        with pytest.raises(KeyNotFound):
            await rig.keys.cancel_deletion(call(), key)
        other = await rig.create(alias="alias/a")
        assert (await rig.keys.show(call(), "alias/a")).arn == other
    assert log.entries == [("key.delete", "begun"), ("key.delete", "ok")]


async def test_nothing_is_destroyed_that_cannot_be_recorded(tmp_path: Path, log: Log) -> None:
    world = KeyWorld(tmp_path)
    async with scheduled(world, log) as (rig, scheduler):
        key, other = await rig.create(), await rig.create()
        ciphertext = await rig.encrypt(other, b"x")
        await rig.keys.schedule_deletion(call(), key, 7)
        world.now_ms += 7 * DAY_MS
        rig.log_is_full = log.is_full = True
        await scheduler.look_after()
        await rig.domain.rotate()
        await rig.found_log_full.wait()
        assert (await rig.keys.show(call(), key)).state == "pending_deletion"
        assert (await rig.domain.info()).generations == (1, 2)
        rig.log_is_full = log.is_full = False
        await scheduler.look_after()
        assert (await rig.keys.show(call(), key)).state == "deleted"
        assert (await rig.rotation_ended()).generations == (2,)
        assert await rig.decrypt(ciphertext) == b"x"


async def test_a_key_whose_deletion_was_cancelled_stays(tmp_path: Path, log: Log) -> None:
    world = KeyWorld(tmp_path)
    async with scheduled(world, log) as (rig, scheduler):
        key = await rig.create()
        ciphertext = await rig.encrypt(key, b"x")
        await rig.keys.schedule_deletion(call(), key, 7)
        await rig.keys.cancel_deletion(call(), key)
        world.now_ms += 365 * DAY_MS
        await scheduler.look_after()
        await rig.keys.enable(call(), key)
        assert await rig.decrypt(ciphertext) == b"x"


async def test_keys_are_rotated_when_they_are_due_and_again_a_period_later(tmp_path: Path, log: Log) -> None:
    world = KeyWorld(tmp_path)
    async with scheduled(world, log) as (rig, scheduler):
        key = await rig.create(rotation_period_days=90)
        other = await rig.create()
        first = await rig.encrypt(key, b"first")
        for expected in (1, 2, 3):
            await scheduler.look_after()
            shown = await rig.keys.show(call(), key)
            assert shown.version == expected
            assert shown.next_rotation_at_ms == world.now_ms + 90 * DAY_MS
            world.now_ms += 90 * DAY_MS - 1
            await scheduler.look_after()
            assert (await rig.keys.show(call(), key)).version == expected
            world.now_ms += 1
        history = await rig.keys.rotations(call(), key, 0, 10)
        assert [item.cause for item in history.items] == ["created", "automatic", "automatic"]
        assert (await rig.keys.show(call(), other)).version == 1
        assert await rig.decrypt(first) == b"first"


async def test_a_key_with_all_its_versions_or_disabled_is_left_alone(tmp_path: Path, log: Log) -> None:
    world = KeyWorld(tmp_path)
    async with scheduled(world, log) as (rig, scheduler):
        full = await rig.create(rotation_period_days=90)
        for _ in range(3):
            await rig.keys.rotate(call(), full)
        disabled = await rig.create(rotation_period_days=90)
        await rig.keys.disable(call(), disabled)
        world.now_ms += 90 * DAY_MS
        await scheduler.look_after()
        await scheduler.look_after()
        shown = await rig.keys.show(call(), full)
        assert (shown.version, shown.next_rotation_at_ms) == (4, world.now_ms + DAY_MS)
        assert (await rig.keys.show(call(), disabled)).version == 1
    assert log.entries == [("key.rotate", "limit_exceeded")]


async def test_the_last_use_is_written_down_and_there_in_the_next_life(tmp_path: Path, log: Log) -> None:
    world = KeyWorld(tmp_path)
    async with scheduled(world, log) as (rig, scheduler):
        key = await rig.create()
        await rig.encrypt(key, b"x")
        await scheduler.stop()
    async with world.daemon() as rig:
        use = (await rig.keys.show(call(), key)).last_use
        assert use is not None
        assert (use.operation, use.at_ms) == ("key.encrypt", world.now_ms)


async def test_a_rotation_of_the_domain_key_that_was_left_off_is_gone_on_with(
    tmp_path: Path, log: Log
) -> None:
    world = KeyWorld(tmp_path)
    async with world.daemon() as rig:
        ciphertext = await rig.encrypt(await rig.create(), b"x")
        await rig.domain.rotate()
    async with scheduled(world, log) as (rig, scheduler):
        await scheduler.look_after()
        assert (await rig.rotation_ended()).generations == (2,)
        assert await rig.decrypt(ciphertext) == b"x"
