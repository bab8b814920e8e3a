"""Closed loops on the core's channel: so many claims outstanding, one more for each that is decided."""

from __future__ import annotations

import statistics
import time
from collections import deque
from collections.abc import Sequence
from dataclasses import dataclass

from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess
from tests.vault_clients import Claimed, seal


@dataclass(frozen=True, slots=True)
class Loaded:
    """What a loop saw."""

    claims: int
    seconds: float
    latencies_s: tuple[float, ...]

    @property
    def claims_per_s(self) -> float:
        """Claims decided in a second."""
        return self.claims / self.seconds

    @property
    def p50_s(self) -> float:
        """Median latency."""
        return statistics.median(self.latencies_s)


def right_claims(core: CoreProcess, count: int) -> list[Claimed]:
    """Right claims on so many new vaults; the client's cryptography is done here, before the clock."""
    assert core.ready is not None
    vaults = [seal(core.ready.cohort_public_key) for _ in range(count)]
    return [core.claim(vault, vault.kf_hash) for vault in vaults]


def present_all(core: CoreProcess, claims: Sequence[Claimed], concurrency: int) -> Loaded:
    """Present the claims with so many outstanding."""
    latencies: list[float] = []
    outstanding: deque[tuple[int, float]] = deque()
    started = time.perf_counter()

    def take_oldest() -> None:
        number, sent = outstanding.popleft()
        assert isinstance(core.reply(number), wire.VaultOpened)
        latencies.append(time.perf_counter() - sent)

    for claimed in claims:
        if len(outstanding) == concurrency:
            take_oldest()
        outstanding.append((core.send_claim(claimed), time.perf_counter()))
    while outstanding:
        take_oldest()
    return Loaded(len(claims), time.perf_counter() - started, tuple(latencies))
