"""What attackers and accidents find between the parts of the key service."""

from __future__ import annotations

import asyncio
from pathlib import Path

from hwkm.server.keys.audit import audit_entries
from hwkm.server.keys.moving import KeyMoving
from hwkm.wire import key_api as api
from tests.key_rig import KeyWorld, Rig, call


def world(tmp_path: Path, name: str) -> KeyWorld:
    directory = tmp_path / name
    directory.mkdir()
    return KeyWorld(directory)


async def move(here: Rig, there: Rig) -> api.ImportedKeys:
    """Export the first page here, import it there."""
    sender, receiver = KeyMoving(here.desk), KeyMoving(there.desk)
    wanted = await receiver.exchange()
    exported = await sender.export(api.ExportKeys(statement=wanted.statement, fingerprint=wanted.fingerprint))
    assert exported.page is not None
    return await receiver.import_page(
        api.ImportKeys(sender=(await sender.exchange()).sender, page=exported.page)
    )


def test_a_key_that_was_rotated_after_it_was_moved_can_be_moved_again_and_rotated_there(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with world(tmp_path, "here").daemon() as here, world(tmp_path, "there").daemon() as there:
            key = await here.create()
            await move(here, there)
            await here.keys.rotate(call(), key)
            newer = await here.encrypt(key, b"under version 2")
            await move(here, there)
            assert await there.decrypt(newer) == b"under version 2"
            await there.keys.rotate(call(), key)
            assert await there.decrypt(await there.encrypt(key, b"x")) == b"x"
            assert await there.decrypt(newer) == b"under version 2"

    asyncio.run(run())


def test_each_refused_item_of_a_batch_is_in_the_audit_log_whether_its_key_is_known_or_not(
    tmp_path: Path,
) -> None:
    async def run() -> None:
        async with world(tmp_path, "here").daemon() as here:
            key = await here.create()
            good = await here.encrypt(key, b"x")
            unknown = good[:1] + bytes(16) + good[17:]
            items = [api.CiphertextItem(ciphertext=blob) for blob in (good, unknown, b"garbage")]
            batch = call()
            await here.keys.decrypt(batch, None, items)
            found = [
                (entry.key, entry.outcome, entry.detail)
                for entry in audit_entries(batch, "key.decrypt", "ok", "r-1")
            ]
            assert found == [(key, "ok", None), (None, "ciphertext_invalid", {"items": "2"})]
            only_garbage = call()
            await here.keys.decrypt(only_garbage, None, items[1:])
            assert [e.outcome for e in audit_entries(only_garbage, "key.decrypt", "ok", "r-2")] == [
                "ciphertext_invalid"
            ]

    asyncio.run(run())
