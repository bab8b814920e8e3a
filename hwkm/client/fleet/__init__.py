"""The client's side of a fleet: verify its list of cohorts before any key in it is trusted."""

from hwkm.client.cohort import VerifiedCohort, VerifiedFleet
from hwkm.client.fleet.android import AndroidFleet
from hwkm.client.fleet.trust import FleetCohorts, ListKind, PinnedFleet
from hwkm.client.fleet.verification import Fleet

__all__ = [
    "AndroidFleet",
    "Fleet",
    "FleetCohorts",
    "ListKind",
    "PinnedFleet",
    "VerifiedCohort",
    "VerifiedFleet",
]
