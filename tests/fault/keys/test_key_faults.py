"""The core killed, the disk full, the database locked, the token gone: a typed answer, nothing half done, and back again."""

from __future__ import annotations

import asyncio
import resource
import sqlite3
import time
from collections.abc import Awaitable, Callable, Iterator
from contextlib import closing, contextmanager, suppress
from pathlib import Path

import pytest

from hwkm.errors import HwkmError, StorageUnavailable, TokenError, Unavailable
from hwkm.formats.key_kind import KeyKind, SigningAlgorithm
from hwkm.store.keys import KeyStore
from hwkm.wire import key_api as api
from hwkm.wire.key_messages import PairSpec
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.hardware import Swtpm
from tests.key_http import KeyHttp
from tests.key_rig import CORE_KINDS, Faults, KeyWorld, Kind, Rig, call

DEADLINE_S = 60.0
Act = Callable[[Rig, "Things"], Awaitable[object]]


class Things:
    """Keys of every use, and something encrypted."""

    def __init__(self, symmetric: str, mac: str, signing: str, ciphertext: bytes) -> None:
        self.symmetric, self.mac, self.signing, self.ciphertext = symmetric, mac, signing, ciphertext


async def make_things(rig: Rig) -> Things:
    symmetric = await rig.create()
    mac = await rig.create(kind=KeyKind.HMAC_256)
    signing = await rig.create(kind=KeyKind.ECC_NIST_P256_SIGN)
    return Things(symmetric, mac, signing, await rig.encrypt(symmetric, b"x"))


ACTS: dict[str, Act] = {
    "create": lambda rig, _: rig.create(),
    "rotate": lambda rig, things: rig.keys.rotate(call(), things.symmetric),
    "data key": lambda rig, things: rig.keys.generate_data_keys(
        call(), things.symmetric, [api.DataKeyWanted(record="a file")]
    ),
    "data key pair": lambda rig, things: rig.keys.generate_data_key_pair(
        call(), things.symmetric, PairSpec.ECC_NIST_P256, {}
    ),
    "encrypt": lambda rig, things: rig.encrypt(things.symmetric, b"y"),
    "decrypt": lambda rig, things: rig.decrypt(things.ciphertext),
    "re-encrypt": lambda rig, things: rig.keys.re_encrypt(
        call(), None, things.symmetric, [api.ReEncryptItem(ciphertext=things.ciphertext)]
    ),
    "random": lambda rig, _: rig.keys.random(call(), 32),
    "mac": lambda rig, things: rig.keys.generate_macs(call(), things.mac, [b"x"]),
    "sign": lambda rig, things: rig.keys.sign(
        call(), things.signing, SigningAlgorithm.ECDSA_SHA_256, [api.SignItem(message=b"x")]
    ),
}


@pytest.mark.slow
@pytest.mark.parametrize("kind", CORE_KINDS)
async def test_the_core_killed_in_the_middle_of_anything_is_unavailable_and_can_be_asked_again(
    tmp_path: Path, kind: Kind
) -> None:
    world = KeyWorld(tmp_path)
    faults = Faults(kind)
    async with world.daemon(faults) as rig:
        things = await make_things(rig)
        for name, act in ACTS.items():
            before = await count(rig, things.symmetric)
            faults.steps, faults.at, faults.armed = 0, 1, True
            with pytest.raises(Unavailable):
                await act(rig, things)
            assert not faults.armed, f"{name} did not ask the core"
            await again(act, rig, things)
            after = await count(rig, things.symmetric)
            grown = [new - old for new, old in zip(after, before, strict=True)]
            assert grown == [name == "create", name == "rotate", name == "data key"], name
            assert await rig.decrypt(things.ciphertext) == b"x"


async def again(act: Act, rig: Rig, things: Things) -> None:
    """Repeat what was unavailable until it is not."""
    async with asyncio.timeout(DEADLINE_S):
        while True:
            try:
                await act(rig, things)
            except Unavailable:
                await asyncio.sleep(0.02)
            else:
                return


async def count(rig: Rig, key: str) -> tuple[int, int, int]:
    """Keys, versions of a key, recorded data keys of it."""
    key_id = rig.desk.names.parse(key).key_id
    return (
        await rig.desk.book.read(KeyStore.count),
        await rig.desk.book.read(KeyStore.count_versions, key_id),
        await rig.desk.book.read(KeyStore.count_recorded, key_id),
    )


async def test_a_locked_database_refuses_changes_and_nothing_was_changed(tmp_path: Path) -> None:
    world = KeyWorld(tmp_path)
    async with world.daemon() as rig:
        key = await rig.create()
        ciphertext = await rig.encrypt(key, b"x")
        with closing(sqlite3.connect(tmp_path / "records.db", isolation_level=None)) as other:
            other.execute("BEGIN IMMEDIATE")
            with pytest.raises(StorageUnavailable):
                await rig.keys.rotate(call(), key)
            # What is in memory goes on: no database is asked on the way of a data key.
            assert await rig.decrypt(ciphertext) == b"x"
            assert (await rig.keys.generate_data_keys(call(), key, [api.DataKeyWanted()])).version == 1
            other.execute("ROLLBACK")
        assert (await rig.keys.show(call(), key)).version == 1
        assert (await rig.keys.rotate(call(), key)).version == 2
        assert await rig.decrypt(ciphertext) == b"x"


@contextmanager
def full_disk(pid: int) -> Iterator[None]:
    before = resource.prlimit(pid, resource.RLIMIT_FSIZE, (1, resource.RLIM_INFINITY))
    try:
        yield
    finally:
        resource.prlimit(pid, resource.RLIMIT_FSIZE, before)


def test_a_full_disk_answers_nothing_that_is_not_audited_and_is_emptied_some_day(tmp_path: Path) -> None:
    with Daemon(MemoryToken(tmp_path)) as daemon, daemon.http() as http:
        keys = KeyHttp(http)
        key = keys.create().arn
        made = keys.generate(key)
        assert daemon.process is not None
        with full_disk(daemon.process.pid):
            with pytest.raises(StorageUnavailable):
                keys.generate(key)
            done = daemon.asked_of_core()
            for act in (
                lambda: keys.generate(key),
                lambda: keys.decrypt(made.ciphertext),
                lambda: keys.call("key.rotate", key=key),
                lambda: keys.call("key.disable", key=key),
                keys.create,
                lambda: keys.generate(key, record="a file"),
            ):
                with pytest.raises(StorageUnavailable):
                    act()
            # Once the log takes no records, the hardware is not even asked.
            assert daemon.asked_of_core() == done
            assert daemon.metrics()["hwkm_audit_failing"] == 1
        assert keys.decrypt(made.ciphertext) == made.plaintext
        shown = keys.show(key)
        assert (shown.version, shown.state) == (1, "enabled")
        assert keys.call("key.rotate", key=key).version == 2
        assert keys.call("key.recorded", key=key).total == 0


@pytest.mark.needs("swtpm")
def test_a_token_that_is_gone_is_a_typed_error_and_keys_come_back_with_it() -> None:
    device = Swtpm()
    try:
        with Daemon(device) as daemon, daemon.http() as http:
            keys = KeyHttp(http)
            key = keys.create().arn
            made = keys.generate(key)
            device.power_off()
            with pytest.raises((Unavailable, TokenError)):
                keys.decrypt(made.ciphertext)
            with pytest.raises((Unavailable, TokenError)):
                keys.create()
            assert keys.show(key).arn == key  # what needs no token goes on
            device.start()
            assert until_it_works(lambda: keys.decrypt(made.ciphertext)) == made.plaintext
            assert keys.generate(key).plaintext
    finally:
        device.stop()


def until_it_works(act: Callable[[], bytes]) -> bytes:
    deadline = time.monotonic() + DEADLINE_S
    while time.monotonic() < deadline:
        with suppress(HwkmError):
            return act()
        time.sleep(0.05)
    return act()
