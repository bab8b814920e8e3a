"""Vaults of several daemons, for cohorts that a list names.

A new vault is made for a cohort drawn at random from those that the list names and the client has
daemons of. After a newer list a vault is made anew with another counter id, as Android does: when its
credential is at hand, by :meth:`FleetVaultClient.rotate`.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from contextlib import suppress
from dataclasses import dataclass
from enum import StrEnum
from types import TracebackType
from typing import Self

from hwkm.client import renewal
from hwkm.client.application_key import ApplicationKey
from hwkm.client.cohort import CohortSource, VerifiedCohort, VerifiedFleet, unverified_formerly
from hwkm.client.daemons import CohortDaemons
from hwkm.client.framework import Recovered
from hwkm.client.made_for import MadeFor, VaultRecord
from hwkm.client.places import Found, Nobody, Place, Places
from hwkm.client.renewal import OldVault, VaultAndKey
from hwkm.client.trust import OneCohort, fingerprint
from hwkm.client.vaults import VaultClient
from hwkm.crypto.knowledge_factor import KfParams, KfType
from hwkm.errors import CohortMismatch, Unavailable, VaultExists, VaultNotFound
from hwkm.secret import SecretBytes
from hwkm.wire import api


class Standing(StrEnum):
    """How a vault stands to the newest list."""

    CURRENT = "current"
    OLDER_LIST = "older_list"
    """Made for an older list, or by another client: to be made anew."""
    DELISTED = "delisted"
    """The list does not name its cohort any more: nothing is claimed there."""
    TWO_PLACES = "two_places"
    """Making it anew was interrupted."""


@dataclass(frozen=True, slots=True)
class Leaving:
    """How a vault is taken away from where it is: by its credential or by its recovery key (32 bytes).

    ``last_claim``: also from a cohort that the list does not name any more.
    """

    credential: SecretBytes
    recovery_key: SecretBytes | None = None
    drop_damaged: bool = False
    last_claim: bool = False


class FleetVaultClient:
    """The vaults of all daemons that this client has, as :class:`VaultClient` has those of one."""

    def __init__(
        self, daemons: Sequence[CohortDaemons], source: CohortSource, record: VaultRecord | None = None
    ) -> None:
        self._places = Places(daemons)
        self._source = source
        self._record = record or VaultRecord()
        self._found: dict[str, Found] = {}

    def close(self) -> None:
        """Close all connections."""
        self._places.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(
        self,
        exc_type: type[BaseException] | None,
        exc: BaseException | None,
        traceback: TracebackType | None,
    ) -> None:
        self.close()

    # --- looking -----------------------------------------------------------------------------

    def find(self, name_or_handle: str) -> api.VaultInfo:
        """The vault of this handle or name, wherever it is. Raises as :meth:`Places.locate`."""
        found = self._places.locate(name_or_handle)
        self._found[found.info.handle] = found
        return found.info

    def list(self, name: str | None = None) -> tuple[api.VaultInfo, ...]:
        """Every vault that the caller may see, on all daemons. Raises Unavailable if one does not answer."""
        found = self._places.all_vaults(name)
        self._found |= {one.info.handle: one for one in found}
        return tuple(one.info for one in found)

    def show(self, handle: str) -> api.VaultInfo:
        """One vault. Raises as :meth:`find`."""
        return self.find(handle)

    def place_of(self, handle: str) -> Place:
        """Where a vault is. Raises as :meth:`find`."""
        return self._at(handle).place

    def standings(self, handles: Sequence[str]) -> dict[str, Standing]:
        """How vaults stand to the newest list, which is fetched and verified.

        Raises:
            As :meth:`CohortSource.refresh` and :meth:`find`.
        """
        fleet = self._source.refresh()
        return {handle: self._standing(self._at(handle), fleet) for handle in handles}

    # --- using -------------------------------------------------------------------------------

    def create(
        self,
        name: str,
        credential: SecretBytes,
        kf_type: KfType = KfType.PIN,
        *,
        kf_params: KfParams | None = None,
        max_attempts: int | None = None,
        application_keys: tuple[ApplicationKey, ...] = (),
    ) -> VaultAndKey:
        """Make a vault for a cohort of the list drawn at random, at a member drawn at random.

        Raises:
            As :meth:`VaultClient.create`; VaultExists also if another daemon has one of this name;
            CohortMismatch: the list names no cohort that this client has daemons of.
            FleetError, LogError: the list is not to be trusted; nothing was sent.
        """
        fleet = self._source.refresh()
        daemons, cohort = self._places.draw(fleet)
        with suppress(VaultNotFound, Unavailable):
            there = self._places.locate(name)
            raise VaultExists(f"there is a vault {name!r} already, at {there.place.daemons.label}")
        place = Place(daemons, secrets.choice(daemons.sockets))
        with _claiming(place, cohort) as client:
            info, key = client.create(
                name,
                credential,
                kf_type,
                kf_params=kf_params,
                max_attempts=max_attempts,
                application_keys=application_keys,
            )
        self._remember(info, place, cohort, fleet)
        return info, key

    def open(self, handle: str, credential: SecretBytes) -> Recovered:
        """As :meth:`VaultClient.open`, where the vault is, if the list names its cohort.

        Raises:
            As :meth:`VaultClient.open`; FleetError, LogError: the list is not to be trusted.
        """
        with self._listed(handle) as client:
            return client.open(handle, credential)

    def change_pin(
        self,
        handle: str,
        credential: SecretBytes,
        new_credential: SecretBytes,
        *,
        kf_type: KfType | None = None,
        kf_params: KfParams | None = None,
        drop_damaged: bool = False,
    ) -> VaultAndKey:
        """As :meth:`VaultClient.change_pin`, where the vault is. Raises as :meth:`open`."""
        with self._listed(handle) as client:
            return client.change_pin(
                handle,
                credential,
                new_credential,
                kf_type=kf_type,
                kf_params=kf_params,
                drop_damaged=drop_damaged,
            )

    def delete(self, handle: str) -> None:
        """Delete a vault, in every place that has it. Raises as :meth:`find`."""
        found = self._at(handle)
        for place in (found.place, *found.others):
            self._places.client(place).delete(handle)
        self._found.pop(handle, None)
        self._record.forget(handle)

    def resume(self, handle: str) -> api.VaultInfo:
        """As :meth:`VaultClient.resume`, where the vault is."""
        return self._places.client(self.place_of(handle)).resume(handle)

    def put_application_key(self, recovered: Recovered, key: ApplicationKey) -> api.VaultInfo:
        """As :meth:`VaultClient.put_application_key`, where the vault is."""
        return self._places.client(self.place_of(recovered.handle)).put_application_key(recovered, key)

    def ensure_application_key(self, recovered: Recovered, purpose: str) -> ApplicationKey:
        """As :meth:`VaultClient.ensure_application_key`, where the vault is."""
        return self._places.client(self.place_of(recovered.handle)).ensure_application_key(recovered, purpose)

    # --- rotating ----------------------------------------------------------------------------

    def rotate(
        self,
        handle: str,
        credential: SecretBytes,
        *,
        drop_damaged: bool = False,
        recovery_key: SecretBytes | None = None,
        last_claim: bool = False,
    ) -> VaultAndKey:
        """Give a vault a new recovery key; if it was made for an older list, also a new counter id and cohort.

        From a cohort that the list names no more the vault is taken away by its ``recovery_key`` (32 bytes),
        without a claim, or by one ``last_claim``. What was interrupted is finished by calling it again.

        Raises:
            As :meth:`VaultClient.rotate` and :meth:`create`.
        """
        fleet, found = self._source.refresh(), self._at(handle)
        leaving = Leaving(credential, recovery_key, drop_damaged, last_claim)
        match self._standing(found, fleet):
            case Standing.CURRENT:
                with self._listed(handle) as client:
                    return client.rotate(handle, credential, drop_damaged=drop_damaged)
            case Standing.TWO_PLACES:
                return self._finish(found, fleet, leaving)
            case Standing.OLDER_LIST | Standing.DELISTED:
                return self._make_anew(found, fleet, leaving)

    def _make_anew(self, found: Found, fleet: VerifiedFleet, leaving: Leaving) -> VaultAndKey:
        """Draw a cohort and a counter id; the handle stays."""
        handle = found.info.handle
        daemons, cohort = self._places.draw(fleet)
        stays = cohort == self._places.cohort_at(found.place, fleet)
        place = found.place if stays else self._places.member_for(daemons, handle)
        with self._old(found, fleet, leaving) as old, _claiming(place, cohort) as new:
            make = renewal.replace if stays else renewal.move
            info, key = make(old, new, cohort, leaving.credential)
        self._remember(info, place, cohort, fleet)
        return info, key

    def _finish(self, found: Found, fleet: VerifiedFleet, leaving: Leaving) -> VaultAndKey:
        """Finish what was interrupted: the newest vault of a listed cohort stays, the others go."""
        places = (found.place, *found.others)
        kept = next((place for place in places if self._places.cohort_at(place, fleet)), found.place)
        cohort = self._places.listed_at(kept, fleet)
        made: VaultAndKey | None = None
        for other in places:
            if other == kept:
                continue
            with self._old(Found(found.info, other), fleet, leaving) as old, _claiming(kept, cohort) as new:
                if made is not None:
                    made[1].wipe()
                made = renewal.finish(old, new, leaving.credential)
        assert made is not None, "a vault in two places has others"
        self._remember(made[0], kept, cohort, fleet)
        return made

    def _old(self, found: Found, fleet: VerifiedFleet, leaving: Leaving) -> OldVault:
        """The vault as it is to be taken away.

        Raises:
            CohortMismatch: it would have to be claimed from a cohort that the list does not name.
        """
        if leaving.recovery_key is not None:
            client = VaultClient(found.place.socket, trust=Nobody())
            return OldVault(client, found.info, leaving.recovery_key, True, leaving.drop_damaged)
        cohort = self._last_cohort(found, fleet, leaving)
        return OldVault(
            _claiming(found.place, cohort), found.info, leaving.credential, False, leaving.drop_damaged
        )

    def _last_cohort(self, found: Found, fleet: VerifiedFleet, leaving: Leaving) -> VerifiedCohort:
        cohort = self._places.cohort_at(found.place, fleet)
        made = self._record.of(found.info.handle)
        if cohort is not None:
            return cohort
        if leaving.last_claim and made is not None:
            return unverified_formerly(made.key)
        what = (
            f"cohort {fingerprint(made.key)[:16]}…" if made else f"the cohort at {found.place.daemons.label}"
        )
        ways = "by its recovery key, or by one last claim" if made else "by its recovery key"
        raise CohortMismatch(
            f"{what} is not in the fleet's list of epoch {fleet.epoch}; take the vault away {ways}"
        )

    # --- where and for whom ------------------------------------------------------------------

    def _at(self, handle: str) -> Found:
        if handle not in self._found:
            self.find(handle)
        return self._found[handle]

    def _listed(self, handle: str) -> VaultClient:
        """A client of the daemon where a vault is, whose cohort is in the newest list."""
        place = self.place_of(handle)
        return _claiming(place, self._places.listed_at(place, self._source.refresh()))

    def _remember(
        self, info: api.VaultInfo, place: Place, cohort: VerifiedCohort, fleet: VerifiedFleet
    ) -> None:
        self._record.put(info.handle, MadeFor.of(cohort, fleet.epoch))
        self._found[info.handle] = Found(info, place)

    def _standing(self, found: Found, fleet: VerifiedFleet) -> Standing:
        if found.others:
            return Standing.TWO_PLACES
        made = self._record.of(found.info.handle)
        cohort = fleet.cohort_of(made.key) if made else self._places.cohort_at(found.place, fleet)
        if cohort is None:
            return Standing.DELISTED
        is_newest = fleet.epoch == (made.epoch if made else 0)
        return Standing.CURRENT if is_newest else Standing.OLDER_LIST


def _claiming(place: Place, cohort: VerifiedCohort) -> VaultClient:
    return VaultClient(place.socket, trust=OneCohort(cohort))
