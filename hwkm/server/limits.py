"""What bounds the callers: connections, requests in flight, open challenges. All refusals are typed."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager
from itertools import takewhile
from typing import Final

from hwkm.errors import RateLimited, Unavailable

RETRY_AFTER_MS: Final = 1_000


class Busy(Unavailable):
    """The daemon cannot do it now and says when to try again."""

    def __init__(self, message: str, retry_after_ms: int = RETRY_AFTER_MS) -> None:
        super().__init__(message)
        self.retry_after_ms = retry_after_ms


class Connections:
    """How many connections there are, in all and of each user."""

    def __init__(self, *, total_max: int, per_uid_max: int) -> None:
        self._total_max = total_max
        self._per_uid_max = per_uid_max
        self._of_uid: Counter[int] = Counter()
        self.total = 0

    def open(self, uid: int) -> None:
        """Count a connection.

        Raises:
            RateLimited: its user has too many; it is not counted.
            Busy: there are too many; it is not counted.
        """
        if self._of_uid[uid] >= self._per_uid_max:
            raise RateLimited(
                f"uid {uid} has {self._per_uid_max} connections open, no more are taken", RETRY_AFTER_MS
            )
        if self.total >= self._total_max:
            raise Busy(f"{self._total_max} connections are open, no more are taken")
        self._of_uid[uid] += 1
        self.total += 1

    def close(self, uid: int) -> None:
        """Count a connection off."""
        self.total -= 1
        self._of_uid[uid] -= 1
        if not self._of_uid[uid]:
            del self._of_uid[uid]


class RequestsInFlight:
    """How many requests are being worked on."""

    def __init__(self, count_max: int) -> None:
        self._count_max = count_max
        self.count = 0

    @contextmanager
    def place(self) -> Iterator[None]:
        """Hold one of the places while a request is worked on.

        Raises:
            Busy: there is none.
        """
        if self.count >= self._count_max:
            raise Busy(f"{self._count_max} requests are being worked on, no more are taken")
        self.count += 1
        try:
            yield
        finally:
            self.count -= 1


class OpenChallenges:
    """How many challenges each user has open; the core bounds them in all.

    One that is never used leaves when it expires. ``clock_ms`` only has to be steady.
    """

    def __init__(self, *, per_uid_max: int, clock_ms: Callable[[], int]) -> None:
        self._per_uid_max = per_uid_max
        self._clock_ms = clock_ms
        # In the order of issue, which is that of expiry, since all live equally long.
        self._expires_ms: dict[int, dict[bytes, int]] = {}
        self._uid_of: dict[bytes, int] = {}
        self._asked_for: Counter[int] = Counter()

    @contextmanager
    def place(self, uid: int) -> Iterator[None]:
        """Hold a place for ``uid`` while a challenge is asked for.

        Raises:
            RateLimited: the user has too many open.
        """
        mine = self._expires_ms.get(uid, {})
        self._drop_expired(mine)
        if len(mine) + self._asked_for[uid] >= self._per_uid_max:
            raise RateLimited(
                f"uid {uid} has {self._per_uid_max} challenges open; use them or let them expire",
                self._until_first_expires_ms(mine),
            )
        self._asked_for[uid] += 1
        try:
            yield
        finally:
            self._asked_for[uid] -= 1
            if not self._asked_for[uid]:
                del self._asked_for[uid]

    def issued(self, uid: int, challenge: bytes, expires_in_ms: int) -> None:
        """Count a challenge that the core has issued."""
        self._expires_ms.setdefault(uid, {})[challenge] = self._clock_ms() + expires_in_ms
        self._uid_of[challenge] = uid

    def used(self, challenge: bytes) -> None:
        """Count off a challenge whose claim was charged. One that is not known is passed over."""
        uid = self._uid_of.pop(challenge, None)
        if uid is None:
            return
        mine = self._expires_ms[uid]
        del mine[challenge]
        if not mine:
            del self._expires_ms[uid]

    def clear(self) -> None:
        """Forget all: a new life of the core knows none of them."""
        self._expires_ms.clear()
        self._uid_of.clear()

    def _drop_expired(self, mine: dict[bytes, int]) -> None:
        now = self._clock_ms()
        expired = takewhile(lambda issued: issued[1] <= now, mine.items())
        for challenge, _ in list(expired):
            self.used(challenge)

    def _until_first_expires_ms(self, mine: dict[bytes, int]) -> int:
        first = next(iter(mine.values()), None)
        return RETRY_AFTER_MS if first is None else max(1, first - self._clock_ms())
