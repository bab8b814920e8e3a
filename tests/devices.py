"""Which devices a test runs on, and how a fixture makes one."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest

from hwkm.wire.core_messages import CoreSettings, Inventory
from tests.core_process import CoreProcess, Device, MemoryToken, core_settings, provision
from tests.hardware import SoftHsm, Swtpm

REAL = [
    pytest.param("softhsm", marks=pytest.mark.needs("softhsm2-util")),
    pytest.param("swtpm", marks=pytest.mark.needs("swtpm")),
]
ALL = ["memory", *REAL]


def make_device(kind: str, directory: Path, stack: ExitStack) -> Device:
    """Start a device that ends with ``stack``."""
    if kind == "memory":
        return MemoryToken(directory)
    device: Device = SoftHsm() if kind == "softhsm" else Swtpm()
    stack.callback(device.stop)
    return device


@dataclass
class Module:
    """A provisioned device with its node store; cores come and go."""

    device: Device
    settings: CoreSettings
    cohort_public_key: bytes

    def core(self) -> CoreProcess:
        """Begin a life of the core that is ready to serve."""
        core = CoreProcess(self.device)
        core.serve(self.settings)
        return core


def provisioned(kind: str, directory: Path) -> Iterator[Module]:
    """The body of a fixture: a module on a new device."""
    with ExitStack() as stack:
        device = make_device(kind, directory, stack)
        settings = core_settings(device, directory / "nodes.db")
        made = provision(device, settings)
        assert isinstance(made, Inventory), made
        yield Module(device, settings, made.cohort_public_key)
