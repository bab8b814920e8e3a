"""The recovery agent half of a client: it carries messages and sees no secret.

Sealed vaults, claims and responses pass through; the knowledge factor and the recovery key stay
with the framework (:mod:`hwkm.client.framework`). :class:`RecoveryAgent` blocks,
:class:`AsyncRecoveryAgent` awaits; both only send what :mod:`hwkm.client.calls` describes.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Final, Self

from hwkm.client import calls
from hwkm.client.calls import Call, T
from hwkm.client.flow import Flow, R, ask, pause, run, run_async
from hwkm.client.transport import TIMEOUT_SECONDS, AsyncTransport, Transport
from hwkm.errors import HardwareFault, Unavailable
from hwkm.wire import api

DEFAULT_SOCKET: Final = Path("/run/hwkm/hwkmd.sock")

CLAIM_PAUSES_SECONDS: Final = (0.25, 2.0)
"""A restarted core is back within two seconds."""


def present_claim(handle: str, claim: api.OpenVault) -> Flow[api.VaultOpened]:
    """Present a claim, and present the *same* claim again when its answer was lost.

    The daemon answers the same claim in the same way for one attempt, so sending it again after a
    lost connection, a restarted core or a hardware fault costs nothing; making a new claim would
    cost another attempt. Tried up to three times in all.
    """
    for seconds in CLAIM_PAUSES_SECONDS:
        try:
            return (yield from ask(calls.open_vault(handle, claim)))
        except (Unavailable, HardwareFault):
            yield from pause(seconds)
    return (yield from ask(calls.open_vault(handle, claim)))


class RecoveryAgent:
    """Carries messages to a daemon, blocking. Every method raises the typed error of the answer."""

    def __init__(
        self, socket_path: Path | str = DEFAULT_SOCKET, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._transport = Transport(Path(socket_path), timeout_seconds=timeout_seconds)

    def send(self, call: Call[T]) -> T:
        """Send one call."""
        answer: T = self._transport.send(call)
        return answer

    def run(self, flow: Flow[R]) -> R:
        """Run a procedure of several calls."""
        return run(flow, self._transport.send)

    def close(self) -> None:
        """Close the connection."""
        self._transport.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    def status(self) -> api.Status:
        """How the daemon is."""
        return self.send(calls.status())

    def cohort(self) -> api.CohortInfo:
        """The cohort key that vaults are made for: unverified until compared with a trusted one."""
        return self.send(calls.cohort())

    def create_vault(self, body: api.CreateVault) -> api.VaultInfo:
        """Store a new sealed vault."""
        return self.send(calls.create_vault(body))

    def list_vaults(
        self, *, name: str | None = None, after: str | None = None, limit: int | None = None
    ) -> api.VaultList:
        """A page of vaults."""
        return self.send(calls.list_vaults(name=name, after=after, limit=limit))

    def show_vault(self, handle: str) -> api.VaultInfo:
        """One vault."""
        return self.send(calls.show_vault(handle))

    def replace_vault(self, handle: str, body: api.ReplaceVault) -> api.VaultInfo:
        """Store a new snapshot of a vault."""
        return self.send(calls.replace_vault(handle, body))

    def delete_vault(self, handle: str) -> None:
        """Delete a vault."""
        self.send(calls.delete_vault(handle))

    def challenge(self, handle: str) -> api.ChallengeIssued:
        """Ask for a challenge."""
        return self.send(calls.challenge(handle))

    def open_vault(self, handle: str, claim: api.OpenVault) -> api.VaultOpened:
        """Present a claim; sent again when its answer was lost (:func:`present_claim`)."""
        return self.run(present_claim(handle, claim))

    def resume_vault(self, handle: str) -> api.VaultInfo:
        """Let a vault suspended after hardware faults be opened again."""
        return self.send(calls.resume_vault(handle))

    def list_application_keys(self, handle: str) -> api.ApplicationKeyList:
        """The wrapped application keys of a vault."""
        return self.send(calls.list_application_keys(handle))

    def put_application_key(self, handle: str, alias: str, body: api.PutApplicationKey) -> api.VaultInfo:
        """Store a wrapped application key."""
        return self.send(calls.put_application_key(handle, alias, body))

    def delete_application_key(self, handle: str, alias: str) -> api.VaultInfo:
        """Delete a wrapped application key."""
        return self.send(calls.delete_application_key(handle, alias))

    def audit_checkpoint(self) -> api.AuditCheckpoint:
        """The audit log, signed as it is now."""
        return self.send(calls.audit_checkpoint())


class AsyncRecoveryAgent:
    """The same for asyncio."""

    def __init__(
        self, socket_path: Path | str = DEFAULT_SOCKET, *, timeout_seconds: float = TIMEOUT_SECONDS
    ) -> None:
        self._transport = AsyncTransport(Path(socket_path), timeout_seconds=timeout_seconds)

    async def send(self, call: Call[T]) -> T:
        """Send one call."""
        answer: T = await self._transport.send(call)
        return answer

    async def run(self, flow: Flow[R]) -> R:
        """Run a procedure of several calls."""
        return await run_async(flow, self._transport.send)

    async def close(self) -> None:
        """Close the connection."""
        await self._transport.close()

    async def __aenter__(self) -> Self:
        return self

    async def __aexit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        await self.close()

    async def status(self) -> api.Status:
        """How the daemon is."""
        return await self.send(calls.status())

    async def cohort(self) -> api.CohortInfo:
        """The cohort key that vaults are made for: unverified until compared with a trusted one."""
        return await self.send(calls.cohort())

    async def create_vault(self, body: api.CreateVault) -> api.VaultInfo:
        """Store a new sealed vault."""
        return await self.send(calls.create_vault(body))

    async def list_vaults(
        self, *, name: str | None = None, after: str | None = None, limit: int | None = None
    ) -> api.VaultList:
        """A page of vaults."""
        return await self.send(calls.list_vaults(name=name, after=after, limit=limit))

    async def show_vault(self, handle: str) -> api.VaultInfo:
        """One vault."""
        return await self.send(calls.show_vault(handle))

    async def replace_vault(self, handle: str, body: api.ReplaceVault) -> api.VaultInfo:
        """Store a new snapshot of a vault."""
        return await self.send(calls.replace_vault(handle, body))

    async def delete_vault(self, handle: str) -> None:
        """Delete a vault."""
        await self.send(calls.delete_vault(handle))

    async def challenge(self, handle: str) -> api.ChallengeIssued:
        """Ask for a challenge."""
        return await self.send(calls.challenge(handle))

    async def open_vault(self, handle: str, claim: api.OpenVault) -> api.VaultOpened:
        """Present a claim; sent again when its answer was lost (:func:`present_claim`)."""
        return await self.run(present_claim(handle, claim))

    async def resume_vault(self, handle: str) -> api.VaultInfo:
        """Let a vault suspended after hardware faults be opened again."""
        return await self.send(calls.resume_vault(handle))

    async def list_application_keys(self, handle: str) -> api.ApplicationKeyList:
        """The wrapped application keys of a vault."""
        return await self.send(calls.list_application_keys(handle))

    async def put_application_key(
        self, handle: str, alias: str, body: api.PutApplicationKey
    ) -> api.VaultInfo:
        """Store a wrapped application key."""
        return await self.send(calls.put_application_key(handle, alias, body))

    async def delete_application_key(self, handle: str, alias: str) -> api.VaultInfo:
        """Delete a wrapped application key."""
        return await self.send(calls.delete_application_key(handle, alias))

    async def audit_checkpoint(self) -> api.AuditCheckpoint:
        """The audit log, signed as it is now."""
        return await self.send(calls.audit_checkpoint())
