"""Where vaults are and how they stand to the newest list, for people and programs."""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hwkm.cli.connection import AnyVaultClient
from hwkm.client import FleetVaultClient
from hwkm.client.fleet_vaults import Standing
from hwkm.errors import FleetError, HwkmError, LogError
from hwkm.wire.api import VaultInfo

_WORDS: Final = {
    Standing.CURRENT: "in the newest list",
    Standing.OLDER_LIST: "made for an older list; `hwkm vault rotate` makes it anew",
    Standing.DELISTED: "NOT in the newest list: nothing is claimed there; `hwkm vault rotate` takes the vault away",
    Standing.TWO_PLACES: "in two places: `hwkm vault rotate` finishes what was interrupted",
}
_UNVERIFIED: Final = "unverified"


@dataclass(frozen=True, slots=True)
class VaultPlace:
    """The cohort's name or the daemon's socket, and the standing or why it is not known."""

    cohort: str
    socket: str
    standing: str
    words: str

    def facts(self) -> dict[str, str]:
        """What to add to JSON."""
        return {"cohort": self.cohort, "socket": self.socket, "standing": self.standing}

    def rows(self) -> dict[str, str]:
        """What to add for people."""
        return {"cohort": f"{self.cohort}: {self.words}", "daemon": self.socket}


def places_of(client: AnyVaultClient, vaults: Sequence[VaultInfo]) -> dict[str, VaultPlace]:
    """Where these vaults are, by handle; nothing for a client that trusts no list."""
    if not isinstance(client, FleetVaultClient):
        return {}
    handles = [info.handle for info in vaults]
    standings: dict[str, Standing] = {}
    problem = ""
    try:
        standings = client.standings(handles)
    except (FleetError, LogError) as exc:
        problem = _problem(exc)
    return {handle: _place(client, handle, standings.get(handle), problem) for handle in handles}


def _place(client: FleetVaultClient, handle: str, standing: Standing | None, problem: str) -> VaultPlace:
    place = client.place_of(handle)
    words = problem if standing is None else _WORDS[standing]
    return VaultPlace(place.daemons.label, str(place.socket), standing or _UNVERIFIED, words)


def _problem(error: HwkmError) -> str:
    return f"the list does not verify ({error.code}: {error})"
