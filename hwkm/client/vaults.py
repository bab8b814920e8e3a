"""The convenience most programs want: both halves of a client behind one object.

:class:`VaultClient` blocks, :class:`AsyncVaultClient` awaits; both run the procedures of
:mod:`hwkm.client.procedures`. Methods take a vault's handle (34 hex digits); :meth:`find` turns a
name into one.
"""

from __future__ import annotations

from pathlib import Path
from types import TracebackType
from typing import Self

from hwkm.client import calls, procedures
from hwkm.client.agent import DEFAULT_SOCKET, AsyncRecoveryAgent, RecoveryAgent
from hwkm.client.application_key import ApplicationKey
from hwkm.client.flow import ask
from hwkm.client.framework import Recovered
from hwkm.client.trust import CohortTrust, KnownCohort
from hwkm.crypto.knowledge_factor import KfParams, KfType
from hwkm.secret import SecretBytes
from hwkm.wire import api


class VaultClient:
    """Vaults of one daemon.

    ``trust`` says which cohort key is trusted; by default the first one that this user was offered
    on this socket (:class:`hwkm.client.trust.KnownCohort`).
    """

    def __init__(self, socket_path: Path | str = DEFAULT_SOCKET, *, trust: CohortTrust | None = None) -> None:
        self.agent = RecoveryAgent(socket_path)
        self._trust = trust or KnownCohort(socket_path)

    def close(self) -> None:
        """Close the connection."""
        self.agent.close()

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
        return self.agent.status()

    def find(self, name_or_handle: str) -> api.VaultInfo:
        """The vault of this handle or name. Raises VaultNotFound."""
        return self.agent.run(procedures.find(name_or_handle))

    def list(self, name: str | None = None) -> tuple[api.VaultInfo, ...]:
        """Every vault that the caller may see."""
        return self.agent.run(procedures.list_all(name))

    def show(self, handle: str) -> api.VaultInfo:
        """One vault. Raises VaultNotFound."""
        return self.agent.show_vault(handle)

    def create(
        self,
        name: str,
        credential: SecretBytes,
        kf_type: KfType = KfType.PIN,
        *,
        kf_params: KfParams | None = None,
        max_attempts: int | None = None,
        application_keys: tuple[ApplicationKey, ...] = (),
    ) -> tuple[api.VaultInfo, SecretBytes]:
        """Make a vault; return it and its new recovery key (32 bytes).

        Raises:
            VaultExists, ParamsRefused, CohortMismatch, AccessDenied: nothing was stored.
        """
        info, made = self.agent.run(
            procedures.create(
                self._trust,
                credential,
                kf_type,
                name=name,
                kf_params=kf_params,
                max_attempts=max_attempts,
                application_keys=application_keys,
            )
        )
        return info, made.recovery_key

    def open(self, handle: str, credential: SecretBytes) -> Recovered:
        """Open a vault; use the result as a context manager.

        Raises:
            WrongKnowledgeFactor: one attempt is gone; ``attempts_remaining`` are left.
            VaultLocked: none are left, for good.
            RateLimited: too soon; nothing was charged; ``retry_after`` says how long.
            VaultSuspended, HardwareFault, CohortMismatch, Unavailable: see :mod:`hwkm.errors`.
        """
        return self.agent.run(procedures.open_vault(self._trust, handle, credential))

    def rotate(
        self, handle: str, credential: SecretBytes, *, drop_damaged: bool = False
    ) -> tuple[api.VaultInfo, SecretBytes]:
        """Give a vault a new recovery key under the same knowledge factor; return both.

        Raises:
            As :meth:`open`; SnapshotConflict: somebody else replaced it meanwhile;
            DecryptionError: an application key does not open and ``drop_damaged`` is not set.
        """
        flow = procedures.rotate(self._trust, handle, credential, drop_damaged=drop_damaged)
        info, made = self.agent.run(flow)
        return info, made.recovery_key

    def change_pin(
        self,
        handle: str,
        credential: SecretBytes,
        new_credential: SecretBytes,
        *,
        kf_type: KfType | None = None,
        kf_params: KfParams | None = None,
        drop_damaged: bool = False,
    ) -> tuple[api.VaultInfo, SecretBytes]:
        """Give a vault a new knowledge factor and a new recovery key; return both.

        Raises:
            As :meth:`rotate`.
        """
        info, made = self.agent.run(
            procedures.change_pin(
                self._trust,
                handle,
                credential,
                new_credential,
                kf_type=kf_type,
                kf_params=kf_params,
                drop_damaged=drop_damaged,
            )
        )
        return info, made.recovery_key

    def delete(self, handle: str) -> None:
        """Delete a vault: its recovery key is gone. Its attempt counter stays. Raises VaultNotFound."""
        self.agent.delete_vault(handle)

    def resume(self, handle: str) -> api.VaultInfo:
        """Let a vault suspended after hardware faults be opened again."""
        return self.agent.resume_vault(handle)

    def put_application_key(self, recovered: Recovered, key: ApplicationKey) -> api.VaultInfo:
        """Store an application key in an opened vault; one of the same alias is replaced.

        Raises:
            SnapshotConflict: the vault was replaced since it was opened; open it again.
        """
        return self.agent.run(procedures.put_application_key(recovered, key))

    def ensure_application_key(self, recovered: Recovered, purpose: str) -> ApplicationKey:
        """The application key of a purpose (a word), made and stored if there is none.

        Raises:
            As :meth:`put_application_key`.
        """
        return self.agent.run(procedures.ensure_application_key(recovered, purpose))

    def delete_application_key(self, handle: str, alias: str) -> api.VaultInfo:
        """Delete an application key: what was encrypted under it is lost."""
        return self.agent.delete_application_key(handle, alias)


class AsyncVaultClient:
    """The same for asyncio."""

    def __init__(self, socket_path: Path | str = DEFAULT_SOCKET, *, trust: CohortTrust | None = None) -> None:
        self.agent = AsyncRecoveryAgent(socket_path)
        self._trust = trust or KnownCohort(socket_path)

    async def close(self) -> None:
        """Close the connection."""
        await self.agent.close()

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
        return await self.agent.status()

    async def find(self, name_or_handle: str) -> api.VaultInfo:
        """The vault of this handle or name. Raises VaultNotFound."""
        return await self.agent.run(procedures.find(name_or_handle))

    async def list(self, name: str | None = None) -> tuple[api.VaultInfo, ...]:
        """Every vault that the caller may see."""
        return await self.agent.run(procedures.list_all(name))

    async def show(self, handle: str) -> api.VaultInfo:
        """One vault. Raises VaultNotFound."""
        return await self.agent.send(calls.show_vault(handle))

    async def create(
        self,
        name: str,
        credential: SecretBytes,
        kf_type: KfType = KfType.PIN,
        *,
        kf_params: KfParams | None = None,
        max_attempts: int | None = None,
        application_keys: tuple[ApplicationKey, ...] = (),
    ) -> tuple[api.VaultInfo, SecretBytes]:
        """As :meth:`VaultClient.create`."""
        info, made = await self.agent.run(
            procedures.create(
                self._trust,
                credential,
                kf_type,
                name=name,
                kf_params=kf_params,
                max_attempts=max_attempts,
                application_keys=application_keys,
            )
        )
        return info, made.recovery_key

    async def open(self, handle: str, credential: SecretBytes) -> Recovered:
        """As :meth:`VaultClient.open`."""
        return await self.agent.run(procedures.open_vault(self._trust, handle, credential))

    async def rotate(
        self, handle: str, credential: SecretBytes, *, drop_damaged: bool = False
    ) -> tuple[api.VaultInfo, SecretBytes]:
        """As :meth:`VaultClient.rotate`."""
        flow = procedures.rotate(self._trust, handle, credential, drop_damaged=drop_damaged)
        info, made = await self.agent.run(flow)
        return info, made.recovery_key

    async def change_pin(
        self,
        handle: str,
        credential: SecretBytes,
        new_credential: SecretBytes,
        *,
        kf_type: KfType | None = None,
        kf_params: KfParams | None = None,
        drop_damaged: bool = False,
    ) -> tuple[api.VaultInfo, SecretBytes]:
        """As :meth:`VaultClient.change_pin`."""
        info, made = await self.agent.run(
            procedures.change_pin(
                self._trust,
                handle,
                credential,
                new_credential,
                kf_type=kf_type,
                kf_params=kf_params,
                drop_damaged=drop_damaged,
            )
        )
        return info, made.recovery_key

    async def delete(self, handle: str) -> None:
        """As :meth:`VaultClient.delete`."""
        await self.agent.run(ask(calls.delete_vault(handle)))

    async def resume(self, handle: str) -> api.VaultInfo:
        """As :meth:`VaultClient.resume`."""
        return await self.agent.resume_vault(handle)

    async def put_application_key(self, recovered: Recovered, key: ApplicationKey) -> api.VaultInfo:
        """As :meth:`VaultClient.put_application_key`."""
        return await self.agent.run(procedures.put_application_key(recovered, key))

    async def ensure_application_key(self, recovered: Recovered, purpose: str) -> ApplicationKey:
        """As :meth:`VaultClient.ensure_application_key`."""
        return await self.agent.run(procedures.ensure_application_key(recovered, purpose))

    async def delete_application_key(self, handle: str, alias: str) -> api.VaultInfo:
        """As :meth:`VaultClient.delete_application_key`."""
        return await self.agent.delete_application_key(handle, alias)
