"""Where vaults live: a client's daemons, and finding a vault among them.

Where a vault is is in itself: its params name the cohort, its handle the member
(``docs/spec/membership.md``). A client needs no memory of it: it asks its daemons.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hwkm.client.cohort import VerifiedCohort, VerifiedFleet
from hwkm.client.daemons import CohortDaemons
from hwkm.client.trust import fingerprint
from hwkm.client.vaults import VaultClient
from hwkm.errors import CohortMismatch, FormatError, Unavailable, VaultElsewhere, VaultNotFound
from hwkm.wire import api

_NOT_HERE: Final = (VaultNotFound, VaultElsewhere)


@dataclass(frozen=True, slots=True)
class Place:
    """One daemon, among those of its cohort."""

    daemons: CohortDaemons
    socket: Path


@dataclass(frozen=True, slots=True)
class Found:
    """A vault and the place where it is; ``others`` are places that also have one of its handle."""

    info: api.VaultInfo
    place: Place
    others: tuple[Place, ...] = ()


class Nobody:
    """Trusts no cohort: with it messages are carried, nothing is claimed and nothing made."""

    def trusted(self) -> VerifiedCohort | None:
        return None

    def verify(self, offered: bytes) -> VerifiedCohort:
        raise CohortMismatch(f"cohort {fingerprint(offered)[:16]}… was not verified")


class Places:
    """All daemons that a client has."""

    def __init__(self, daemons: Sequence[CohortDaemons]) -> None:
        self._daemons = tuple(daemons)
        self._places = tuple(Place(one, socket) for one in daemons for socket in one.sockets)
        self._clients: dict[Path, VaultClient] = {}

    def close(self) -> None:
        """Close all connections."""
        while self._clients:
            self._clients.popitem()[1].close()

    def client(self, place: Place) -> VaultClient:
        """A client for messages that need no trust in the cohort."""
        if place.socket not in self._clients:
            self._clients[place.socket] = VaultClient(place.socket, trust=Nobody())
        return self._clients[place.socket]

    # --- vaults ------------------------------------------------------------------------------

    def locate(self, name_or_handle: str) -> Found:
        """The vault of this handle or name, and where it is.

        Raises:
            VaultNotFound: no daemon has it.
            Unavailable: no daemon that answers has it, and some do not answer.
            FormatError: several vaults have this name.
        """
        hits: dict[str, list[tuple[Place, api.VaultInfo]]] = {}
        silent: list[str] = []
        for place in self._places:
            try:
                info = self.client(place).find(name_or_handle)
            except _NOT_HERE:
                continue
            except Unavailable:
                silent.append(str(place.socket))
                continue
            hits.setdefault(info.handle, []).append((place, info))
        if len(hits) > 1:
            raise FormatError(f"{len(hits)} vaults have the name {name_or_handle!r}: use a handle")
        for places in hits.values():
            return self._chosen(places)
        if silent:
            raise Unavailable(
                f"no vault {name_or_handle!r} on the daemons that answer; these do not: {', '.join(silent)}"
            )
        raise VaultNotFound(f"there is no vault {name_or_handle!r}")

    def all_vaults(self, name: str | None = None) -> list[Found]:
        """Every vault that the caller may see, on all daemons.

        Raises:
            Unavailable: a daemon does not answer.
        """
        hits: dict[str, list[tuple[Place, api.VaultInfo]]] = {}
        for place in self._places:
            for info in self.client(place).list(name):
                hits.setdefault(info.handle, []).append((place, info))
        return [self._chosen(places) for places in hits.values()]

    def _chosen(self, places: list[tuple[Place, api.VaultInfo]]) -> Found:
        """Of several daemons with one handle: not those that only see its record, then the newest vault."""
        if len(places) > 1:
            places = [hit for hit in places if self._owns(*hit)] or places
        (place, info), *others = sorted(places, key=lambda hit: hit[1].created_at_ms, reverse=True)
        return Found(info, place, tuple(other for other, _ in others))

    def _owns(self, place: Place, info: api.VaultInfo) -> bool:
        """Whether the daemon is the member that the handle belongs to; several may share a database."""
        return self.client(place).agent.cohort().membership.owns(bytes.fromhex(info.handle))

    # --- cohorts -----------------------------------------------------------------------------

    def draw(self, fleet: VerifiedFleet) -> tuple[CohortDaemons, VerifiedCohort]:
        """Choose, by the operating system's randomness, among the cohorts that are listed and at hand.

        Raises:
            CohortMismatch: there is none.
        """
        known = [(daemons, self._cohort_of(daemons, fleet)) for daemons in self._daemons]
        listed = [(daemons, cohort) for daemons, cohort in known if cohort is not None]
        if not listed:
            raise CohortMismatch(f"{self._words()} not in the fleet's list of epoch {fleet.epoch}")
        return secrets.choice(listed)

    def cohort_at(self, place: Place, fleet: VerifiedFleet) -> VerifiedCohort | None:
        """The cohort of a place as the list has it, or None if it does not."""
        return self._cohort_of(place.daemons, fleet)

    def listed_at(self, place: Place, fleet: VerifiedFleet) -> VerifiedCohort:
        """As :meth:`cohort_at`.

        Raises:
            CohortMismatch: the list does not have it.
        """
        cohort = self.cohort_at(place, fleet)
        if cohort is None:
            raise CohortMismatch(
                f"the cohort at {place.daemons.label} is not in the fleet's list of epoch {fleet.epoch}: nothing is"
                " claimed there; `hwkm vault rotate` takes a vault away from it"
            )
        return cohort

    def member_for(self, daemons: CohortDaemons, handle: str) -> Place:
        """The member of a cohort that a handle belongs to.

        Raises:
            VaultElsewhere: this client has no daemon of that member.
        """
        refusal: VaultElsewhere | None = None
        for socket in daemons.sockets:
            place = Place(daemons, socket)
            try:
                self.client(place).agent.cohort().membership.verify_owns(bytes.fromhex(handle))
            except VaultElsewhere as exc:
                refusal = exc
            else:
                return place
        assert refusal is not None, "a cohort has sockets"
        raise refusal

    def _cohort_of(self, daemons: CohortDaemons, fleet: VerifiedFleet) -> VerifiedCohort | None:
        if daemons.name or daemons.key:
            return daemons.cohort_in(fleet)
        return fleet.cohort_of(self.client(Place(daemons, daemons.sockets[0])).agent.cohort().public_key)

    def _words(self) -> str:
        labels = [daemons.label for daemons in self._daemons]
        return f"the cohort at {labels[0]} is" if len(labels) == 1 else f"the cohorts {', '.join(labels)} are"
