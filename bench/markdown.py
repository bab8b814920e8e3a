"""``python -m bench.markdown BENCH.JSON...``: the measured tables of ``docs/performance.md``."""

from __future__ import annotations

import json
import re
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_CONTENDERS = ("OpenBao Transit", "hwkmd, native API", "hwkmd, AWS wire")
_OVER = " over OpenBao"
_SIDE_BY_SIDE = re.compile(
    rf"(?P<what>[a-z ]+, \d+ connections?): (?P<who>{'|'.join(_CONTENDERS)})(?P<part>, p50|, p99|{_OVER})?"
)
_MARK = {None: "", True: "met", False: "**missed**"}


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The table of one run, and what it was measured on."""
    machine = report["machine"]
    versions = {**machine["libraries"], **machine["packages"], "OpenBao": machine["openbao"]}
    named = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    yield (
        f"{machine['date']}, {machine['processor']}, {machine['cpus']} CPUs shared by client, daemon, core"
        f" and device, load before the run {machine['load_before']:.1f}, Python {machine['python']}: {named}."
    )
    yield ""
    yield "| figure | device | measured | goal | |"
    yield "|---|---|---|---|---|"
    for figure in report["figures"]:
        if _SIDE_BY_SIDE.fullmatch(figure["name"]):
            continue
        value = f"{figure['value']:,.3g}" if figure["value"] < 1000 else f"{figure['value']:,.0f}"
        measured = f"{value} {figure['unit']}".strip()
        row = (figure["name"], figure["device"], measured, figure["goal"], _MARK[figure["met"]])
        yield f"| {' | '.join(row)} |"


def side_by_side(report: dict[str, Any]) -> Iterator[str]:
    """The comparison: a row for each load, a column for each contender."""
    cells: dict[tuple[str, str], dict[tuple[str, str], float]] = {}
    for figure in report["figures"]:
        if found := _SIDE_BY_SIDE.fullmatch(figure["name"]):
            row = cells.setdefault((found["what"], figure["device"]), {})
            row[found["who"], found["part"] or ""] = figure["value"]
    yield f"| load | device | {' | '.join(_CONTENDERS)} |"
    yield "|---|---|---|---|---|"
    for (what, device), row in cells.items():
        yield f"| {what} | {device} | {' | '.join(_cell(row, who) for who in _CONTENDERS)} |"


def _cell(row: dict[tuple[str, str], float], who: str) -> str:
    text = f"{row[who, '']:,.0f} per s; {row[who, ', p50']:.2f}, {row[who, ', p99']:.2f} ms"
    return f"{text}; {row[who, _OVER]:.2f}" if (who, _OVER) in row else text


if __name__ == "__main__":
    for path in sys.argv[1:]:
        loaded = json.loads(Path(path).read_text())
        sys.stdout.write("\n".join([*lines(loaded), "", *side_by_side(loaded)]) + "\n")
