"""Signatures that were used, so that a copied request is not obeyed a second time.

A signature does not name one request: two equal requests that a client signs within one second have
the same signature, and an ordinary client does send them (``GenerateDataKey`` for one key, twice a
millisecond). So a signature may come again while it is *young*, for :data:`YOUNG_S` seconds after it was
first seen here; after that it is a copy and refused, until its date is too old to be accepted at
all. AWS itself has only the last of these limits.

Kept are 8 bytes of each signature: whoever cannot sign cannot choose them either. Only verified
signatures are kept, so nobody fills the memory without a credential, and no credential fills more than its share.
"""

from __future__ import annotations

from typing import Final

from hwkm.errors import AccessDenied, RateLimited
from hwkm.server.aws.errors import AwsError

YOUNG_S: Final = 5
SWEEP_S: Final = 10
_KEPT_HEX_DIGITS: Final = 16


class _OfOwner:
    """The signatures of one credential by the second they were dated, with the time each was first seen."""

    __slots__ = ("by_date", "count")

    def __init__(self) -> None:
        self.by_date: dict[int, dict[int, int]] = {}
        self.count = 0

    def drop(self, dates: list[int]) -> int:
        """Forget the signatures of some dates; return how many."""
        dropped = sum(len(self.by_date.pop(date)) for date in dates)
        self.count -= dropped
        return dropped


class SeenSignatures:
    """Signatures that were used, by the credential that made them.

    ``count_max`` bounds them in all, ``owner_max`` those of one credential. When that is reached, the
    credential's own of the oldest date are forgotten if ``forget`` allows it, and those of the credential that has
    most when all are too many; otherwise nothing new is taken until some have expired.
    """

    def __init__(self, *, count_max: int, owner_max: int, valid_s: int, forget: bool) -> None:
        self._count_max = count_max
        self._owner_max = owner_max
        self._valid_s = valid_s
        self._forget = forget
        self._owners: dict[str, _OfOwner] = {}
        self._swept_at = 0
        self.count = 0

    def check(self, signature: bytes, signed_at: int, now: int, owner: str) -> None:
        """Take note of a verified signature; the times are in seconds.

        Raises:
            AwsError: it was seen before and is not young any more, or there is no room to note it.
        """
        if abs(now - self._swept_at) >= SWEEP_S:
            self._drop_expired(now)
        own = self._owners.setdefault(owner, _OfOwner())
        marks = own.by_date.get(signed_at, {})
        mark = int(signature[:_KEPT_HEX_DIGITS], 16)
        first_seen = marks.get(mark)
        if first_seen is None:
            if self._makes_room(own, signed_at):
                own.by_date.setdefault(signed_at, marks)[mark] = now
                own.count += 1
                self.count += 1
        elif now - first_seen > YOUNG_S:
            raise AwsError(
                "InvalidSignatureException",
                "This signature was used before: sign the request again.",
                code=AccessDenied.code,
            )

    def _drop_expired(self, now: int) -> None:
        self._swept_at = now
        for owner, own in list(self._owners.items()):
            self.count -= own.drop([date for date in own.by_date if date < now - self._valid_s])
            if not own.count:
                del self._owners[owner]

    def _makes_room(self, own: _OfOwner, signed_at: int) -> bool:
        """Whether one more may be noted; what is older than all others of its owner would be the first to be forgotten."""
        if own.count < self._owner_max and self.count < self._count_max:
            return True
        if not self._forget:
            raise AwsError(
                "ThrottlingException",
                "Too many requests within the validity of signatures.",
                code=RateLimited.code,
            )
        victim = own
        if own.count < self._owner_max:
            victim = max(self._owners.values(), key=lambda other: other.count)
        oldest = min(victim.by_date)
        if victim is own and signed_at <= oldest:
            return False
        self.count -= victim.drop([oldest])
        return True
