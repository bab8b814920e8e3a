"""A client draws a handle that fits the member it talks to."""

from __future__ import annotations

import pytest

from hwkm.client import framework
from hwkm.client.cohort import by_hand
from hwkm.errors import FormatError, VaultElsewhere
from hwkm.formats.membership import Membership
from hwkm.wire.api import CohortInfo
from tests.vault_world import SoftwareKey

KEY = SoftwareKey().public_key()
VERIFIED = by_hand(KEY)


def cohort(member: int, members: int) -> CohortInfo:
    return CohortInfo(public_key=KEY, max_attempts_limit=10, member=member, members=members)


@pytest.mark.parametrize(("member", "members"), [(0, 1), (0, 3), (2, 3), (15, 16)])
def test_new_params_fit_the_member(member: int, members: int) -> None:
    made = [framework.fresh_params(VERIFIED, cohort(member, members)) for _ in range(20)]
    assert all(Membership(member, members).owns(params.handle) for params in made)
    assert len({params.handle for params in made}) == 20


def test_a_given_handle_of_another_member_is_refused_before_anything_is_sealed() -> None:
    handle = framework.fresh_handle(Membership(1, 3))
    assert framework.fresh_params(VERIFIED, cohort(1, 3), handle=handle).handle == handle
    with pytest.raises(VaultElsewhere, match="member 1 of 3"):
        framework.fresh_params(VERIFIED, cohort(2, 3), handle=handle)


def test_a_daemon_that_claims_to_be_no_possible_member_is_refused() -> None:
    with pytest.raises(FormatError):
        framework.fresh_params(VERIFIED, cohort(3, 3))
