"""Every bound holds, says so in a typed error, and lets go again."""

from __future__ import annotations

import pytest

from hwkm.errors import RateLimited
from hwkm.server.limits import Busy, Connections, OpenChallenges, RequestsInFlight


class Clock:
    def __init__(self) -> None:
        self.ms = 0

    def __call__(self) -> int:
        return self.ms


def test_one_user_cannot_take_all_connections() -> None:
    connections = Connections(total_max=3, per_uid_max=2)
    connections.open(1000)
    connections.open(1000)
    with pytest.raises(RateLimited) as refused:
        connections.open(1000)
    assert refused.value.retry_after_ms > 0
    connections.open(1001)
    with pytest.raises(Busy) as full:
        connections.open(1002)
    assert full.value.retry_after_ms > 0
    connections.close(1000)
    connections.open(1002)
    assert connections.total == 3


def test_requests_in_flight_are_bounded_and_leave_their_place_also_after_an_error() -> None:
    in_flight = RequestsInFlight(1)
    with in_flight.place(), pytest.raises(Busy), in_flight.place():
        pass
    with pytest.raises(ZeroDivisionError), in_flight.place():
        raise ZeroDivisionError
    with in_flight.place():
        assert in_flight.count == 1


def test_open_challenges_of_one_user_are_bounded_until_they_are_used_or_expire() -> None:
    clock = Clock()
    challenges = OpenChallenges(per_uid_max=2, clock_ms=clock)
    for name in (b"a", b"b"):
        with challenges.place(1000):
            challenges.issued(1000, name, 5_000)
        clock.ms += 1_000
    with pytest.raises(RateLimited) as refused, challenges.place(1000):
        pass
    assert refused.value.retry_after_ms == 3_000
    with challenges.place(1001):
        challenges.issued(1001, b"c", 5_000)
    challenges.used(b"a")
    with challenges.place(1000):
        challenges.issued(1000, b"d", 5_000)
    clock.ms = 6_000
    with challenges.place(1000):
        pass


def test_challenges_that_are_being_asked_for_count_too() -> None:
    challenges = OpenChallenges(per_uid_max=1, clock_ms=Clock())
    with challenges.place(1000), pytest.raises(RateLimited), challenges.place(1000):
        pass
    with challenges.place(1000):
        pass


def test_a_new_life_of_the_core_knows_no_challenges() -> None:
    challenges = OpenChallenges(per_uid_max=1, clock_ms=Clock())
    with challenges.place(1000):
        challenges.issued(1000, b"a", 5_000)
    challenges.clear()
    challenges.used(b"a")
    with challenges.place(1000):
        pass
