"""From options to a client."""

from __future__ import annotations

from pathlib import Path

from hwkm.client import CohortTrust, FixedCohort, KnownCohort, VaultClient
from hwkm.client.trust import config_directory, read_cohort_key_file


def connect(socket: Path, cohort_key_file: Path | None = None) -> VaultClient:
    """A client of the daemon on a socket; use it as a context manager."""
    return VaultClient(socket, trust=trust_of(socket, cohort_key_file))


def trust_of(socket: Path, cohort_key_file: Path | None) -> CohortTrust:
    """Which cohort key to trust: the one in the file, those of the trusted fleet, or the first one offered.

    Raises:
        ConfigError: the file holds none, or what is known of the fleet cannot be read.
    """
    if cohort_key_file:
        return FixedCohort(read_cohort_key_file(cohort_key_file))
    if not (config_directory() / "fleet").exists():
        return KnownCohort(socket)
    # Loaded only by who trusts a fleet: python-tuf takes its time.
    from hwkm.client.fleet import FleetCohorts, PinnedFleet

    return FleetCohorts(PinnedFleet().fleet())
