"""From options to a client."""

from __future__ import annotations

from pathlib import Path

from hwkm.client import CohortTrust, FixedCohort, KnownCohort, VaultClient
from hwkm.client.trust import read_cohort_key_file


def connect(socket: Path, cohort_key_file: Path | None = None) -> VaultClient:
    """A client of the daemon on a socket; use it as a context manager."""
    return VaultClient(socket, trust=trust_of(socket, cohort_key_file))


def trust_of(socket: Path, cohort_key_file: Path | None) -> CohortTrust:
    """Which cohort key to trust.

    Raises:
        ConfigError: the file holds none.
    """
    return FixedCohort(read_cohort_key_file(cohort_key_file)) if cohort_key_file else KnownCohort(socket)
