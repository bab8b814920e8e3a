"""How a long list of items goes to the core: chunk by chunk, all of it, in order."""

from __future__ import annotations

import asyncio
from collections.abc import Sequence

import pytest

from hwkm.errors import Unavailable
from hwkm.server.keys.data import CHUNK, in_chunks


@pytest.mark.parametrize("count", [0, 1, CHUNK, CHUNK + 1, 3 * CHUNK + 5])
def test_answers_come_in_the_order_of_the_items_whoever_is_answered_first(count: int) -> None:
    async def run() -> Sequence[int]:
        last_is_here = asyncio.Event()

        async def ask(chunk: Sequence[int]) -> list[int]:
            if chunk[-1] == count - 1:
                last_is_here.set()
            await last_is_here.wait()
            return [-item for item in chunk]

        return await in_chunks(range(count), ask)

    assert list(asyncio.run(run())) == [-item for item in range(count)]


def test_after_an_error_nothing_of_the_request_is_still_at_work() -> None:
    ended: list[int] = []

    async def run() -> None:
        failed = asyncio.Event()

        async def ask(chunk: Sequence[int]) -> list[int]:
            if chunk[0] == 0:
                failed.set()
                raise Unavailable("the core is gone")
            await failed.wait()
            await asyncio.sleep(0)
            ended.append(chunk[0])
            return list(chunk)

        await in_chunks(range(3 * CHUNK), ask)

    with pytest.raises(Unavailable):
        asyncio.run(run())
    assert ended == [CHUNK, 2 * CHUNK]
