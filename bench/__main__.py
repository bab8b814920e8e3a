"""``python -m bench``: measure, print the table, write the JSON."""

from __future__ import annotations

import argparse
import tempfile
from collections.abc import Iterator, Sequence
from pathlib import Path

from rich.console import Console

from bench import core_figures
from bench.bed import make_bed
from bench.comparison import comparison
from bench.daemon_figures import service
from bench.figure import Figure
from bench.growth import growth
from bench.report import machine, print_table, save
from bench.stretching import stretching

_DEVICES = ("softhsm", "swtpm")
_PARTS = ("vaults", "keys")


def main() -> None:
    """Parse the arguments and measure."""
    parser = argparse.ArgumentParser(prog="python -m bench", description=__doc__)
    parser.add_argument(
        "--short", action="store_true", help="fewer rounds and no 10^6 vaults: a minute or two"
    )
    parser.add_argument(
        "--device", choices=_DEVICES, action="append", help="only this device; may be repeated"
    )
    parser.add_argument(
        "--part", choices=_PARTS, action="append", help="only the vault or the key service; may be repeated"
    )
    parser.add_argument("--json", type=Path, default=Path("bench.json"), help="where the JSON goes")
    arguments = parser.parse_args()
    console, measured_on, figures = Console(stderr=True), machine(), []
    with tempfile.TemporaryDirectory(prefix="hwkm-bench-") as directory:
        devices, parts = arguments.device or _DEVICES, arguments.part or _PARTS
        for figure in _all(Path(directory), devices, parts, short=arguments.short):
            console.print(f"{figure.name} ({figure.device}): {figure.value:,.3g} {figure.unit}", style="dim")
            figures.append(figure)
    print_table(figures)
    save(arguments.json, measured_on, figures)


def _all(directory: Path, devices: Sequence[str], parts: Sequence[str], *, short: bool) -> Iterator[Figure]:
    for kind in devices:
        place = directory / kind
        place.mkdir()
        if "vaults" in parts:
            yield from _of_device(kind, place, short=short)
        if "keys" in parts:
            yield from comparison(kind, place, short=short)
    if "vaults" in parts:
        yield from _of_no_device(directory, short=short)


def _of_no_device(directory: Path, *, short: bool) -> Iterator[Figure]:
    yield from growth(directory, [10**3, 10**5] if short else [10**3, 10**5, 10**6])
    yield from stretching()


def _of_device(kind: str, directory: Path, *, short: bool) -> Iterator[Figure]:
    claims = 640 if short else 2560
    raw_seconds = 0.5 if short else 2.0
    with make_bed(kind, directory) as bed:
        yield from core_figures.rates(bed, claims, raw_seconds)
        yield from core_figures.latency(bed, claims // 8, raw_seconds)
        yield from core_figures.nv_writes(bed, claims)
        yield from core_figures.slow_hardware(bed, claims)
        raw = bed.raw_rates(raw_seconds)
    yield from service(kind, directory, raw, claims)


if __name__ == "__main__":
    main()
