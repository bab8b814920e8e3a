"""A rotation of the domain key, crashed at every one of its steps: every key and ciphertext is there after it."""

from __future__ import annotations

import itertools
import shutil
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from sqlalchemy import update

from hwkm.errors import DomainRotating, HwkmError, KeyNotFound
from hwkm.server.keys import domain
from hwkm.store.key_record import VersionCause
from hwkm.store.keys import KeyStore
from hwkm.store.tables import key_versions
from tests.key_rig import CORE_KINDS, DAEMON_KINDS, CrashedDaemon, Faults, KeyWorld, Kind, Rig, until

KEYS = 5
BATCH = 3  # so that there are several


@pytest.fixture(autouse=True)
def small_batches(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(domain, "BATCH", BATCH)


async def make_ciphertexts(rig: Rig) -> dict[bytes, bytes]:
    """Keys with one or two versions, and something encrypted under each."""
    made = {}
    for number in range(KEYS):
        key = await rig.create()
        made[await rig.encrypt(key, b"first %d" % number, n=str(number))] = b"first %d" % number
        if number % 2:
            await rig.keys.rotate_now(rig.desk.names.parse(key).key_id or b"", VersionCause.ON_DEMAND)
            made[await rig.encrypt(key, b"second %d" % number, n=str(number))] = b"second %d" % number
    return made


async def check_ciphertexts(rig: Rig, made: dict[bytes, bytes]) -> None:
    for ciphertext, plaintext in made.items():
        assert await rig.decrypt(ciphertext, n=plaintext.decode()[-1]) == plaintext


async def test_a_rotation_wraps_everything_anew_and_retires_the_old_domain_key(tmp_path: Path) -> None:
    world = KeyWorld(tmp_path)
    async with world.daemon() as rig:
        made = await make_ciphertexts(rig)
        begun = await rig.domain.rotate()
        assert begun.versions == len(made)
        with pytest.raises(DomainRotating):
            await rig.domain.rotate()
        await check_ciphertexts(rig, made)  # while it goes on
        info = await rig.rotation_ended()
        assert (info.state, info.detail, info.generations) == ("idle", "", (2,))
        assert (info.versions, info.versions_left, info.refused) == (len(made), 0, 0)
        assert rig.notes == [("domain.retire", "begun", "1"), ("domain.retire", "ok", "1")]
        await check_ciphertexts(rig, made)
        await rig.domain.rotate()
        assert (await rig.rotation_ended()).generations == (3,)
    async with world.daemon() as rig:
        await check_ciphertexts(rig, made)


@pytest.mark.slow
@pytest.mark.parametrize("kind", [*CORE_KINDS, *DAEMON_KINDS])
async def test_a_crash_at_any_step_loses_nothing_and_the_rotation_ends(
    tmp_path: Path, kind: Kind, record_property: Callable[[str, object], None]
) -> None:
    world = KeyWorld(tmp_path)
    async with world.daemon() as rig:
        made = await make_ciphertexts(rig)
    for at in itertools.count(1):
        faults = Faults(kind, at)
        async with world.daemon(faults) as rig:
            before = (await rig.domain.info()).generation
            faults.armed = True
            with suppress(CrashedDaemon, HwkmError):
                await rig.domain.rotate()
                await ended_or_crashed(rig, faults)
            struck = not faults.armed
        async with world.daemon() as rig:
            await check_ciphertexts(rig, made)
            await rig.domain.resume()
            info = await rig.rotation_ended()
            assert (info.state, info.versions_left) == ("idle", 0), info
            assert info.generation <= before + 1, "a repeated step made one domain key too many"
            assert info.generations == (info.generation,)
            await check_ciphertexts(rig, made)
        if not struck:
            break
    assert at > 8, "there are more steps than that"
    record_property("crashes_of_domain_rotation", at - 1)


async def ended_or_crashed(rig: Rig, faults: Faults) -> None:
    """Until the rotation has ended, or the daemon is taken for dead."""
    await until(lambda: not rig.domain.is_running or faults.crashed.is_set())


async def test_a_key_that_the_hardware_refuses_keeps_the_old_domain_key(tmp_path: Path) -> None:
    world = KeyWorld(tmp_path)
    async with world.daemon() as rig:
        made = await make_ciphertexts(rig)
        key = rig.desk.names.parse(await rig.create()).key_id
        assert key
        entry = rig.desk.book.known(key) or await rig.desk.book.load(key)
        damaged = bytearray(entry.snapshot.current.wrapped)
        damaged[-40] ^= 1
        await rig.desk.book.read(overwrite, key, bytes(damaged))
        await rig.domain.rotate()
        info = await rig.rotation_ended()
        assert (info.state, info.generations, info.versions_left, info.refused) == ("blocked", (1, 2), 1, 1)
        assert entry.names[0] in info.detail
        await check_ciphertexts(rig, made)
        await rig.desk.book.read(overwrite, key, entry.snapshot.current.wrapped)
        await rig.domain.resume()
        info = await rig.rotation_ended()
        assert (info.state, info.generations, info.detail) == ("idle", (2,), "")


def put_back(earlier: Path, directory: Path) -> None:
    """The database as it was, with nothing of the later one beside it."""
    for path in directory.glob("records.db*"):
        path.unlink()
    for path in earlier.glob("records.db*"):
        shutil.copy2(path, directory)


def overwrite(store: KeyStore, key_id: bytes, wrapped: bytes) -> None:
    statement = update(key_versions).where(key_versions.c.key_id == key_id).values(wrapped=wrapped)
    with store._transaction(KeyNotFound("")) as connection:
        connection.execute(statement)


async def test_keys_made_and_rotated_meanwhile_are_wrapped_under_what_stays(tmp_path: Path) -> None:
    world = KeyWorld(tmp_path)
    async with world.daemon() as rig:
        made = await make_ciphertexts(rig)
        key = await rig.create()
        key_id = rig.desk.names.parse(key).key_id or b""

        async def go_on_working() -> None:
            for number in range(10):
                await rig.keys.rotate_now(key_id, VersionCause.ON_DEMAND)
                made[await rig.encrypt(key, b"new %d" % number, n=str(number))] = b"new %d" % number
                other = await rig.create()
                made[await rig.encrypt(other, b"new %d" % number, n=str(number))] = b"new %d" % number

        await rig.domain.rotate()
        await go_on_working()
        info = await rig.rotation_ended()
        assert (info.generations, info.versions_left) == ((2,), 0)
        await check_ciphertexts(rig, made)


async def test_an_older_database_retires_nothing_by_itself(tmp_path: Path) -> None:
    """A rotation was begun, and the database of the time before it was put back."""
    world = KeyWorld(tmp_path)
    async with world.daemon() as rig:
        made = await make_ciphertexts(rig)
    files = shutil.copytree(tmp_path, tmp_path.with_name("earlier"))
    faults = Faults("daemon killed before", 14)
    async with world.daemon(faults) as rig:
        faults.armed = True
        with suppress(CrashedDaemon):
            await rig.domain.rotate()
            await ended_or_crashed(rig, faults)
        assert not faults.armed
    put_back(files, tmp_path)
    async with world.daemon() as rig:
        await rig.domain.resume()
        assert (await rig.rotation_ended()).generations == (1, 2)
        await check_ciphertexts(rig, made)
        await rig.domain.rotate()
        assert (await rig.rotation_ended()).generations == (3,)
        await check_ciphertexts(rig, made)
