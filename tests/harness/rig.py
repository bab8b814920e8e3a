"""A provisioned device whose core runs under every instrument, and can be taken back as often as needed.

One :class:`Rig` serves hundreds of crashes: the device is made and provisioned once, its state and
the node store are copied, and each run starts from the copies.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Final

import msgspec

from hwkm.wire.core_messages import CoreSettings, Inventory
from tests.core_process import CoreProcess, Device, core_settings, provision
from tests.devices import make_device
from tests.hardware import SoftHsm, Swtpm, short_directory
from tests.harness.board import Board
from tests.harness.lossy_storage import Recorder
from tests.harness.nursery import Nursery
from tests.harness.pkcs11_shim import shimmed
from tests.harness.seeded_bugs import VARIABLE
from tests.harness.snapshot import DirectoryPart, Files, Machine, device_part
from tests.harness.tpm_proxy import TpmProxy

NEVER_MS: Final = 3_600_000
"""Longer than any test: the core settles when it is stopped, and no challenge dies of age."""


@dataclass
class Rig:
    """A device under instruments."""

    kind: str
    device: Device
    settings: CoreSettings
    """Through the instruments."""
    direct: CoreSettings
    """Past them, to the same device and node store."""
    cohort_public_key: bytes
    board: Board
    storage: Recorder
    machine: Machine
    nursery: Nursery
    tpm: TpmProxy | None
    pristine: dict[str, Files] = field(default_factory=dict)
    """The parts of ``machine``, just provisioned."""

    def reset(self) -> None:
        """Take everything back to the time when it was just provisioned. No core may be running."""
        self.board.arm()
        self.machine.restore(self.pristine)
        self.storage.begin()

    @property
    def hardware(self) -> str:
        """The prefix of the events of this kind of device; there are none for memory."""
        return {"softhsm": "pkcs11.", "swtpm": "tpm."}.get(self.kind, "hardware.")

    def core(self, **changes: object) -> CoreProcess:
        """Begin a life of the core that is ready to serve; ``changes`` of its settings."""
        core = self.nursery.core()
        try:
            core.serve(msgspec.structs.replace(self.settings, **changes))
        except BaseException:
            core.__exit__(None, None, None)
            raise
        return core

    def power_cycle(self) -> None:
        """The host loses power: of the node store only what was synced is kept.

        Hardware keeps what it answered for. (The file that plays a memory token is no hardware and
        is never synced; it is kept, too.) No core may be running.
        """
        disk = self.storage.disk()
        for operation in self.storage.operations():
            disk.apply(operation)
        kept = {name: data for name, data in disk.synced().items() if name.startswith("nodes/")}
        DirectoryPart(self.storage.directory / "nodes").restore(
            {name.removeprefix("nodes/"): data for name, data in kept.items()}
        )
        self.device.restart()


@contextmanager
def make_rig(kind: str, seeded_bug: str | None = None) -> Iterator[Rig]:
    """Make a device, provision it, and put the instruments around it.

    ``seeded_bug`` (:mod:`tests.harness.seeded_bugs`) is planted in its cores.
    """
    with ExitStack() as stack:
        directory = short_directory()
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        nodes, token = directory / "disk/nodes", directory / "disk/token"
        nodes.mkdir(parents=True)
        token.mkdir()
        device = make_device(kind, token, stack)
        direct = core_settings(
            device, nodes / "nodes.db", settle_delay_ms=NEVER_MS, challenge_lifetime_ms=NEVER_MS
        )
        made = provision(device, direct)
        assert isinstance(made, Inventory), made
        uri, board, tpm = _instrumented(device, directory, stack)
        storage = Recorder(directory / "disk", directory / "storage.log", board.path)
        planted = {VARIABLE: seeded_bug} if seeded_bug else {}
        rig = Rig(
            kind=kind,
            device=device,
            settings=msgspec.structs.replace(direct, token_uri=uri),
            direct=direct,
            cohort_public_key=made.cohort_public_key,
            board=board,
            storage=storage,
            machine=Machine({"device": device_part(device), "nodes": DirectoryPart(nodes)}),
            nursery=stack.enter_context(Nursery({**device.environment, **storage.environment, **planted})),
            tpm=tpm,
        )
        rig.pristine = rig.machine.take()
        yield rig


def _instrumented(device: Device, directory: Path, stack: ExitStack) -> tuple[str, Board, TpmProxy | None]:
    if isinstance(device, SoftHsm):
        uri, board = shimmed(device.uri, directory)
        return uri, board, None
    board = Board.create(directory / "board")
    if isinstance(device, Swtpm):
        proxy = stack.enter_context(TpmProxy(device.socket_path, directory / "proxy", board))
        return proxy.uri, board, proxy
    return device.uri, board, None
