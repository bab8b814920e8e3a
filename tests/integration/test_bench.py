"""The short benchmark runs, says what it measured on, and its counts meet their goals.

Rates and times are reported by ``make bench`` and never asserted; counts do not depend on the machine.
One test for each service, since one run serves all that is asked of it.
"""

from __future__ import annotations

import json
import subprocess
import sys
from functools import partial
from pathlib import Path
from typing import Any

import pytest

ROOT = Path(__file__).resolve().parents[2]
ON_BOTH_DEVICES = (
    "core: claims over raw key operations",
    "latency added by durability",
    "latency added by durability, after a pause",
    "latency added by durability, NV write of 12 ms",
    "claims per slow NV write (12 ms), concurrency 64",
    "service: p50 of a right claim",
)
CONTENDERS = ("OpenBao Transit", "hwkmd, native API", "hwkmd, AWS wire")
BOTH = {"softhsm", "swtpm"}


def run_benchmark(part: str, path: Path) -> dict[str, Any]:
    command = [sys.executable, "-m", "bench", "--short", "--part", part, "--json", str(path)]
    subprocess.run(command, cwd=ROOT, check=True, stdout=subprocess.DEVNULL)
    loaded: dict[str, Any] = json.loads(path.read_text())
    return loaded


@pytest.mark.slow
@pytest.mark.needs("swtpm", "softhsm2-util", "gcc")
def test_short_benchmark_of_vaults_counts_meet_their_goals(tmp_path: Path) -> None:
    report = run_benchmark("vaults", tmp_path / "bench.json")
    assert {"date", "python", "processor", "cpus", "libraries", "packages"} <= report["machine"].keys()
    rows = report["figures"]
    values = partial(by_device, rows)

    for name in ON_BOTH_DEVICES:
        assert values(name).keys() == BOTH, name
    assert values("NV writes on the critical path") == {"softhsm": 1, "swtpm": 1}
    assert max(values("NV writes per claim, concurrency 1").values()) <= 2
    counted = [row for row in rows if row["name"].startswith("hashes per claim")]
    assert len(counted) >= 2
    assert all(row["met"] for row in counted)
    assert {row["value"] for row in rows if row["name"].startswith("NV bytes")} == {73}


@pytest.mark.slow
@pytest.mark.needs("swtpm", "softhsm2-util", "bao")
def test_short_benchmark_of_data_keys_counts_meet_their_goals(tmp_path: Path) -> None:
    values = partial(by_device, run_benchmark("keys", tmp_path / "bench.json")["figures"])
    for verb in ("data key", "decrypt"):
        for load in ("1 connection", "4 connections"):
            for contender in CONTENDERS:
                assert values(f"{verb}, {load}: {contender}").keys() == BOTH
    assert values("HMACs per data key") == dict.fromkeys(BOTH, 1)
    assert values("loads per data key, key in use") == dict.fromkeys(BOTH, 0)
    assert max(values("draws of the generator per data key").values()) <= 0.1


def by_device(rows: list[dict[str, Any]], name: str) -> dict[str, float]:
    return {row["device"]: row["value"] for row in rows if row["name"] == name}
