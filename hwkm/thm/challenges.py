"""Open challenges: single use, bound to one sealed vault, short-lived, bounded in number.

They live in memory only. After a restart every unused challenge is refused, which costs nothing;
a claim that was already charged is known from the attempt state itself.
"""

from __future__ import annotations

from dataclasses import dataclass

from hwkm.errors import ChallengeRefused, LimitExceeded
from hwkm.formats.counter import Instant
from hwkm.formats.vault import CHALLENGE_BYTES, check_length


@dataclass(frozen=True, slots=True)
class _Open:
    vault_digest: bytes
    expires: Instant


class Challenges:
    """The challenges that have been issued and not yet used."""

    def __init__(self, *, count_max: int, lifetime_ms: int) -> None:
        self._count_max = count_max
        self._lifetime_ms = lifetime_ms
        self._open: dict[bytes, _Open] = {}

    def __len__(self) -> int:
        return len(self._open)

    def issue(self, vault_digest: bytes, challenge: bytes, now: Instant) -> Instant:
        """Record a fresh random challenge (32 bytes) for one vault; return when it dies.

        Raises:
            LimitExceeded: too many challenges are open.
        """
        check_length("challenge", challenge, CHALLENGE_BYTES)
        self._drop_expired(now)
        if len(self._open) >= self._count_max:
            raise LimitExceeded(f"{self._count_max} challenges are open, no more are issued")
        expires = Instant(now.boot_id, now.ms + self._lifetime_ms)
        self._open[challenge] = _Open(vault_digest, expires)
        return expires

    def check(self, vault_digest: bytes, challenge: bytes, now: Instant) -> Instant:
        """Return when an open challenge for this vault dies.

        Raises:
            ChallengeRefused: unknown, used, expired, or issued for another vault.
        """
        found = self._open.get(challenge)
        if found is None or found.vault_digest != vault_digest or not now.is_before(found.expires):
            raise ChallengeRefused("the challenge is unknown, used, expired, or of another vault")
        return found.expires

    def use(self, challenge: bytes) -> None:
        """Forget a challenge whose claim was charged."""
        del self._open[challenge]

    def _drop_expired(self, now: Instant) -> None:
        """Issued in order and of one lifetime, so the expired ones are the first."""
        while self._open:
            challenge, oldest = next(iter(self._open.items()))
            if now.is_before(oldest.expires):
                return
            del self._open[challenge]
