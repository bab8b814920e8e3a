"""Figures of the whole service: hwkmd, core and device, over the Unix socket."""

from __future__ import annotations

import asyncio
from collections.abc import Iterator
from contextlib import ExitStack
from pathlib import Path

from bench.bed import RawRates
from bench.figure import Figure, at_most
from bench.http_load import Connection, Prepared, claim, present, store
from bench.load import Loaded
from tests.daemon import Daemon
from tests.devices import make_device
from tests.vault_clients import seal

_ROOM = {
    "connections": 200,
    "connections_per_uid": 200,
    "requests_in_flight": 200,
    "open_challenges": 20_000,
    "open_challenges_per_uid": 20_000,
    "vaults_per_uid": 100_000,
}


def service(kind: str, directory: Path, raw: RawRates, claims: int) -> Iterator[Figure]:
    """Rate at concurrency 64 and latency at concurrency 1; client cryptography is left out."""
    with ExitStack() as stack:
        device = make_device(kind, directory, stack)
        daemon = stack.enter_context(Daemon(device, settings={"limits": _ROOM}))
        cohort = daemon.wait_until_ready().cohort
        assert cohort is not None
        socket_path = daemon.socket_path
        one = asyncio.run(_loaded(socket_path, cohort.public_key, claims // 4, 1))
        many = asyncio.run(_loaded(socket_path, cohort.public_key, claims, 64))
    goal = at_most(3) if kind == "swtpm" else None
    yield Figure("service: p50 of a right claim", kind, one.p50_s * 1e3, "ms", goal)
    yield Figure("service: claims, concurrency 64", kind, many.claims_per_s, "per s")
    yield Figure("service: claims over raw key operations", kind, many.claims_per_s / raw.claims_per_s, "")


async def _loaded(socket_path: Path, cohort: bytes, count: int, concurrency: int) -> Loaded:
    return await present(socket_path, await _prepare(socket_path, cohort, count), concurrency)


async def _prepare(socket_path: Path, cohort: bytes, count: int) -> list[Prepared]:
    connection = await Connection.open(socket_path)
    prepared = []
    for number in range(count):
        vault = seal(cohort)
        prepared.append(await claim(connection, await store(connection, vault, number), vault))
    connection.close()
    return prepared
