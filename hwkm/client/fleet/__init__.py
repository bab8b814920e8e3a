"""The client's side of a fleet: verify its list of cohorts before any key in it is trusted."""

from hwkm.client.fleet.verification import Fleet, VerifiedCohort, VerifiedFleet

__all__ = ["Fleet", "VerifiedCohort", "VerifiedFleet"]
