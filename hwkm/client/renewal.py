"""Making a vault anew for another cohort, and deleting the old one only when the new one is proved.

The new vault has the same handle, knowledge factor and application keys, and a new counter id and recovery
key. Until the last step both vaults are there, and whatever is interrupted is finished by doing it again.
"""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from dataclasses import dataclass
from types import TracebackType
from typing import Self, TypeAlias

from hwkm.client import framework
from hwkm.client.application_key import ApplicationKey, KeyRing, unwrap_all
from hwkm.client.cohort import VerifiedCohort
from hwkm.client.framework import Recovered
from hwkm.client.vaults import VaultClient
from hwkm.errors import DecryptionError, SnapshotConflict, VaultLocked
from hwkm.secret import SecretBytes
from hwkm.wire import api

VaultAndKey: TypeAlias = tuple[api.VaultInfo, SecretBytes]
"""A vault and its new recovery key (32 bytes)."""


@dataclass(frozen=True, slots=True)
class OldVault:
    """A vault that is to be replaced. ``proof`` is its credential, or its recovery key (32 bytes)."""

    client: VaultClient
    info: api.VaultInfo
    proof: SecretBytes
    is_recovery_key: bool
    drop_damaged: bool

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.client.close()

    @property
    def handle(self) -> str:
        """The handle, which the new vault has too."""
        return self.info.handle

    def listed(self) -> api.ApplicationKeyList:
        """The wrapped application keys as they are now."""
        return self.client.agent.list_application_keys(self.handle)

    @contextmanager
    def taken(self) -> Iterator[tuple[KeyRing, api.ApplicationKeyList]]:
        """Give its application keys, and how they were listed. With a recovery key no claim is made.

        Raises:
            As :meth:`VaultClient.open`; SnapshotConflict: it was replaced meanwhile;
            DecryptionError: an application key does not open, and damaged ones are not to be dropped.
        """
        if self.is_recovery_key:
            listed = self.listed()
            ring = unwrap_all(self.proof, listed.application_keys)
        else:
            listed, ring = self._claimed()
        try:
            if ring.damaged and not self.drop_damaged:
                lost = ", ".join(ring.damaged)
                raise DecryptionError(f"application keys that do not open would be lost: {lost}")
            yield ring, listed
        finally:
            ring.wipe()

    def _claimed(self) -> tuple[api.ApplicationKeyList, KeyRing]:
        with self.client.open(self.handle, self.proof) as recovered:
            listed = self.listed()
            if listed.snapshot_version != recovered.snapshot_version:
                raise SnapshotConflict(
                    "the vault was replaced by someone else since it was opened; try again"
                )
            return listed, unwrap_all(recovered.recovery_key, listed.application_keys)


def move(old: OldVault, new: VaultClient, cohort: VerifiedCohort, credential: SecretBytes) -> VaultAndKey:
    """Make a vault like ``old`` at another daemon, for its cohort, and finish.

    Raises:
        VaultExists, ParamsRefused, AccessDenied, CohortMismatch, VaultElsewhere: nothing was stored.
        As :meth:`OldVault.taken` and :func:`finish`.
    """
    with old.taken() as taken:
        new.agent.create_vault(_made_like(old, new, cohort, taken[0], credential))
        return _confirm(old, new, taken, credential)


def replace(old: OldVault, new: VaultClient, cohort: VerifiedCohort, credential: SecretBytes) -> VaultAndKey:
    """Replace ``old`` where it is, by one step of the daemon, and open what is there then.

    Raises:
        SnapshotConflict: it was replaced meanwhile; nothing was stored.
        As :meth:`OldVault.taken` and :meth:`VaultClient.open`.
    """
    with old.taken() as (ring, listed):
        made = _made_like(old, new, cohort, ring, credential)
        replacement = api.ReplaceVault(
            expected_snapshot_version=listed.snapshot_version,
            params=made.params,
            vault=made.vault,
            knowledge_factor=made.knowledge_factor,
            application_keys=made.application_keys,
        )
        info = new.agent.replace_vault(old.handle, replacement)
        with new.open(old.handle, credential) as recovered:
            return info, SecretBytes(recovered.recovery_key.expose())


def _made_like(
    old: OldVault, new: VaultClient, cohort: VerifiedCohort, keys: KeyRing, credential: SecretBytes
) -> api.CreateVault:
    """A new vault of the same handle, with a new counter id and recovery key."""
    factor = old.info.knowledge_factor
    if factor is None:
        raise VaultLocked("the attempt limit was reached; the recovery key is gone for good")
    offer = new.agent.cohort()
    params = framework.fresh_params(
        cohort,
        offer,
        max_attempts=min(old.info.max_attempts, offer.max_attempts_limit),
        handle=bytes.fromhex(old.handle),
    )
    with framework.new_vault(
        cohort,
        params,
        credential,
        factor.type,
        name=old.info.name,
        kf_params=framework.fresh_kf_params(factor.algorithm),
        application_keys=keys.keys.values(),
    ) as made:
        return made.request


def finish(old: OldVault, new: VaultClient, credential: SecretBytes) -> VaultAndKey:
    """Open the new vault, see that it has every key of the old one, delete the old one.

    Raises:
        As :meth:`VaultClient.open` of the new vault; SnapshotConflict: the two hold different keys of one
        alias, or the old one changed meanwhile. The old vault is kept then.
    """
    with old.taken() as taken:
        return _confirm(old, new, taken, credential)


def _confirm(
    old: OldVault, new: VaultClient, taken: tuple[KeyRing, api.ApplicationKeyList], credential: SecretBytes
) -> VaultAndKey:
    ring, listed = taken
    with new.open(old.handle, credential) as recovered:
        for key in ring.keys.values():
            _keep(new, recovered, key)
        if old.listed() != listed:
            raise SnapshotConflict("the old vault was changed meanwhile; nothing was deleted; run it again")
        old.client.delete(old.handle)
        return new.show(old.handle), SecretBytes(recovered.recovery_key.expose())


def _keep(new: VaultClient, recovered: Recovered, key: ApplicationKey) -> None:
    there = recovered.key_ring.keys.get(key.alias)
    if there is None:
        new.put_application_key(recovered, key)
    elif (there.key, there.metadata) != (key.key, key.metadata):
        raise SnapshotConflict(
            f"application key {key.alias} is another one in the new vault; nothing was deleted: "
            "open both, and delete the one that is not needed"
        )
