"""The last chapter of every story: the audit log is verified by its public key alone, and a forged copy is not."""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from demo.stage import Person, expect, heading

DAMAGED: Final = 23
_CHECK: Final = "--log-key log-key --checkpoint checkpoint"


def keep_checkpoint(operator: Person) -> None:
    """Keep a signed state of the audit log, and the key that signed it."""
    heading("Everything is on record")
    operator.types("hwkm audit key --out log-key")
    operator.types("hwkm audit checkpoint --out checkpoint")


def verify_audit(operator: Person, log: Path, show: str, forge: str, promise: str) -> None:
    """Check the log, show some of its records, and check a copy in which the first ``forge`` became ``ok``."""
    operator.types(f"hwkm audit verify {log} {_CHECK}", shows=["all whole and in order"])
    operator.types(f"hwkm audit show {log} {show}")
    forged = operator.home / "forged"
    shutil.copytree(log, forged)
    newest = max(path for path in (forged / "records").iterdir())
    newest.write_text(newest.read_text().replace(forge, "ok", 1))
    operator.types(f"hwkm audit verify forged {_CHECK}", status=DAMAGED)
    expect(True, promise)
