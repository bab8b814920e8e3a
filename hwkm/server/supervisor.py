"""Starts the trusted core, restarts it when it ends, and passes requests to it.

A core that ended by itself is started again at once, then with growing pauses. Errors that a
restart cannot mend (a wrong PIN, a tampered anchor, storage that does not match) stop the
restarts: a PIN is never tried twice, and state is never repaired by trying again.
"""

from __future__ import annotations

import asyncio
import contextlib
import os
import socket
import sys
from collections.abc import Callable
from typing import Final, Literal

from hwkm.core.environment import FREED_MEMORY_OVERWRITTEN, NO_BYTECODE_OPTIONS
from hwkm.errors import (
    HwkmError,
    StorageUnavailable,
    TokenBusy,
    TokenInUse,
    TokenUnavailable,
    Unavailable,
)
from hwkm.server.core_link import CoreLink
from hwkm.wire.core_messages import (
    AddDomain,
    CohortRead,
    CohortStart,
    CoreReply,
    CoreRequest,
    CoreSettings,
    CoreStart,
    CoreStarted,
    EvidenceMade,
    Inspect,
    Inventory,
    MakeEvidence,
    Provision,
    Ready,
    Serve,
    Stop,
    Sweep,
    Swept,
)

RESTART_PAUSES_S: Final = (0.0, 0.1, 0.2, 0.5, 1.0, 2.0, 5.0)
STOP_TIMEOUT_S: Final = 10.0

_PASSING: Final = (TokenUnavailable, TokenBusy, TokenInUse, StorageUnavailable, Unavailable)
_ENVIRONMENT: Final = ("PATH", "LANG", "LC_ALL", "PYTHONPATH", "SOFTHSM2_CONF", "TSS2_LOG", "TMPDIR")


class CoreSupervisor:
    """Keeps one trusted core alive."""

    def __init__(self, settings: CoreSettings, *, on_event: Callable[[str], None]) -> None:
        self._settings = settings
        self._on_event = on_event
        self._core: _CoreProcess | None = None
        self._watch: asyncio.Task[None] | None = None
        self._stopping = False
        self.ready: Ready | None = None
        self.restarts = 0
        self.state: Literal["starting", "ready", "halted"] = "starting"
        self.detail = "the trusted core is starting"

    @property
    def queue_depth(self) -> int:
        """Requests that wait for the core."""
        return self._core.link.queue_depth if self._core else 0

    @property
    def core_pid(self) -> int | None:
        """Process id of the core, while there is one."""
        return self._core.pid if self._core else None

    async def start(self) -> Ready:
        """Start the core for the first time.

        Raises:
            HwkmError: what the core says keeps it from starting.
        """
        ready = await self._launch()
        self._watch = asyncio.create_task(self._keep_alive(), name="core supervisor")
        return ready

    async def call(self, request: CoreRequest, timeout_s: float | None = None) -> CoreReply:
        """Pass a request to the core.

        Raises:
            TimeoutError: as :meth:`CoreLink.call`.
            HwkmError: the core refused, by its own code.
            Unavailable: there is no core right now; a claim may be presented again as it is.
        """
        if self._core is None or self.state != "ready":
            raise Unavailable(self.detail)
        return await self._core.link.call(request, timeout_s)

    async def stop(self) -> None:
        """Let the core make deferred changes durable and end; do not start it again."""
        self._stopping = True
        if self._core is not None:
            await self._core.stop()
        if self._watch is not None:
            self._watch.cancel()
            with contextlib.suppress(asyncio.CancelledError):
                await self._watch

    async def _launch(self) -> Ready:
        core = await _CoreProcess.spawn(self._settings)
        try:
            started = await core.link.start(Serve(settings=self._settings))
            if not isinstance(started, Ready):
                raise Unavailable("the trusted core answered out of turn")
        except BaseException:
            await core.end()
            raise
        self._core, self.ready = core, started
        self.state, self.detail = "ready", ""
        return started

    async def _keep_alive(self) -> None:
        while self._core is not None:
            await self._core.link.closed
            if self._stopping:
                return
            self.state, self.detail = "starting", "the trusted core is restarting; try again shortly"
            self._on_event("core ended, restarting")
            await self._core.end()
            await self._relaunch()

    async def _relaunch(self) -> None:
        for attempt in range(sys.maxsize):
            await asyncio.sleep(RESTART_PAUSES_S[min(attempt, len(RESTART_PAUSES_S) - 1)])
            self.restarts += 1
            try:
                await self._launch()
            except _PASSING as exc:
                self.detail = f"the trusted core cannot start yet: {exc}"
                self._on_event(self.detail)
            except HwkmError as exc:
                self._core = None
                self.state, self.detail = "halted", f"the trusted core does not start: {exc}"
                self._on_event(self.detail)
                return
            else:
                self._on_event("core restarted")
                return


async def provision(settings: CoreSettings, *, destroy_existing: bool, so_pin_file: str = "") -> Inventory:
    """Make the keys and the anchor by a core of its own; return what is in the token then.

    Raises:
        HwkmError: what the core says; for TokenAlreadyProvisioned nothing was changed.
    """
    start = Provision(settings=settings, destroy_existing=destroy_existing, so_pin_file=so_pin_file)
    return await _inventory(start)


async def add_domain(settings: CoreSettings, *, so_pin_file: str = "") -> Inventory:
    """Make a domain key in a token without one, or trusted spares; return what is in the token then.

    Raises:
        HwkmError: what the core says; for TokenAlreadyProvisioned nothing was changed.
    """
    return await _inventory(AddDomain(settings=settings, so_pin_file=so_pin_file))


async def ask_cohort(message: CohortStart) -> CohortRead:
    """Do a step of a cohort of several members by a core of its own.

    Raises:
        HwkmError: what the core says.
    """
    started = await _once(message)
    if not isinstance(started, CohortRead):
        raise Unavailable("the trusted core answered out of turn")
    return started


async def inspect(settings: CoreSettings) -> Inventory:
    """Return what is in the token, by a core of its own; change nothing.

    Raises:
        HwkmError: what the core says.
    """
    return await _inventory(Inspect(settings=settings))


async def sweep(settings: CoreSettings) -> Swept:
    """Check the whole attempt tree and remove orphaned nodes, by a core of its own.

    Raises:
        HwkmError: what the core says; TokenInUse while a daemon serves this token.
    """
    started = await _once(Sweep(settings=settings))
    if not isinstance(started, Swept):
        raise Unavailable("the trusted core answered out of turn")
    return started


async def evidence(
    settings: CoreSettings, challenge: bytes, intermediates: tuple[bytes, ...], *, made_at: int
) -> bytes:
    """Return the evidence of this member, by a core of its own.

    Raises:
        HwkmError: what the core says; TokenInUse while a daemon serves this token.
    """
    started = await _once(
        MakeEvidence(settings=settings, challenge=challenge, intermediates=intermediates, made_at=made_at)
    )
    if not isinstance(started, EvidenceMade):
        raise Unavailable("the trusted core answered out of turn")
    return started.evidence


async def _inventory(message: CoreStart) -> Inventory:
    started = await _once(message)
    if not isinstance(started, Inventory):
        raise Unavailable("the trusted core answered out of turn")
    return started


async def _once(message: CoreStart) -> CoreStarted:
    core = await _CoreProcess.spawn(message.settings)
    try:
        return await core.link.start(message)
    finally:
        await core.end()


class _CoreProcess:
    """One life of the core: its process and our link to it."""

    def __init__(self, process: asyncio.subprocess.Process, link: CoreLink) -> None:
        self._process = process
        self.link = link
        self.pid = process.pid

    @classmethod
    async def spawn(cls, settings: CoreSettings) -> _CoreProcess:
        """Start a core; one whose key is bound to code runs no bytecode of a cache.

        Raises:
            Unavailable: the system has no process or descriptor left, or may not run it.
        """
        try:
            ours, theirs = socket.socketpair(socket.AF_UNIX, socket.SOCK_STREAM)
            with theirs:
                process = await _execute(theirs, NO_BYTECODE_OPTIONS if settings.code_binding else ())
        except OSError as exc:
            raise Unavailable(f"the trusted core cannot be started: {exc.strerror}") from exc
        ours.setblocking(False)
        _, link = await asyncio.get_running_loop().connect_accepted_socket(CoreLink, ours)
        return cls(process, link)

    async def stop(self) -> None:
        """Ask it to settle and end, then see that it has ended."""
        with contextlib.suppress(HwkmError, TimeoutError):
            await asyncio.wait_for(self.link.call(Stop()), STOP_TIMEOUT_S)
        await self.end()

    async def end(self) -> None:
        """Close our end and wait for the process; kill it if it does not end by itself."""
        self.link.close()
        try:
            await asyncio.wait_for(self._process.wait(), STOP_TIMEOUT_S)
        except TimeoutError:
            with contextlib.suppress(ProcessLookupError):
                self._process.kill()
            await self._process.wait()


async def _execute(channel: socket.socket, options: tuple[str, ...]) -> asyncio.subprocess.Process:
    return await asyncio.create_subprocess_exec(
        sys.executable,
        *options,
        "-P",
        "-m",
        "hwkm.core",
        "--channel",
        str(channel.fileno()),
        pass_fds=(channel.fileno(),),
        stdin=asyncio.subprocess.DEVNULL,
        env={**_passed_on(), **FREED_MEMORY_OVERWRITTEN},
        start_new_session=True,
    )


def _passed_on() -> dict[str, str]:
    """The part of our own environment that the core needs."""
    return {name: os.environ[name] for name in _ENVIRONMENT if name in os.environ}
