"""Signatures that were used, so that a copied request is not obeyed a second time.

A signature does not name one request: two equal requests that a client signs within one second have
the same signature, and an ordinary client does send them (``GenerateDataKey`` for one key, twice a
millisecond). So a signature may come again while it is *young*, for :data:`YOUNG_S` seconds after it was
first seen here; after that it is a copy and refused, until its date is too old to be accepted at
all. AWS itself has only the last of these limits.

Kept are 8 bytes of each signature: whoever cannot sign cannot choose them either. Only verified
signatures are kept, so nobody fills the memory without a credential.
"""

from __future__ import annotations

from typing import Final

from hwkm.errors import AccessDenied, RateLimited
from hwkm.server.aws.errors import AwsError

YOUNG_S: Final = 5
_KEPT_HEX_DIGITS: Final = 16


class SeenSignatures:
    """Signatures by the second they were dated, with the time each was first seen.

    ``count_max`` bounds them. When it is reached, those of the oldest date are forgotten if
    ``forget`` allows it; otherwise nothing new is taken until some have expired.
    """

    def __init__(self, *, count_max: int, valid_s: int, forget: bool) -> None:
        self._count_max = count_max
        self._valid_s = valid_s
        self._forget = forget
        self._by_date: dict[int, dict[int, int]] = {}
        self.count = 0

    def check(self, signature: bytes, signed_at: int, now: int) -> None:
        """Take note of a verified signature; the times are in seconds.

        Raises:
            AwsError: it was seen before and is not young any more, or there is no room to note it.
        """
        day = self._by_date.get(signed_at)
        if day is None:
            self._drop_expired(now)
            day = self._by_date.setdefault(signed_at, {})
        mark = int(signature[:_KEPT_HEX_DIGITS], 16)
        first_seen = day.get(mark)
        if first_seen is None:
            if self._makes_room(signed_at):
                day[mark] = now
                self.count += 1
        elif now - first_seen > YOUNG_S:
            raise AwsError(
                "InvalidSignatureException",
                "This signature was used before: sign the request again.",
                code=AccessDenied.code,
            )

    def _drop_expired(self, now: int) -> None:
        for date in [date for date in self._by_date if date < now - self._valid_s]:
            self.count -= len(self._by_date.pop(date))

    def _makes_room(self, signed_at: int) -> bool:
        """Whether one more may be noted; what is older than all others would be the first to be forgotten."""
        if self.count < self._count_max:
            return True
        if not self._forget:
            raise AwsError(
                "ThrottlingException",
                "Too many requests within the validity of signatures.",
                code=RateLimited.code,
            )
        oldest = min(date for date, marks in self._by_date.items() if marks)
        if signed_at <= oldest:
            return False
        self.count -= len(self._by_date.pop(oldest))
        return True
