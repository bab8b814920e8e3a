"""This machine and this user: libraries, clock, where a PIN can be asked."""

from __future__ import annotations

import subprocess
import sys
import time
from datetime import UTC, datetime
from typing import Final

from hwkm.cli.diagnosis.finding import Finding, ok, problem

CLIENT_LIBRARIES: Final = ("argon2", "cryptography", "httpx", "msgspec", "rich", "typer")
EARLIEST_TIME_S: Final = datetime(2026, 1, 1, tzinfo=UTC).timestamp()
"""hwkm is not older than this; a clock that says otherwise is wrong."""

_IMPORT_DEADLINE_S: Final = 30


def check_environment() -> list[Finding]:
    """Look at the machine and the user."""
    return [check_libraries(CLIENT_LIBRARIES), check_clock(time.time())]


def check_libraries(names: tuple[str, ...]) -> Finding:
    """See whether Python packages can be imported."""
    missing = {name: reason for name in names if (reason := import_error(name))}
    if not missing:
        return ok("libraries", f"{', '.join(names)} can be loaded")
    return problem(
        "libraries",
        "; ".join(f"{name}: {reason}" for name, reason in missing.items()),
        "hwkm cannot work without them",
        "install the locked packages: pip install --require-hashes -r requirements/runtime.txt",
    )


def import_error(name: str) -> str:
    """Why a package cannot be imported, or nothing. In a process of its own: some crash."""
    done = subprocess.run(
        [sys.executable, "-c", f"import {name}"],
        capture_output=True,
        text=True,
        timeout=_IMPORT_DEADLINE_S,
        check=False,
    )
    if done.returncode == 0:
        return ""
    lines = done.stderr.strip().splitlines()
    return lines[-1] if lines else f"the import ended with {done.returncode}"


def check_clock(now_s: float) -> Finding:
    """See whether the clock can be right."""
    said = datetime.fromtimestamp(now_s, tz=UTC).strftime("%Y-%m-%d %H:%M UTC")
    if now_s >= EARLIEST_TIME_S:
        return ok("clock", f"it is {said}")
    return problem(
        "clock",
        f"the clock says {said}",
        "the times in the audit log would be wrong (delays after wrong PINs do not depend on the clock)",
        "set the clock, or enable time synchronisation: timedatectl set-ntp true",
    )
