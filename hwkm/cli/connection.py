"""From options to a client."""

from __future__ import annotations

from pathlib import Path
from typing import TypeAlias

from hwkm.cli.options import socket_was_chosen
from hwkm.client import CohortTrust, FixedCohort, FleetVaultClient, KnownCohort, VaultClient
from hwkm.client.cohort import CohortSource
from hwkm.client.daemons import CohortDaemons, daemons_path, read_daemons
from hwkm.client.trust import GivenCohorts, config_directory, read_cohort_key_file
from hwkm.errors import ConfigError

AnyVaultClient: TypeAlias = VaultClient | FleetVaultClient


def connect(socket: Path, cohort_key_file: Path | None = None) -> VaultClient:
    """A client of the daemon on a socket; use it as a context manager."""
    return VaultClient(socket, trust=_trust_of(socket, cohort_key_file))


def connect_vaults(socket: Path, cohort_key_file: Path | None = None) -> AnyVaultClient:
    """A client of the daemon on a socket, or, where none was chosen, of all daemons that this user has.

    Which cohorts are trusted: the key in the file, those in the trusted list, those given with the daemons, or the
    first one that was offered on the socket.

    Raises:
        ConfigError: a file holds no key, or what is known of daemons or list cannot be read.
    """
    several = None if cohort_key_file or socket_was_chosen() else _all_daemons()
    source = None if cohort_key_file else trusted_list()
    if several is None and source is None:
        return connect(socket, cohort_key_file)
    daemons = several or (CohortDaemons((socket,)),)
    return FleetVaultClient(daemons, source or _given_with(daemons))


def _trust_of(socket: Path, cohort_key_file: Path | None) -> CohortTrust:
    return FixedCohort(read_cohort_key_file(cohort_key_file)) if cohort_key_file else KnownCohort(socket)


def _all_daemons() -> tuple[CohortDaemons, ...] | None:
    path = daemons_path()
    return read_daemons(path) if path.exists() else None


def trusted_list() -> CohortSource | None:
    """The list of cohorts that this user trusts, if any.

    Raises:
        ConfigError: what is remembered of it cannot be read.
    """
    if not (config_directory() / "fleet").exists():
        return None
    # Loaded only by who trusts a fleet: python-tuf takes its time.
    from hwkm.client.fleet import PinnedFleet

    return PinnedFleet().source()


def _given_with(daemons: tuple[CohortDaemons, ...]) -> CohortSource:
    if not all(one.key for one in daemons):
        raise ConfigError(
            f"{daemons_path()} gives cohorts by name: names mean something in a list; `hwkm fleet trust` one,"
            " or give keys"
        )
    return GivenCohorts(one.key for one in daemons)
