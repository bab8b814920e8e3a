"""Rotating the domain key: every version of every key is wrapped anew, while the service goes on.

What is to be done is noted in the database first, so a crash of the daemon, the core or the machine at
any step is followed by the same steps again:

1. note the new generation; 2. have the core make the new domain key, unless it is there; 3. wrap what
is under older ones under it, in batches; 4. when nothing is left, destroy the older ones; 5. note the end.

No key, name or ciphertext changes. An older domain key is never destroyed while a row needs it, nor on the
word of a database that does not know of the rotation: a restored one may hold rows that need it.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Mapping, Sequence
from typing import Final, Literal

from hwkm.errors import DomainRotating, HwkmError, StorageUnavailable, TokenBusy, Unavailable
from hwkm.formats.key_kind import KeyKind
from hwkm.server.keys.audit import BEGUN, OK
from hwkm.server.keys.book import key_ref
from hwkm.server.keys.desk import KeyDesk
from hwkm.server.keys.names import key_id_text
from hwkm.server.logs import get_log
from hwkm.store.key_record import VersionRecord
from hwkm.store.keys import KeyStore, Rewrapped
from hwkm.wire.key_api import DomainInfo
from hwkm.wire.key_messages import (
    DomainRead,
    KeysRewrapped,
    ReadDomain,
    RetireDomain,
    RewrapKeys,
    RotateDomain,
)

BATCH: Final = 64
RETRY_S: Final = 1.0
GRACE_S: Final = 1.0
"""Between the last version wrapped anew and the end of the older domain key: requests that were begun
with what they knew before have reached the core then."""
REFUSED_SHOWN: Final = 5

_PASSING: Final = (Unavailable, StorageUnavailable, TokenBusy)


class DomainRotation:
    """The domain keys as the daemon sees them; at most one rotation at a time."""

    def __init__(
        self,
        desk: KeyDesk,
        note: Callable[[str, str, Mapping[str, str]], Awaitable[None]],
        *,
        grace_s: float = GRACE_S,
        retry_s: float = RETRY_S,
    ) -> None:
        self._desk = desk
        self._grace_s = grace_s
        self._retry_s = retry_s
        self._note = note
        self._job: asyncio.Task[None] | None = None
        self._detail = ""
        self._refused: list[str] = []

    # --- for callers -------------------------------------------------------------------------

    async def info(self) -> DomainInfo:
        """How the domain keys stand.

        Raises:
            DomainNotProvisioned, Unavailable, StorageUnavailable.
        """
        domain = await self._read_domain()
        left = await self._desk.book.read(KeyStore.count_under_older, domain.generation)
        return DomainInfo(
            generation=domain.generation,
            generations=domain.generations,
            kinds=tuple(sorted(domain.kinds)),
            state=self._state,
            detail=self._detail,
            versions=await self._desk.book.read(KeyStore.count_wrapped),
            versions_left=left,
            refused=len(self._refused),
        )

    async def rotate(self) -> DomainInfo:
        """Begin a rotation; it goes on by itself.

        Raises:
            DomainRotating: one is going on.
            DomainNotProvisioned, Unavailable, StorageUnavailable.
        """
        async with self._desk.making:
            if self._job is not None or await self._desk.book.read(KeyStore.unfinished_rotation) is not None:
                raise DomainRotating("the domain key is being rotated; ask how far it is")
            domain = await self._read_domain()
            await self._desk.book.read(KeyStore.begin_rotation, domain.generation + 1, self._desk.now_ms())
            self._start(domain.generation + 1)
        return await self.info()

    async def resume(self) -> None:
        """Go on with a rotation that was not finished, if there is one.

        Raises:
            StorageUnavailable: it is not known whether there is one.
        """
        if self._job is None:
            generation = await self._desk.book.read(KeyStore.unfinished_rotation)
            if generation is not None and self._job is None:
                self._start(generation)

    async def stop(self) -> None:
        """Leave off; what is not done is done after the next start."""
        if self._job is not None:
            self._job.cancel()
            await asyncio.gather(self._job, return_exceptions=True)

    @property
    def is_running(self) -> bool:
        """Whether a rotation is going on in this life of the daemon."""
        return self._job is not None

    @property
    def _state(self) -> Literal["idle", "rotating", "blocked"]:
        if self._job is not None:
            return "rotating"
        return "blocked" if self._detail else "idle"

    # --- the rotation ------------------------------------------------------------------------

    def _start(self, generation: int) -> None:
        self._job = asyncio.create_task(self._run(generation), name="domain rotation")
        self._job.add_done_callback(_log_unexpected)

    async def _run(self, generation: int) -> None:
        """Do all that is left to do; pause where the core, the token or the disk is away for now."""
        try:
            while True:
                try:
                    await self._steps(generation)
                    return
                except _PASSING as exc:
                    self._detail = str(exc)
                    await asyncio.sleep(self._retry_s)
                except HwkmError as exc:
                    self._detail = str(exc)
                    return
        finally:
            self._job = None

    async def _steps(self, generation: int) -> None:
        async with self._desk.making:
            domain = await self._read_domain()
            if domain.generation < generation:
                # Asked again after a lost answer it would make one more; that is why it was read first.
                domain = await self._ask_domain(RotateDomain())
        self._detail = ""
        await self._rewrap_all(domain.generation)
        if self._refused:
            shown = ", ".join(self._refused[:REFUSED_SHOWN])
            self._detail = (
                f"{len(self._refused)} versions of keys are refused by the hardware, so no domain key is"
                f" destroyed; the first are {shown}"
            )
            return
        await asyncio.sleep(self._grace_s)
        await self._retire(domain)

    async def _rewrap_all(self, newest: int) -> None:
        self._refused = []
        after = (b"", 0)
        while old := await self._desk.book.read(KeyStore.under_older, newest, after, BATCH):
            await self._rewrap(old)
            after = (old[-1][0].key_id, old[-1][0].version)

    async def _rewrap(self, old: Sequence[tuple[VersionRecord, KeyKind]]) -> None:
        refs = tuple(key_ref(kind, version) for version, kind in old)
        answer = await self._desk.core.ask(RewrapKeys(keys=refs), KeysRewrapped)
        rewrapped = []
        for ref, wrapped in zip(refs, answer.items, strict=True):
            if wrapped is None:
                self._refused.append(f"{key_id_text(ref.key_id)} version {ref.version}")
            else:
                rewrapped.append(Rewrapped(ref.key_id, ref.version, ref.wrapped, wrapped, answer.generation))
        self._desk.book.forget_wrapped()
        await self._desk.book.read(KeyStore.rewrap, rewrapped)

    async def _retire(self, domain: DomainRead) -> None:
        """Destroy the older domain keys. No version is on its way to the database meanwhile."""
        async with self._desk.making:
            if await self._desk.book.read(KeyStore.count_under_older, domain.generation):
                raise Unavailable("a version of a key was made under an older domain key; once more")
            for generation in (await self._read_domain()).generations:
                if generation < domain.generation:
                    detail = {"generation": str(generation)}
                    await self._note("domain.retire", BEGUN, detail)
                    await self._ask_domain(RetireDomain(generation=generation))
                    await self._note("domain.retire", OK, detail)
            await self._desk.book.read(KeyStore.finish_rotation, domain.generation, self._desk.now_ms())

    async def _read_domain(self) -> DomainRead:
        return await self._desk.core.ask(ReadDomain(), DomainRead)

    async def _ask_domain(self, request: RotateDomain | RetireDomain) -> DomainRead:
        return await self._desk.core.ask(request, DomainRead)


def _log_unexpected(job: asyncio.Task[None]) -> None:
    """What is no error of ours ends the job; the scheduler begins another."""
    if not job.cancelled() and (exc := job.exception()) is not None:
        get_log().error("domain rotation ended unexpectedly", exc_info=exc)
