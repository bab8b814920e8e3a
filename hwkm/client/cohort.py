"""A cohort key that this client has reason to believe in, and which reason that is.

Vaults are made and claims are sealed for a :class:`VerifiedCohort` only: whoever holds another key's
private half could guess the PIN. The functions here are the only ways to one; each is called where
its reason was established, and its docstring says what that reason is worth.
"""

from __future__ import annotations

import secrets
from dataclasses import InitVar, dataclass
from enum import StrEnum
from typing import Final, Protocol

from hwkm.crypto import p256
from hwkm.errors import CohortMismatch


class Basis(StrEnum):
    """Why a cohort key is believed, from the best reason to the least."""

    FLEET = "fleet"
    ANDROID = "android"
    BY_HAND = "by_hand"
    FORMERLY = "formerly"
    FIRST_USE = "first_use"


@dataclass(frozen=True, slots=True, repr=False)
class VerifiedCohort:
    """A cohort that vaults may be made for. Not to be made but by the functions of this module.

    ``public_key`` is 65 bytes. By a list: ``name`` in it, ``epoch`` of it (Android: its serial), and of a fleet
    ``evidence``, the SHA-256 of what both parties saw.
    """

    way: InitVar[object]
    public_key: bytes
    basis: Basis
    name: str = ""
    epoch: int = 0
    evidence: bytes = b""

    def __post_init__(self, way: object) -> None:
        """``way`` is known to this module alone.

        Raises:
            TypeError: somebody else tries.
            InvalidKeyError: the key is not a point on P-256.
        """
        if way is not _WAY:
            raise TypeError("a VerifiedCohort comes out of a verification; see hwkm.client.cohort")
        p256.load_point(self.public_key)

    def __repr__(self) -> str:
        return f"VerifiedCohort({self.name or self.public_key[1:9].hex()!r}, {self.basis})"


_WAY: Final = object()


def by_fleet(public_key: bytes, name: str, epoch: int, evidence: bytes) -> VerifiedCohort:
    """In a list that operator and auditor signed and that is in a public log. For :mod:`hwkm.client.fleet`."""
    return VerifiedCohort(_WAY, public_key, Basis.FLEET, name, epoch, evidence)


def by_android_list(public_key: bytes, name: str, serial: int) -> VerifiedCohort:
    """In a list of Android's form, signed under a pinned root: the word of one party, and no log."""
    return VerifiedCohort(_WAY, public_key, Basis.ANDROID, name, serial)


def by_hand(public_key: bytes) -> VerifiedCohort:
    """A key that the user or the program was given. It is as good as the way it came."""
    return VerifiedCohort(_WAY, public_key, Basis.BY_HAND)


def unverified_formerly(public_key: bytes) -> VerifiedCohort:
    """A key that was verified when this client made a vault for it, and is in the list no more.

    For one last claim, to take a vault away. Who holds the private half by now learns what is claimed.
    """
    return VerifiedCohort(_WAY, public_key, Basis.FORMERLY)


def unverified_by_first_use(public_key: bytes) -> VerifiedCohort:
    """The first key that was ever offered on a socket: nobody vouches for it.

    Who was in the daemon's place that one time can guess the PINs of all vaults made for it.
    """
    return VerifiedCohort(_WAY, public_key, Basis.FIRST_USE)


@dataclass(frozen=True, slots=True)
class VerifiedFleet:
    """A list of cohorts that passed every check, with its epoch and SHA-256 (32 bytes).

    Cohorts given by hand are of epoch 0, and have no digest.
    """

    epoch: int
    digest: bytes
    cohorts: tuple[VerifiedCohort, ...]

    def cohort_of(self, public_key: bytes) -> VerifiedCohort | None:
        """The cohort of a key (65 bytes), or None if the list does not name it."""
        return next((cohort for cohort in self.cohorts if cohort.public_key == public_key), None)

    def cohort_named(self, name: str) -> VerifiedCohort | None:
        """The cohort of a name, or None if the list does not have it."""
        return next((cohort for cohort in self.cohorts if cohort.name == name), None)

    def draw(self) -> VerifiedCohort:
        """Choose a cohort at random."""
        return secrets.choice(self.cohorts)


class CohortSource(Protocol):
    """Where verified cohorts come from."""

    def refresh(self) -> VerifiedFleet:
        """Fetch and verify the newest list; what was seen is remembered durably on return.

        Raises:
            FleetError, LogError, FormatError: it is not to be trusted, or could not be fetched.
            ConfigError: what is remembered cannot be read or written.
        """
        ...


def require(cohort: VerifiedCohort, public_key: bytes) -> None:
    """Check, also where no type checker does, that a key (65 bytes) is that of a verified cohort.

    Raises:
        TypeError: it is no VerifiedCohort.
        CohortMismatch: it is another's key.
    """
    if type(cohort) is not VerifiedCohort:
        raise TypeError(f"a VerifiedCohort is needed, not {type(cohort).__name__}")
    if public_key != cohort.public_key:
        raise CohortMismatch("the vault is for another cohort key than the one this client trusts")
