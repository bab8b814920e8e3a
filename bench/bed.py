"""What figures are measured on: a provisioned device, its cores, its raw rates."""

from __future__ import annotations

import json
import os
import subprocess
import sys
from collections.abc import Iterator, Mapping
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, replace
from pathlib import Path

import msgspec

from hwkm.wire.core_messages import CoreSettings
from tests.core_process import CoreProcess
from tests.devices import Module, provisioned
from tests.hardware import SoftHsm, Swtpm
from tests.harness.board import Board
from tests.harness.native_build import built
from tests.harness.pkcs11_shim import shimmed
from tests.harness.plan import Plan
from tests.harness.tpm_relay import relayed

ANCHOR_WRITE = {"softhsm": "pkcs11.C_CreateObject", "swtpm": "tpm.NV_Write"}
"""The event that is one NV write, as the proxies name it."""

AGREEMENTS_PER_CLAIM = 2


@dataclass(frozen=True, slots=True)
class RawRates:
    """Seconds of one key agreement and of one NV write, with nothing around them."""

    agree_s: float
    nv_write_s: float

    @property
    def claims_per_s(self) -> float:
        """Claims whose key agreements the device could do in a second, and nothing else."""
        return 1 / (AGREEMENTS_PER_CLAIM * self.agree_s)

    def mean(self, other: RawRates) -> RawRates:
        """Between what was measured before and after: the speed of a shared machine drifts."""
        return RawRates((self.agree_s + other.agree_s) / 2, (self.nv_write_s + other.nv_write_s) / 2)


@dataclass(frozen=True)
class Bed:
    """A device with its directory; ``kind`` is softhsm or swtpm."""

    kind: str
    module: Module
    directory: Path

    def core(self, settings: CoreSettings | None = None) -> CoreProcess:
        """Begin a life of the core, directly on the device unless settings say otherwise."""
        core = CoreProcess(self.module.device)
        core.serve(settings or self.module.settings)
        return core

    def raw_rates(self, seconds: float, uri: str | None = None) -> RawRates:
        """Measure the device itself, or what ``uri`` leads through to it. No core may be running."""
        device = self.module.device
        command = [sys.executable, "-m", "bench.raw", uri or device.uri, str(device.pin_file), str(seconds)]
        done = subprocess.run(
            command, env={**os.environ, **device.environment}, check=True, capture_output=True
        )
        return RawRates(**json.loads(done.stdout))

    @contextmanager
    def counted(self) -> Iterator[tuple[CoreSettings, Board]]:
        """Settings that lead through a proxy, and the board on which it counts."""
        device, settings = self.module.device, self.module.settings
        with ExitStack() as stack:
            if isinstance(device, SoftHsm):
                uri, board = shimmed(device.uri, self.directory)
                stack.callback((self.directory / "shim.so.board").unlink)
            else:
                assert isinstance(device, Swtpm)
                path = self.directory / "board"
                board = Board.create(path)
                stack.callback(path.unlink)
                listen = self.directory / "proxy"
                uri = stack.enter_context(relayed(device.socket_path, listen, path))
                for name in ("proxy", "proxy.ctrl"):
                    stack.callback((self.directory / name).unlink)
            yield msgspec.structs.replace(settings, token_uri=uri), board

    @contextmanager
    def slow(self, nv_write_ms: int) -> Iterator[CoreSettings]:
        """Settings that lead to the device with every NV write so much slower."""
        device = self.module.device
        if isinstance(device, SoftHsm):
            with self.counted() as (settings, board):
                board.arm(Plan.slow({ANCHOR_WRITE[self.kind]: nv_write_ms}))
                yield settings
            return
        preload = {"LD_PRELOAD": str(built("slow_store")), "HWKM_SLOW_STORE_MS": str(nv_write_ms)}
        with _environment(preload):
            device.restart()
        yield self.module.settings
        device.restart()


@contextmanager
def _environment(variables: Mapping[str, str]) -> Iterator[None]:
    """For processes that are started inside."""
    os.environ.update(variables)
    try:
        yield
    finally:
        for name in variables:
            del os.environ[name]


@contextmanager
def make_bed(kind: str, directory: Path) -> Iterator[Bed]:
    """Start and provision a device."""
    for module in provisioned(kind, directory):
        settings = msgspec.structs.replace(module.settings, challenges_max=100_000)
        yield Bed(kind, replace(module, settings=settings), directory)
