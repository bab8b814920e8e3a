"""What attackers and accidents find between the parts of the key service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable
from pathlib import Path

from hwkm.errors import HwkmError, KeyStateInvalid, LimitExceeded, TagInvalid
from hwkm.server.keys.audit import audit_entries
from hwkm.server.keys.book import ALIASES_PER_KEY
from hwkm.server.keys.life import LIST_BLOCK
from hwkm.server.keys.moving import KeyMoving
from hwkm.server.keys.principal import KeyGrant, Principal
from hwkm.wire import key_api as api
from tests.key_rig import ACCOUNT, CALLER, KeyWorld, Rig, call


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


async def refusals(*changes: Awaitable[object]) -> list[HwkmError]:
    """Do all at once; what was refused."""
    results = await asyncio.gather(*changes, return_exceptions=True)
    found = [result for result in results if isinstance(result, BaseException)]
    assert all(isinstance(refused, HwkmError) for refused in found), found
    return [refused for refused in found if isinstance(refused, HwkmError)]


def test_many_callers_at_once_give_a_key_no_more_names_and_tags_than_it_may_have(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, "here").daemon() as here:
            key = await here.create()
            names = [f"alias/{number}" for number in range(ALIASES_PER_KEY + 5)]
            refused = await refusals(*(here.keys.create_alias(call(), name, key) for name in names))
            assert [type(error) for error in refused] == [LimitExceeded] * 5
            tags = [{f"tag {number}": ""} for number in range(api.TAGS_MAX + 5)]
            refused = await refusals(*(here.keys.tag(call(), key, tag) for tag in tags))
            assert [type(error) for error in refused] == [TagInvalid] * 5
            shown = await here.keys.show(call(), key)
            assert (len(shown.aliases), len(shown.tags)) == (ALIASES_PER_KEY, api.TAGS_MAX)

    asyncio.run(run())


def test_an_alias_that_two_move_at_once_is_moved_by_one_and_shown_only_at_its_key(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, "here").daemon() as here:
            keys = [await here.create() for _ in range(3)]
            await here.keys.create_alias(call(), "alias/a", keys[0])
            for key in keys:
                await here.keys.show(call(), key)
            moves = (here.keys.update_alias(call(), "alias/a", key) for key in keys[1:])
            assert [type(error) for error in await refusals(*moves)] == [KeyStateInvalid]
            named = (await here.keys.show(call(), "alias/a")).arn
            for key in keys:
                aliases = (await here.keys.show(call(), key)).aliases
                assert aliases == (("alias/a",) if key == named else ())

    asyncio.run(run())


def test_pages_of_a_list_are_full_of_keys_that_the_caller_may_list(tmp_path: Path) -> None:
    async def run() -> None:
        async with world(tmp_path, "here").daemon() as here:
            for _ in range(LIST_BLOCK):
                await here.create()
            blue = {await here.create(alias=f"alias/blue/{number}") for number in range(3)}
            grants = {"key.list": (KeyGrant(("alias/blue/*",)),)}
            caller = call(Principal(ACCOUNT, "uid 1", CALLER, grants))
            first = await here.keys.list_keys(caller, None, None, 2)
            second = await here.keys.list_keys(caller, None, first.next, 2)
            assert [len(first.keys), len(second.keys), second.next] == [2, 1, None]
            assert {key.arn for key in (*first.keys, *second.keys)} == blue

    asyncio.run(run())
