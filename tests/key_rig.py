"""The key service in this process, over a real core and a real database, with faults at chosen steps.

``faults`` counts every request to the core and every work of the database's thread that changes something,
and at the wanted one does what a crash would: kills the core, or ends the daemon by CrashedDaemon.
"""

from __future__ import annotations

import asyncio
import os
import signal
from collections.abc import AsyncIterator, Callable, Mapping
from contextlib import asynccontextmanager
from dataclasses import dataclass, field
from pathlib import Path
from typing import Any, Literal, TypeVar

from hwkm.audit.record import Caller
from hwkm.errors import StorageUnavailable
from hwkm.server.core_calls import CoreCalls
from hwkm.server.keys.all_keys import Keys
from hwkm.server.keys.book import KeyBook
from hwkm.server.keys.desk import KeyDesk, KeyLimits
from hwkm.server.keys.domain import DomainRotation
from hwkm.server.keys.names import KeyNames
from hwkm.server.keys.principal import KeyCall, KeyGrant, Principal
from hwkm.server.limits import Busy
from hwkm.server.policy import KEY_OPERATIONS
from hwkm.server.supervisor import CoreSupervisor
from hwkm.wire import key_api as api
from hwkm.wire.core_messages import CoreReply, CoreRequest
from tests.core_process import MemoryToken, core_settings, provision

ACCOUNT = "000000000001"
CALLER = Caller(gid=0, pid=1, uid=0)
ROOT = Principal(ACCOUNT, "uid 0", CALLER, dict.fromkeys(KEY_OPERATIONS, (KeyGrant(("*",), "*"),)))
READY_DEADLINE_S = 60.0

T = TypeVar("T")
Kind = Literal["core killed before", "core killed after", "daemon killed before", "daemon killed after"]
CORE_KINDS: tuple[Kind, ...] = ("core killed before", "core killed after")
DAEMON_KINDS: tuple[Kind, ...] = ("daemon killed before", "daemon killed after")


class CrashedDaemon(BaseException):
    """Nothing that comes after this point was done."""


@dataclass
class Faults:
    """What goes wrong, once, at step number ``at``; ``steps`` counts on."""

    kind: Kind | None = None
    at: int = 0
    steps: int = 0
    armed: bool = False
    crashed: asyncio.Event = field(default_factory=asyncio.Event)

    def step(self) -> int:
        """The number of the step that begins now; 0 while nothing is to go wrong."""
        self.steps += self.armed
        return self.steps if self.armed else 0

    def strikes(self, step: int, when: str) -> bool:
        """Whether this is the moment."""
        return self.armed and self.kind is not None and step == self.at and self.kind.endswith(when)


class FaultyCore(CoreCalls):
    """Requests to a real core that is killed at the chosen step."""

    def __init__(self, supervisor: CoreSupervisor, faults: Faults) -> None:
        super().__init__(supervisor, READY_DEADLINE_S)
        self._its_supervisor = supervisor
        self._faults = faults

    async def send(self, request: CoreRequest) -> CoreReply:
        step = self._faults.step()
        await self._strike(step, "before")
        reply = await super().send(request)
        await self._strike(step, "after")
        return reply

    async def _strike(self, step: int, when: str) -> None:
        faults = self._faults
        if not faults.strikes(step, when):
            return
        faults.armed = False
        if faults.kind in DAEMON_KINDS:
            faults.crashed.set()
            raise CrashedDaemon
        pid = self._its_supervisor.core_pid
        assert pid
        os.kill(pid, signal.SIGKILL)
        if when == "after":
            # Its answer is lost with it.
            await self.until_ready()
            raise Busy("the trusted core is restarting; try again shortly", 500)

    async def until_ready(self) -> None:
        """Wait until the next life of the core serves."""
        supervisor, restarts = self._its_supervisor, self._its_supervisor.restarts
        await until(lambda: supervisor.state != "ready" or supervisor.restarts != restarts)
        await until(lambda: supervisor.state == "ready")


class FaultyBook(KeyBook):
    """The database, with the daemon killed at the chosen step."""

    faults: Faults

    async def run(self, work: Callable[..., T], *arguments: Any) -> T:
        step = self.faults.step() if self.faults.kind in DAEMON_KINDS else 0
        self._strike(step, "before")
        result = await super().run(work, *arguments)
        self._strike(step, "after")
        return result

    def _strike(self, step: int, when: str) -> None:
        if self.faults.kind in DAEMON_KINDS and self.faults.strikes(step, when):
            self.faults.armed = False
            self.faults.crashed.set()
            raise CrashedDaemon


class Rig:
    """One life of the daemon's key service."""

    def __init__(self, desk: KeyDesk, core: FaultyCore, faults: Faults) -> None:
        self.desk = desk
        self.core = core
        self.faults = faults
        self.keys = Keys(desk)
        self.notes: list[tuple[str, str, str]] = []
        self.log_is_full = False
        self.found_log_full = asyncio.Event()
        self.domain = DomainRotation(desk, self._note, grace_s=0.0, retry_s=0.01)

    async def _note(self, operation: str, outcome: str, detail: Mapping[str, str]) -> None:
        if self.log_is_full:
            self.found_log_full.set()
            raise StorageUnavailable("no room for a record")
        self.notes.append((operation, outcome, detail["generation"]))

    async def create(self, **fields: Any) -> str:
        return (await self.keys.create(call(), api.CreateKey(**fields))).arn

    async def encrypt(self, key: str, plaintext: bytes, **context: str) -> bytes:
        item = api.PlaintextItem(plaintext=plaintext, context=context)
        return (await self.keys.encrypt(call(), key, [item])).items[0]

    async def decrypt(self, ciphertext: bytes, **context: str) -> bytes:
        item = api.CiphertextItem(ciphertext=ciphertext, context=context)
        (opened,) = (await self.keys.decrypt(call(), None, [item])).items
        assert opened.plaintext is not None
        return opened.plaintext

    async def rotation_ended(self) -> api.DomainInfo:
        """Wait until no rotation is going on."""
        await until(lambda: not self.domain.is_running)
        return await self.domain.info()


async def until(holds: Callable[[], bool]) -> None:
    """Wait for what nobody tells of."""
    async with asyncio.timeout(READY_DEADLINE_S):
        while not holds():  # noqa: ASYNC110
            await asyncio.sleep(0.005)


def call(principal: Principal = ROOT) -> KeyCall:
    return KeyCall(principal)


class KeyWorld:
    """A provisioned memory token and a database; daemons live and die on them."""

    def __init__(self, directory: Path) -> None:
        self.device = MemoryToken(directory)
        self.settings = core_settings(self.device, directory / "nodes.db")
        provision(self.device, self.settings)
        self.url = f"sqlite:///{directory / 'records.db'}"
        self.now_ms = 1_800_000_000_000

    @asynccontextmanager
    async def daemon(self, faults: Faults | None = None, **limits: int) -> AsyncIterator[Rig]:
        """One life. However it ends, nothing of it goes on."""
        faults = faults or Faults()
        names = KeyNames("us-east-1")
        book = await FaultyBook.open(self.url, names, cached_max=limits.get("cached_max", 100))
        book.faults = faults
        supervisor = CoreSupervisor(self.settings, on_event=lambda _event: None)
        core = FaultyCore(supervisor, faults)
        desk = KeyDesk(
            core,
            book,
            names,
            KeyLimits(limits.get("keys", 1000), limits.get("versions", 100), limits.get("recorded", 100)),
            lambda: self.now_ms,
        )
        rig = Rig(desk, core, faults)
        try:
            await supervisor.start()
            yield rig
        finally:
            faults.armed = False
            await rig.domain.stop()
            await supervisor.stop()
            await book.close()
