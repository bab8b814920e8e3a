"""Data keys: hwkmd on a token with its durable audit log, side by side with OpenBao Transit and the raw token.

Contenders take turns, round by round, on the same generator; a ratio is the median of the ratios of the
rounds, so that what else happens on the machine hits both. Rates are of requests answered with 200.
"""

from __future__ import annotations

import json
import os
import statistics
import subprocess
import sys
from collections.abc import Iterable, Iterator, Sequence
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path
from typing import Protocol

from bench import closed_loop
from bench.closed_loop import Load
from bench.figure import Figure, at_least, at_most
from bench.key_daemon import AwsContender, KeyDaemon, NativeContender, key_daemon
from bench.key_floors import floors
from bench.openbao import openbao
from tests.core_process import Device
from tests.devices import make_device

CONNECTIONS = (1, 4)
ITEMS = 100
_BASE = "OpenBao Transit"
_LOADS = "hwkm_key_loads_total"


class Contender(Protocol):
    """A server and its way to ask for data keys."""

    @property
    def name(self) -> str: ...

    @property
    def address(self) -> closed_loop.Address: ...

    def data_keys(self, count: int) -> list[bytes]: ...

    def decryptions(self, answers: Sequence[bytes]) -> list[bytes]: ...


class BatchContender(Contender, Protocol):
    """One that takes many items in a request."""

    def batches(self, count: int, items: int) -> list[bytes]: ...

    def batch_decryptions(self, answers: Sequence[bytes]) -> list[bytes]: ...


@dataclass(frozen=True, slots=True)
class RawHmac:
    """Seconds of one HMAC in the hardware; ``bare_s`` on a TPM without tpm2-tss."""

    hmac_s: float
    bare_s: float | None = None


def comparison(kind: str, directory: Path, *, short: bool) -> Iterator[Figure]:
    """All figures of the key service on one device."""
    requests, keys, rounds = (200, 200, 2) if short else (2000, 10_000, 5)
    seconds = 0.5 if short else 3.0
    yield from floors(kind, directory, seconds=seconds, items=ITEMS)
    with ExitStack() as stack:
        device = make_device(kind, directory, stack)
        raw = _raw_hmac(device, seconds)
        yield Figure("raw HMACs", kind, 1 / raw.hmac_s, "per s")
        if raw.bare_s is not None:
            yield Figure("raw HMACs, bare commands", kind, 1 / raw.bare_s, "per s")
        rival = stack.enter_context(openbao(directory))
        daemon = stack.enter_context(key_daemon(device))
        key = daemon.new_key()
        native, aws = NativeContender(daemon, [key]), AwsContender(daemon, key)
        yield from _side_by_side(kind, [rival, native, aws], requests, rounds)
        for connections in CONNECTIONS:
            yield from _batches(kind, [rival, native], raw, requests // 5, rounds, connections)
        yield from _counts(kind, daemon, native, requests)
        yield from _many_keys(kind, daemon, requests, keys, rounds)


def _raw_hmac(device: Device, seconds: float) -> RawHmac:
    command = [sys.executable, "-m", "bench.raw_hmac", device.uri, str(device.pin_file), str(seconds)]
    done = subprocess.run(command, env={**os.environ, **device.environment}, check=True, capture_output=True)
    return RawHmac(**json.loads(done.stdout))


# --- one request, one data key ---------------------------------------------------------------


def _side_by_side(kind: str, contenders: Sequence[Contender], requests: int, rounds: int) -> Iterator[Figure]:
    for connections in CONNECTIONS:
        made: list[dict[str, Load]] = []
        opened: list[dict[str, Load]] = []
        for _ in range(rounds):
            made.append({})
            opened.append({})
            for contender in contenders:
                load = closed_loop.run(contender.address, contender.data_keys(requests), connections)
                made[-1][contender.name] = load
                opened[-1][contender.name] = closed_loop.run(
                    contender.address, contender.decryptions(load.bodies), connections
                )
        for verb, loads in (("data key", made), ("decrypt", opened)):
            yield from _figures(kind, f"{verb}, {_plural(connections)}", connections, loads)


def _figures(kind: str, label: str, connections: int, rounds: Sequence[dict[str, Load]]) -> Iterator[Figure]:
    for name in rounds[0]:
        loads = [each[name] for each in rounds]
        p99_goal = at_most(2) if connections == 1 and kind == "softhsm" and name != _BASE else None
        yield Figure(f"{label}: {name}", kind, _median(load.rate for load in loads), "per s")
        yield Figure(f"{label}: {name}, p50", kind, _median(load.quantile_ms(50) for load in loads), "ms")
        yield Figure(
            f"{label}: {name}, p99", kind, _median(load.quantile_ms(99) for load in loads), "ms", p99_goal
        )
        if name != _BASE:
            ratio = _median(each[name].rate / each[_BASE].rate for each in rounds)
            goal = at_least(1.5) if kind == "softhsm" else None
            yield Figure(f"{label}: {name} over OpenBao", kind, ratio, "", goal)


# --- batches ---------------------------------------------------------------------------------


def _batches(
    kind: str,
    contenders: Sequence[BatchContender],
    raw: RawHmac,
    requests: int,
    rounds: int,
    connections: int,
) -> Iterator[Figure]:
    for contender in contenders:
        made, opened = [], []
        for _ in range(rounds):
            load = closed_loop.run(contender.address, contender.batches(requests, ITEMS), connections)
            made.append(load.rate * ITEMS)
            requests_to_open = contender.batch_decryptions(load.bodies)
            load = closed_loop.run(contender.address, requests_to_open, connections)
            opened.append(load.rate * ITEMS)
        for verb, rates in (("data keys", made), ("decrypt", opened)):
            label = f"{verb}, batches of {ITEMS}, {_plural(connections)}: {contender.name}"
            yield Figure(label, kind, _median(rates), "items per s")
            if contender.name != _BASE:
                goal = at_least(0.5 if kind == "softhsm" else 0.6)
                yield Figure(f"{label} over raw HMACs", kind, _median(rates) * raw.hmac_s, "", goal)


# --- counts, which do not depend on the machine ----------------------------------------------


def _counts(kind: str, daemon: KeyDaemon, native: NativeContender, requests: int) -> Iterator[Figure]:
    """What the hardware does for one data key."""
    before = daemon.metrics()
    closed_loop.run(native.address, native.data_keys(requests))
    after = daemon.metrics()

    def per_data_key(series: str) -> float:
        return (after[series] - before[series]) / requests

    yield Figure("HMACs per data key", kind, per_data_key("hwkm_key_hmacs_total"), "", at_most(1))
    yield Figure("loads per data key, key in use", kind, per_data_key(_LOADS), "", at_most(0))
    draws = per_data_key("hwkm_random_draws_total")
    yield Figure("draws of the generator per data key", kind, draws, "", at_most(0.1))


# --- many keys -------------------------------------------------------------------------------


def _many_keys(kind: str, daemon: KeyDaemon, requests: int, keys: int, rounds: int) -> Iterator[Figure]:
    """Requests spread over all keys, against requests spread over ten of them; every key was used before."""
    few = [daemon.new_key() for _ in range(10)]
    many = few + daemon.new_keys(keys - len(few))
    closed_loop.run(daemon.socket_path, NativeContender(daemon, many).one_of_each())
    rates: dict[int, list[float]] = {len(few): [], len(many): []}
    loads = dict.fromkeys(rates, 0.0)
    for _ in range(rounds):
        for chosen in (few, many):
            contender = NativeContender(daemon, chosen)
            before = daemon.metrics()[_LOADS]
            load = closed_loop.run(contender.address, contender.data_keys(requests))
            rates[len(chosen)].append(load.rate)
            loads[len(chosen)] += (daemon.metrics()[_LOADS] - before) / (rounds * requests)
    for count, measured in rates.items():
        label = f"data key, spread over {count:,} keys"
        yield Figure(label, kind, _median(measured), "per s")
        yield Figure(f"{label}: loads", kind, loads[count], "per data key")
    ratio = _median(one / other for one, other in zip(rates[len(many)], rates[len(few)], strict=True))
    yield Figure("data key, many keys over 10 keys", kind, ratio, "", at_least(0.9))


def _median(values: Iterable[float]) -> float:
    return statistics.median(values)


def _plural(connections: int) -> str:
    return f"{connections} connection{'s' if connections > 1 else ''}"
