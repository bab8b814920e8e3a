"""``python -m bench.markdown BENCH.JSON...``: the measured table of ``docs/performance.md``."""

from __future__ import annotations

import json
import sys
from collections.abc import Iterator
from pathlib import Path
from typing import Any

_MARK = {None: "", True: "met", False: "**missed**"}


def lines(report: dict[str, Any]) -> Iterator[str]:
    """The table of one run, and what it was measured on."""
    machine = report["machine"]
    versions = {**machine["libraries"], **machine["packages"]}
    named = ", ".join(f"{name} {versions[name]}" for name in sorted(versions))
    yield (
        f"{machine['date']}, {machine['processor']}, {machine['cpus']} CPUs shared by client, daemon, core"
        f" and device, load before the run {machine['load_before']:.1f}, Python {machine['python']}: {named}."
    )
    yield ""
    yield "| figure | device | measured | goal | |"
    yield "|---|---|---|---|---|"
    for figure in report["figures"]:
        value = f"{figure['value']:,.3g}" if figure["value"] < 1000 else f"{figure['value']:,.0f}"
        measured = f"{value} {figure['unit']}".strip()
        row = (figure["name"], figure["device"], measured, figure["goal"], _MARK[figure["met"]])
        yield f"| {' | '.join(row)} |"


if __name__ == "__main__":
    for path in sys.argv[1:]:
        sys.stdout.write("\n".join(lines(json.loads(Path(path).read_text()))) + "\n")
