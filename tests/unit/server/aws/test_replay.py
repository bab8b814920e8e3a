"""The memory of used signatures: bounded, and what happens at its bound is chosen."""

from __future__ import annotations

from contextlib import suppress

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.server.aws.errors import AwsError
from hwkm.server.aws.replay import YOUNG_S, SeenSignatures

OWNER = "HWKMOWNER"


def signature(number: int) -> bytes:
    return b"%016x" % number + b"0" * 48


def test_the_oldest_date_is_forgotten_where_that_is_allowed() -> None:
    seen = SeenSignatures(count_max=2, owner_max=2, valid_s=100, forget=True)
    for number in range(3):
        seen.check(signature(number), 1000 + number, 1002, OWNER)
    assert seen.count == 2
    seen.check(
        signature(0), 1000, 1050, OWNER
    )  # forgotten, so it is taken for new, and would be forgotten first
    assert seen.count == 2
    with pytest.raises(AwsError, match="was used before"):
        seen.check(signature(2), 1002, 1050, OWNER)


def test_where_nothing_may_be_forgotten_nothing_new_is_taken() -> None:
    seen = SeenSignatures(count_max=2, owner_max=2, valid_s=100, forget=False)
    for number in range(2):
        seen.check(signature(number), 1000, 1000, OWNER)
    with pytest.raises(AwsError) as caught:
        seen.check(signature(2), 1000, 1001, OWNER)
    assert (caught.value.name, caught.value.code) == ("ThrottlingException", "rate_limited")
    seen.check(signature(1), 1000, 1001, OWNER)  # a known one needs no room
    seen.check(signature(2), 1200, 1200, OWNER)  # the others have expired
    assert seen.count == 1


@given(st.lists(st.tuples(st.integers(0, 5), st.integers(0, 40)), max_size=60))
def test_the_count_never_passes_its_bound_and_old_copies_never_pass(requests: list[tuple[int, int]]) -> None:
    seen = SeenSignatures(count_max=10_000, owner_max=10_000, valid_s=100, forget=False)
    first: dict[tuple[int, int], int] = {}
    for now, (number, signed_at) in enumerate(requests):
        known = first.setdefault((number, signed_at), now)
        if now - known > YOUNG_S:
            with pytest.raises(AwsError):
                seen.check(signature(number), signed_at, now, OWNER)
        else:
            seen.check(signature(number), signed_at, now, OWNER)
    assert seen.count == len(first)


def test_one_credential_can_neither_use_up_the_room_of_another_nor_have_its_signatures_forgotten() -> None:
    seen = {
        forget: SeenSignatures(count_max=8, owner_max=2, valid_s=100, forget=forget)
        for forget in (False, True)
    }
    for memory in seen.values():
        memory.check(signature(1), 1000, 1000, "victim")
        for number in range(2, 40):
            with suppress(AwsError):
                memory.check(signature(number), 1001 + number, 1001 + number, "flood")
        with pytest.raises(AwsError, match="was used before"):
            memory.check(signature(1), 1000, 1050, "victim")
        memory.check(signature(100), 1050, 1050, "victim")
