"""Figures of the trusted core: NV writes, rate, latency, each against the raw device."""

from __future__ import annotations

import statistics
import time
from collections.abc import Callable, Iterator
from dataclasses import dataclass

from bench.bed import ANCHOR_WRITE, Bed, RawRates
from bench.figure import Figure, at_least, at_most
from bench.load import present_all, right_claims
from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess
from tests.harness.board import Board
from tests.vault_clients import Claimed

REAL_NV_WRITE_MS = 12
"""What one NV write costs on a common discrete TPM."""

_WRITES_GOALS = {1: 2.0, 8: 0.3, 64: 0.06}
_RATE_GOALS = {"swtpm": 0.7, "softhsm": 0.5}


def nv_writes(bed: Bed, claims: int) -> Iterator[Figure]:
    """NV writes per claim, counted by the proxy, at three concurrencies."""
    with bed.counted() as (settings, board), bed.core(settings) as core:
        for concurrency, goal in _WRITES_GOALS.items():
            prepared = right_claims(core, claims)
            board.arm()
            present_all(core, prepared, concurrency)
            _wait_until_settled(core)
            writes = board.counts()[ANCHOR_WRITE[bed.kind]]
            name = f"NV writes per claim, concurrency {concurrency}"
            yield Figure(name, bed.kind, writes / claims, "writes", at_most(goal))
        yield _critical_writes(bed, core, board)


def _critical_writes(bed: Bed, core: CoreProcess, board: Board) -> Figure:
    """NV writes before the answer of one claim leaves."""
    (claimed,) = right_claims(core, 1)
    board.arm()
    assert isinstance(core.present(claimed), wire.VaultOpened)
    writes = board.counts()[ANCHOR_WRITE[bed.kind]]
    return Figure("NV writes on the critical path", bed.kind, writes, "writes", at_most(1))


def rates(bed: Bed, claims: int, raw_seconds: float) -> Iterator[Figure]:
    """Claims a second over the raw rate of the same key operations, measured before and after."""
    before = bed.raw_rates(raw_seconds)
    with bed.core() as core:
        loaded = present_all(core, right_claims(core, claims), 64)
    raw = before.mean(bed.raw_rates(raw_seconds))
    yield Figure("raw key agreements", bed.kind, 1 / raw.agree_s, "per s")
    yield Figure("raw NV writes", bed.kind, 1 / raw.nv_write_s, "per s")
    yield Figure("core: claims, concurrency 64", bed.kind, loaded.claims_per_s, "per s")
    goal, ratio = at_least(_RATE_GOALS[bed.kind]), loaded.claims_per_s / raw.claims_per_s
    yield Figure("core: claims over raw key operations", bed.kind, ratio, "", goal)


def latency(bed: Bed, claims: int, raw_seconds: float) -> Iterator[Figure]:
    """What durability adds: a new claim against the same claim presented again, which is not charged."""
    before = bed.raw_rates(raw_seconds)
    with bed.core() as core:
        busy = _latencies(core, claims)
        rested = _latencies(core, claims // 4, _wait_until_settled)
    raw = before.mean(bed.raw_rates(raw_seconds))
    yield Figure("core: p50 of a right claim", bed.kind, busy.charged_s * 1e3, "ms")
    yield _added("latency added by durability", bed, busy, raw)
    yield _added("latency added by durability, after a pause", bed, rested, raw)
    with bed.slow(REAL_NV_WRITE_MS) as settings:
        raw = bed.raw_rates(raw_seconds, settings.token_uri)
        with bed.core(settings) as core:
            slow = _latencies(core, claims // 4)
        yield _added("latency added by durability, NV write of 12 ms", bed, slow, raw)


@dataclass(frozen=True, slots=True)
class _Latencies:
    """Medians, in seconds, at concurrency 1."""

    charged_s: float
    free_s: float


def _latencies(
    core: CoreProcess, claims: int, between: Callable[[CoreProcess], None] | None = None
) -> _Latencies:
    """Present claims, each twice: the second time it is not charged. ``between`` them, something may be done."""
    prepared = right_claims(core, claims)
    warm, charged, free = prepared.pop(), [], []
    for claimed in prepared:
        if between is not None:
            between(core)
        _seconds_of(core, warm)  # so that the claim to be timed does not pay for idle processors
        charged.append(_seconds_of(core, claimed))
        free.append(_seconds_of(core, claimed))
    return _Latencies(statistics.median(charged), statistics.median(free))


def _added(name: str, bed: Bed, measured: _Latencies, raw: RawRates) -> Figure:
    added = (measured.charged_s - measured.free_s) / raw.nv_write_s
    return Figure(name, bed.kind, added, "NV writes", at_most(1.5))


def slow_hardware(bed: Bed, claims: int) -> Iterator[Figure]:
    """With every NV write as slow as a real TPM's: what group commit gains."""
    with bed.slow(REAL_NV_WRITE_MS) as settings, bed.core(settings) as core:
        loaded = present_all(core, right_claims(core, claims), 64)
    gain = loaded.claims_per_s * REAL_NV_WRITE_MS / 1e3
    yield Figure("claims per slow NV write (12 ms), concurrency 64", bed.kind, gain, "", at_least(10))


def _seconds_of(core: CoreProcess, claimed: Claimed) -> float:
    started = time.perf_counter()
    assert isinstance(core.present(claimed), wire.VaultOpened)
    return time.perf_counter() - started


def _wait_until_settled(core: CoreProcess) -> None:
    """Wait until no verdict is left to be made durable: the epoch stands still."""
    epoch = -1
    while (now := _epoch(core)) != epoch:
        epoch = now
        time.sleep(0.05)


def _epoch(core: CoreProcess) -> int:
    statistics_read = core.call(wire.ReadStatistics())
    assert isinstance(statistics_read, wire.Statistics)
    return statistics_read.epoch
