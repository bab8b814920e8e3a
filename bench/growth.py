"""How the attempt tree grows: hashes, bytes, memory and start time by number of counters."""

from __future__ import annotations

import hashlib
import math
import secrets
import statistics
import time
from collections.abc import Iterator
from pathlib import Path
from typing import Any, cast

import msgspec

from bench.figure import Figure, at_most
from hwkm.formats import tree_node
from hwkm.formats.anchor import ANCHOR_BYTES
from hwkm.formats.counter import ClaimEntry, Counter, Instant
from hwkm.secret import Pin
from hwkm.store.nodes import SqliteNodeStore
from hwkm.thm import tree
from hwkm.thm.ledger import Ledger
from hwkm.tokens import registry
from tests.core_process import CoreProcess, MemoryToken, core_settings, provision
from tests.devices import Module
from tests.vault_clients import seal

_FILL = 20_000
_CLAIMS = 300


def growth(directory: Path, sizes: list[int]) -> Iterator[Figure]:
    """Figures at each number of counters; the device does not matter here, so it is memory."""
    for size in sizes:
        place = directory / f"{size}"
        place.mkdir()
        yield from _at_size(_module(place), size)


def _module(directory: Path) -> Module:
    device = MemoryToken(directory)
    settings = core_settings(device, directory / "nodes.db")
    made = provision(device, settings)
    return Module(device, settings, made.cohort_public_key)  # type: ignore[union-attr]


def _at_size(module: Module, size: int) -> Iterator[Figure]:
    label = f"10^{round(math.log10(size))} vaults"
    token = registry.open_token(module.settings.token_uri, Pin(module.device.pin_file.read_bytes()))
    cohort = hashlib.sha256(module.cohort_public_key).digest()
    with SqliteNodeStore(module.settings.nodes_path) as nodes:
        _fill(Ledger(token.anchor, nodes, cohort), size)
        cold = _hashes_per_claim(Ledger(token.anchor, nodes, cohort), size)
        stored = nodes.counters().bytes_used
    token.close()
    yield Figure(f"NV bytes, {label}", "any", ANCHOR_BYTES, "bytes")
    yield Figure(f"storage, {label}", "any", stored / size, "bytes a vault")
    yield Figure(
        f"hashes per claim, {label}", "any", cold, "hashes", at_most(round(1.3 * math.log2(size), 1))
    )
    yield from _of_a_core(module, label)


def _fill(ledger: Ledger, size: int) -> None:
    entry = ClaimEntry(secrets.token_bytes(32), Instant(secrets.token_bytes(16), 1))
    for start in range(0, size, _FILL):
        numbers = range(start, min(size, start + _FILL))
        ledger.commit({_key(number): Counter(_key(number), charges=(entry,)) for number in numbers})


def _key(number: int) -> bytes:
    return hashlib.sha256(number.to_bytes(8, "big")).digest()


def _hashes_per_claim(ledger: Ledger, size: int) -> float:
    """Count node digests of a claim's read and commit, nothing of the tree in memory at first."""
    counted = 0
    real = tree_node.node_digest
    where = cast("Any", tree)

    def counting(data: bytes) -> bytes:
        nonlocal counted
        counted += 1
        return real(data)

    where.node_digest = counting
    try:
        for _ in range(_CLAIMS):
            key = _key(secrets.randbelow(size))
            counter = ledger.counter(key)
            assert counter is not None
            ledger.commit({key: counter.resumed().bound_to(secrets.token_bytes(32))})
    finally:
        where.node_digest = real
    return counted / _CLAIMS


def _of_a_core(module: Module, label: str) -> Iterator[Figure]:
    starts = []
    for _ in range(3):
        started = time.perf_counter()
        with module.core() as core:
            starts.append(time.perf_counter() - started)
    settings = msgspec.structs.replace(module.settings, settle_delay_ms=0)
    with CoreProcess(module.device) as core:
        core.serve(settings)
        for _ in range(_CLAIMS):
            vault = seal(module.cohort_public_key)
            core.guess(vault, vault.kf_hash)
        resident = _resident_mb(core)
    yield Figure(f"core start, {label}", "memory", statistics.median(starts), "s", at_most(2))
    yield Figure(f"core memory, {label}", "memory", resident, "MB", at_most(200))


def _resident_mb(core: CoreProcess) -> float:
    status = Path(f"/proc/{core.process.pid}/status").read_text()
    line = next(line for line in status.splitlines() if line.startswith("VmRSS"))
    return int(line.split()[1]) / 1024
