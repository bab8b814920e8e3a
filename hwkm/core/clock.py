"""The core's clock: milliseconds since boot, suspended time included, and which boot.

Nobody can set ``CLOCK_BOOTTIME`` (Linux ``clock_gettime(2)``); setting the wall clock neither
shortens a delay nor lengthens a challenge's life.
"""

from __future__ import annotations

import time
import uuid
from pathlib import Path
from typing import Final

from hwkm.formats.counter import Instant

_BOOT_ID_PATH: Final = Path("/proc/sys/kernel/random/boot_id")


class BootClock:
    """Reads the moment as an :class:`~hwkm.formats.counter.Instant`."""

    def __init__(self) -> None:
        self._boot_id = uuid.UUID(_BOOT_ID_PATH.read_text().strip()).bytes

    def now(self) -> Instant:
        """The present moment."""
        return Instant(self._boot_id, time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000)
