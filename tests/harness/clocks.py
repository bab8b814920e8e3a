"""Other clocks for a process under test (``native/clock_shim.c``); those of the machine stay as they are."""

from __future__ import annotations

import secrets
import struct
import time
import uuid
from pathlib import Path
from typing import Final

from tests.harness.native_build import built

_FORM: Final = struct.Struct("=qq")


class Clocks:
    """Give ``environment`` to processes; then turn their clocks, also while they run."""

    def __init__(self, directory: Path) -> None:
        self._file = directory / "clocks"
        self._boot_id = directory / "boot_id"
        self._wall_ms = self._boot_ms = 0
        self._boot_id.write_text(Path("/proc/sys/kernel/random/boot_id").read_text())
        self._file.write_bytes(_FORM.pack(0, 0))
        self.environment = {
            "LD_PRELOAD": str(built("clock_shim")),
            "HWKM_CLOCKS": str(self._file),
            "HWKM_BOOT_ID": str(self._boot_id),
        }

    def set_wall_clock(self, ms: int) -> None:
        """Let it be so many milliseconds later than it is; negative: earlier."""
        self._wall_ms = ms
        self._write()

    def set_time_since_boot(self, ms: int) -> None:
        """Let it be so many milliseconds longer since boot than it is, or shorter."""
        self._boot_ms = ms
        self._write()

    def reboot(self) -> None:
        """A new boot id, and no time since boot. Processes that run keep the old id."""
        self._boot_id.write_text(f"{uuid.UUID(bytes=secrets.token_bytes(16), version=4)}\n")
        self.set_time_since_boot(-boot_time_ms())

    def _write(self) -> None:
        with self._file.open("r+b") as file:
            file.write(_FORM.pack(self._wall_ms, self._boot_ms))


def boot_time_ms() -> int:
    """Milliseconds since boot, as the machine itself counts."""
    return time.clock_gettime_ns(time.CLOCK_BOOTTIME) // 1_000_000
