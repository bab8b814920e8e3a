"""What can come of presenting a claim. Expected outcomes are values, not exceptions."""

from __future__ import annotations

from dataclasses import dataclass


@dataclass(frozen=True, slots=True)
class Opened:
    """The guess was right. ``response`` (92 bytes) is for the claimant only."""

    response: bytes
    attempts_remaining: int


@dataclass(frozen=True, slots=True)
class Wrong:
    """The guess was wrong and was charged; at 0 remaining the vault is locked for good."""

    attempts_remaining: int
    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class Locked:
    """No attempts remain; nothing was evaluated."""


@dataclass(frozen=True, slots=True)
class Suspended:
    """Too many charges in a row without a verdict; nothing was charged or evaluated."""


@dataclass(frozen=True, slots=True)
class Delayed:
    """Too soon after the last charge; nothing was charged or evaluated."""

    retry_after_ms: int


@dataclass(frozen=True, slots=True)
class Faulted:
    """The hardware failed after the charge; the same claim may be presented again for free."""

    attempts_remaining: int


@dataclass(frozen=True, slots=True)
class Deferred:
    """Another claim on the same counter is being decided; present this one again after it."""


@dataclass(frozen=True, slots=True)
class Refused:
    """Nothing was charged or evaluated. ``code`` is that of an error in :mod:`hwkm.errors`."""

    code: str
    message: str


Outcome = Opened | Wrong | Locked | Suspended | Delayed | Faulted | Deferred | Refused


@dataclass(frozen=True, slots=True)
class CounterStatus:
    """How a counter stands for a vault: nothing secret, nothing charged."""

    attempts_remaining: int
    retry_after_ms: int
    suspended: bool
