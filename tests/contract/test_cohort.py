"""A cohort of several members of one kind: made, joined and sealed (hwkm.tokens.registry)."""

from __future__ import annotations

import hashlib
import secrets

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto.p256 import encode_point, load_point
from hwkm.errors import (
    AnchorTampered,
    CohortSealed,
    CohortUnsealed,
    ExchangeRefused,
    ExchangeUnsupported,
    FormatError,
    TokenAlreadyProvisioned,
    TokenNotProvisioned,
)
from hwkm.formats.cohort_invitation import CohortInvitation
from hwkm.tokens.cohort import Stage
from tests.contract.cohorts import (
    Members,
    create,
    fingerprint_of,
    invite,
    join,
    remove_anchor,
    request,
    seal,
    sender_of,
    state_of,
    whole_cohort,
)
from tests.contract.devices import Device, destroy, inventory, open_token, opened, provision


@pytest.fixture
def invited(members: Members) -> tuple[Members, bytes, bytes]:
    """A cohort whose second member has an invitation and has not used it; the invitation, and its sender."""
    first, second, _ = members
    create(first)
    return members, invite(first, request(second), 1), sender_of(first)


def agreements(device: Device, points: list[bytes]) -> list[bytes]:
    with device.activated(), opened(device) as token:
        token.verify_key_policy()
        return list(token.cohort_key.agree(points))


def test_all_members_have_one_key_and_a_number_each_of_their_own(members: Members) -> None:
    whole_cohort(members)
    states = [state_of(device) for device in members]
    assert [state.stage for state in states] == [Stage.SEALED, Stage.JOINED, Stage.JOINED]
    assert [(state.number, state.members) for state in states] == [(0, 3), (1, 3), (2, 3)]
    (public_key,) = {state.public_key for state in states}
    assert len({state.audit_public_key for state in states}) == 3
    peer = ec.generate_private_key(ec.SECP256R1())
    expected = peer.exchange(ec.ECDH(), load_point(public_key))
    for device in members:
        assert agreements(device, [encode_point(peer.public_key())]) == [expected]


def test_members_keep_attempt_state_of_their_own(members: Members) -> None:
    whole_cohort(members)
    for device in members:
        with device.activated(), opened(device) as token:
            state = token.anchor.read()
            assert state.epoch == 0
            assert state.cohort == hashlib.sha256(token.cohort_key.public_key()).digest()


def test_the_first_member_serves_nothing_until_it_is_sealed(members: Members) -> None:
    first, second, third = members
    create(first)
    with first.activated(), pytest.raises(CohortUnsealed, match="hwkmd cohort seal"):
        open_token(first)
    for number, device in ((1, second), (2, third)):
        join(device, invite(first, request(device), number), sender_of(first))
        with first.activated(), pytest.raises(CohortUnsealed):
            open_token(first)
    seal(first)
    agreements(first, [])


def test_nobody_is_invited_after_sealing_not_even_who_was_invited_before(members: Members) -> None:
    first, second, third = members
    whole_cohort(members[:2])
    asked = request(third)
    for device in (first, second):
        with pytest.raises(CohortSealed):
            invite(device, asked, 1)
    seal(first)
    assert state_of(first).stage is Stage.SEALED


def test_an_invitation_that_was_given_before_sealing_is_good_for_its_receiver(
    invited: tuple[Members, bytes, bytes],
) -> None:
    (first, second, _), invitation, sender = invited
    seal(first, incomplete=True)
    join(second, invitation, sender)
    assert state_of(second).stage is Stage.JOINED


def test_sealing_says_who_is_not_invited_yet(invited: tuple[Members, bytes, bytes]) -> None:
    (first, _, _), _, _ = invited
    with pytest.raises(ExchangeRefused, match=r"member 2;.*--incomplete"):
        seal(first)
    assert state_of(first).stage is Stage.UNSEALED


def test_a_cohort_of_one_is_never_of_several(blank_member: Device, members: Members) -> None:
    with blank_member.activated():
        provision(blank_member)
    assert state_of(blank_member).stage is Stage.ALONE
    create(members[0])
    asked = request(members[1])
    for refused in (lambda: invite(blank_member, asked, 1), lambda: seal(blank_member)):
        with pytest.raises(CohortSealed):
            refused()
    with pytest.raises(TokenNotProvisioned):
        join(blank_member, invite(members[0], asked, 1), sender_of(members[0]))
    for again in (lambda: create(blank_member), lambda: request(blank_member)):
        with pytest.raises(TokenAlreadyProvisioned):
            again()


def test_a_request_can_be_made_again_and_is_the_same(invited: tuple[Members, bytes, bytes]) -> None:
    (first, second, _), invitation, sender = invited
    before = state_of(second)
    assert before.stage is Stage.REQUESTED
    again = request(second)
    assert fingerprint_of(again) == before.fingerprint
    with second.activated(), pytest.raises(TokenNotProvisioned, match="hwkmd cohort join"):
        open_token(second)
    invite(first, again, 1)
    join(second, invitation, sender)


def test_joining_again_with_the_same_invitation_changes_nothing(
    invited: tuple[Members, bytes, bytes],
) -> None:
    (_, second, _), invitation, sender = invited
    join(second, invitation, sender)
    before = state_of(second)
    join(second, invitation, sender)
    assert state_of(second) == before


def test_a_member_whose_anchor_is_gone_gets_no_fresh_one_by_joining_again(
    invited: tuple[Members, bytes, bytes],
) -> None:
    """Else whoever can take an anchor away would give every vault its attempts back."""
    (_, second, _), invitation, sender = invited
    join(second, invitation, sender)
    remove_anchor(second)
    with pytest.raises((AnchorTampered, TokenAlreadyProvisioned)):
        join(second, invitation, sender)
    with pytest.raises(TokenAlreadyProvisioned):
        request(second)
    with second.activated(), pytest.raises(AnchorTampered):
        open_token(second)


def test_the_first_member_gets_no_fresh_anchor_either(members: Members) -> None:
    first = members[0]
    whole_cohort(members[:2])
    remove_anchor(first)
    with pytest.raises(TokenAlreadyProvisioned):
        create(first)
    with pytest.raises((AnchorTampered, CohortSealed)):
        seal(first)
    with first.activated(), pytest.raises(AnchorTampered):
        open_token(first)


def test_an_invitation_is_for_one_module_only(members: Members) -> None:
    first, second, third = members
    create(first)
    for_second, for_third = (
        invite(first, request(device), number) for number, device in ((1, second), (2, third))
    )
    with pytest.raises(ExchangeRefused, match="for another module"):
        join(third, for_second, sender_of(first))
    with pytest.raises(ExchangeRefused, match="for another module"):
        join(second, for_third, sender_of(first))
    join(second, for_second, sender_of(first))
    join(third, for_third, sender_of(first))


def test_an_invitation_as_member_one_is_not_one_as_member_two(
    invited: tuple[Members, bytes, bytes],
) -> None:
    (_, second, _), invitation, sender = invited
    parsed = CohortInvitation.parse(invitation)
    as_two = bytearray(invitation)
    as_two[invitation.index(parsed.cohort_public_key) + 65] = 2
    assert CohortInvitation.parse(bytes(as_two)).number == 2
    with pytest.raises(ExchangeRefused, match="signature"):
        join(second, bytes(as_two), sender)
    assert state_of(second).stage is Stage.REQUESTED


def test_a_number_goes_to_one_module_and_a_module_gets_one_number(members: Members) -> None:
    first, second, third = members
    create(first)
    asked = request(second)
    invite(first, asked, 1)
    with pytest.raises(ExchangeRefused, match="member 1 is another module"):
        invite(first, request(third), 1)
    with pytest.raises(ExchangeRefused, match="is member 1 already"):
        invite(first, asked, 2)
    for number in (0, 3, 15):
        with pytest.raises(ExchangeRefused, match="from 1 to 2"):
            invite(first, asked, number)
    assert state_of(first).invited == {1: fingerprint_of(asked)}


def test_the_fingerprint_of_the_request_is_compared(members: Members) -> None:
    first, second, _ = members
    create(first)
    asked = request(second)
    with pytest.raises(ExchangeRefused, match="fingerprint"):
        invite(first, asked, 1, secrets.token_bytes(32))
    assert state_of(first).invited == {}


def test_the_digest_of_the_sender_is_compared(invited: tuple[Members, bytes, bytes]) -> None:
    (_, second, _), invitation, _ = invited
    with pytest.raises(ExchangeRefused, match="another module than the one given"):
        join(second, invitation, secrets.token_bytes(32))
    assert state_of(second).stage is Stage.REQUESTED


def test_a_request_with_any_byte_changed_is_refused(members: Members) -> None:
    first, second, _ = members
    create(first)
    asked = request(second)
    expected = fingerprint_of(asked)
    for at in range(len(asked)):
        damaged = bytearray(asked)
        damaged[at] ^= 1 << (at % 8)
        with pytest.raises((ExchangeRefused, ExchangeUnsupported)):
            invite(first, bytes(damaged), 1, expected)
    for wrong in (b"", asked[:-1], asked + b"\0"):
        with pytest.raises(ExchangeRefused):
            invite(first, wrong, 1, expected)
    assert state_of(first).invited == {}


def test_an_invitation_with_any_byte_changed_is_refused(invited: tuple[Members, bytes, bytes]) -> None:
    (_, second, _), invitation, sender = invited
    for at in range(len(invitation)):
        damaged = bytearray(invitation)
        damaged[at] ^= 1 << (at % 8)
        with pytest.raises((ExchangeRefused, ExchangeUnsupported)):
            join(second, bytes(damaged), sender)
    for wrong in (b"", invitation[:-1], invitation + b"\0"):
        with pytest.raises(ExchangeRefused):
            join(second, wrong, sender)
    join(second, invitation, sender)


@pytest.mark.parametrize("number_of_members", [0, 1, 17])
def test_a_cohort_of_several_has_two_to_sixteen(blank_member: Device, number_of_members: int) -> None:
    with pytest.raises(FormatError, match="2 to 16"):
        create(blank_member, number_of_members)
    assert state_of(blank_member).stage is Stage.BLANK


def test_a_member_at_every_stage_is_listed_and_can_be_destroyed(members: Members) -> None:
    first, second, _ = members
    create(first)
    invitation, sender = invite(first, request(second), 1), sender_of(first)
    for device in (first, second):
        destroy_all_of(device)
    with pytest.raises(TokenNotProvisioned):
        join(second, invitation, sender)
    whole_cohort(members)
    for device in members:
        destroy_all_of(device)


def destroy_all_of(device: Device) -> None:
    with device.activated():
        assert inventory(device)
        destroy(device)
        assert inventory(device) == []
    assert state_of(device).stage is Stage.BLANK
