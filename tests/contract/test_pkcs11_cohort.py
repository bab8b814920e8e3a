"""What only PKCS#11 tokens do with a cohort of several: attributes, the raw token, objects changed by others."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Sequence
from typing import Any, Final

import pkcs11
import pytest
from pkcs11 import KDF
from pkcs11.constants import DEFAULT, Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from hwkm.errors import (
    AnchorTampered,
    CohortSealed,
    CohortUnsealed,
    ExchangeRefused,
    KeyExposedError,
    TokenAlreadyProvisioned,
)
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.formats.cohort_invitation import CohortInvitation, MembershipRequest
from hwkm.formats.domain_token import ExchangeStatement
from hwkm.formats.membership import Membership
from hwkm.formats.wrapped_key import Backend
from hwkm.secret import Pin
from hwkm.tokens import registry
from hwkm.tokens.cohort import Stage
from hwkm.tokens.exchange import signed, unsigned_statement
from hwkm.tokens.pairing import cohort_digest
from hwkm.tokens.pkcs11.anchor import Pkcs11Anchor
from hwkm.tokens.pkcs11.cohort import JOINING_CLAIMS
from hwkm.tokens.pkcs11.cohort_objects import sealed_copy
from hwkm.tokens.pkcs11.domain_objects import WrappingKey
from hwkm.tokens.pkcs11.keys import (
    P256_PARAMETERS,
    PRIVATE_KEY_TEMPLATE,
    Pkcs11AuditKey,
    load_key_pair,
    load_public_key,
)
from hwkm.tokens.pkcs11.objects import find
from tests.contract import cohorts
from tests.contract.devices import SoftHsmDevice, open_token, opened, provision
from tests.contract.keys import domain_of
from tests.contract.test_pkcs11_domain import user_session

pytestmark = pytest.mark.needs("softhsm2-util")

COHORT, JOINING, ANCHOR = "hwkm.cohort", "hwkm.joining", "hwkm.anchor"
PAD: Final = Mechanism.AES_KEY_WRAP_PAD
Pair = tuple[SoftHsmDevice, SoftHsmDevice]


@pytest.fixture
def blanks() -> Iterator[Pair]:
    made = SoftHsmDevice(), SoftHsmDevice()
    yield made
    for device in made:
        device.stop()


@pytest.fixture
def blank() -> Iterator[SoftHsmDevice]:
    made = SoftHsmDevice()
    yield made
    made.stop()


@pytest.fixture
def sealed(blanks: Pair) -> Pair:
    """A cohort of two."""
    cohorts.whole_cohort(blanks)
    return blanks


def private_key(session: Any, label: str = COHORT) -> Any:
    (key,) = find(session, ObjectClass.PRIVATE_KEY, label)
    return key


def own_wrapping_key(session: Any) -> Any:
    """An AES key of somebody who knows its value: what is wrapped under it is out."""
    key = session.create_object(
        {
            Attribute.CLASS: ObjectClass.SECRET_KEY,
            Attribute.KEY_TYPE: KeyType.AES,
            Attribute.VALUE: secrets.token_bytes(32),
            Attribute.TOKEN: False,
            Attribute.WRAP: True,
        }
    )
    return WrappingKey(key.wrapper)


def thefts(session: Any, key: Any) -> Sequence[Any]:
    """Everything that a thief of the PIN can try with a private key."""
    wrapping = own_wrapping_key(session)
    public, _ = session.generate_keypair(KeyType.RSA, 2048, capabilities=MechanismFlag.WRAP)
    return (
        lambda: wrapping.wrap_key(key, mechanism=PAD),
        lambda: wrapping.wrap_key(key, mechanism=Mechanism.AES_KEY_WRAP),
        lambda: public.wrap_key(key, mechanism=Mechanism.RSA_PKCS_OAEP),
        lambda: key[Attribute.VALUE],
        lambda: key.__setitem__(Attribute.EXTRACTABLE, True),
        lambda: key.__setitem__(Attribute.SENSITIVE, False),
        lambda: key.__setitem__(Attribute.MODIFIABLE, True),
        lambda: wrapping.wrap_key(key.copy({Attribute.EXTRACTABLE: True}), mechanism=PAD),
        lambda: wrapping.wrap_key(
            key.copy({Attribute.TOKEN: False, Attribute.EXTRACTABLE: True}), mechanism=PAD
        ),
        lambda: key.copy({Attribute.SENSITIVE: False})[Attribute.VALUE],
    )


def test_after_sealing_a_thief_of_the_pin_gets_the_key_out_of_no_member(sealed: Pair) -> None:
    for device in sealed:
        with device.activated(), user_session(device) as session:
            key = private_key(session)
            for theft in thefts(session, key):
                with pytest.raises(pkcs11.PKCS11Error):
                    theft()


def test_before_sealing_a_thief_of_the_pin_can_wrap_it_as_the_documents_say(blanks: Pair) -> None:
    first, _ = blanks
    cohorts.create(first, 2)
    with first.activated(), user_session(first) as session:
        assert own_wrapping_key(session).wrap_key(private_key(session), mechanism=PAD)


def test_only_one_private_cohort_key_is_left_in_any_member(sealed: Pair) -> None:
    for device in sealed:
        with device.activated(), user_session(device) as session:
            assert len(find(session, ObjectClass.PRIVATE_KEY, COHORT)) == 1
            assert find(session, ObjectClass.PRIVATE_KEY, JOINING) == []


def test_attributes_tell_the_history_of_the_key(sealed: Pair) -> None:
    histories = []
    for device in sealed:
        with device.activated(), user_session(device) as session:
            key = private_key(session)
            attributes = (
                Attribute.LOCAL,
                Attribute.EXTRACTABLE,
                Attribute.NEVER_EXTRACTABLE,
                Attribute.MODIFIABLE,
            )
            histories.append(tuple(key[attribute] for attribute in attributes))
    assert histories == [(True, False, False, False), (False, False, False, False)]


def test_the_officer_makes_trusted_domain_keys_in_members_too(blanks: Pair) -> None:
    first, second = blanks
    with first.activated(), Pin(first.pin) as pin, Pin(first.so_pin_file.read_bytes()) as officer:
        registry.create_cohort(first.uri, pin, 2, officer)
    with second.activated(), Pin(second.pin) as pin, Pin(second.so_pin_file.read_bytes()) as officer:
        asked = registry.request_membership(second.uri, pin, officer)
    cohorts.join(second, cohorts.invite(first, asked, 1), cohorts.sender_of(first))
    cohorts.seal(first)
    for device in blanks:
        with device.activated(), opened(device) as token:
            token.verify_key_policy()
            assert token.describe().domain_trusted


# --- start checks ----------------------------------------------------------------------------


def change_anchor(device: SoftHsmDevice, membership: Membership) -> None:
    """What somebody with the PIN can do: make the anchor say something else."""
    with device.activated(), user_session(device) as session:
        (old,) = find(session, ObjectClass.DATA, ANCHOR)
        old.destroy()
        digest = cohort_digest(load_public_key(session, COHORT))
        Pkcs11Anchor(session, ANCHOR).create(AnchorState(0, EMPTY_ROOT, digest, membership))


@pytest.mark.parametrize(
    ("which", "claimed", "named"),
    [
        (0, Membership(0, 1), "CKA_NEVER_EXTRACTABLE"),
        (0, Membership(1, 2), "CKA_ALWAYS_SENSITIVE|CKA_LOCAL"),
        (1, Membership(0, 2), "CKA_ALWAYS_SENSITIVE"),
        (1, Membership(0, 1), "CKA_ALWAYS_SENSITIVE"),
    ],
)
def test_a_key_whose_history_is_not_that_of_its_membership_is_exposed(
    sealed: Pair, which: int, claimed: Membership, named: str
) -> None:
    device = sealed[which]
    change_anchor(device, claimed)
    with device.activated(), opened(device) as token, pytest.raises(KeyExposedError, match=named):
        token.verify_key_policy()


def test_a_key_of_a_cohort_of_one_is_not_one_of_several(softhsm: SoftHsmDevice) -> None:
    for claimed, named in (
        (Membership(0, 2), "CKA_NEVER_EXTRACTABLE"),
        (Membership(1, 2), "CKA_ALWAYS_SENSITIVE|CKA_NEVER_EXTRACTABLE"),
    ):
        change_anchor(softhsm, claimed)
        with opened(softhsm) as token, pytest.raises(KeyExposedError, match=named):
            token.verify_key_policy()


# --- sealing that was interrupted or meddled with --------------------------------------------


def test_with_an_extractable_key_beside_the_sealed_one_nothing_is_served_and_nobody_invited(
    blanks: Pair,
) -> None:
    first, second = blanks
    cohorts.create(first, 2)
    asked = cohorts.request(second)
    cohorts.invite(first, asked, 1)
    with first.activated(), user_session(first) as session:
        sealed_copy(private_key(session))
    with first.activated(), pytest.raises(CohortUnsealed):
        open_token(first)
    with pytest.raises(CohortSealed, match="hwkmd cohort seal"):
        cohorts.invite(first, asked, 1)
    cohorts.seal(first)
    with first.activated(), opened(first) as token:
        token.verify_key_policy()


def test_a_foreign_key_in_place_of_the_sealed_copy_keeps_the_old_one(blanks: Pair) -> None:
    first, second = blanks
    cohorts.create(first, 2)
    cohorts.invite(first, cohorts.request(second), 1)
    with first.activated(), user_session(first) as session:
        generate_foreign(session)
    with pytest.raises((AnchorTampered, KeyExposedError)):
        cohorts.seal(first)
    assert cohorts.state_of(first).stage is Stage.UNSEALED


def generate_foreign(session: Any) -> None:
    """Make a sealed key that is not the cohort's, under its label."""
    curve = session.create_domain_parameters(KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMETERS}, local=True)
    extractable = {**PRIVATE_KEY_TEMPLATE, Attribute.EXTRACTABLE: True, Attribute.MODIFIABLE: True}
    public, private = curve.generate_keypair(
        label=COHORT, store=True, capabilities=MechanismFlag.DERIVE, private_template=extractable
    )
    public.destroy()
    sealed_copy(private)
    private.destroy()


# --- requests and invitations ----------------------------------------------------------------


def test_a_statement_for_domain_keys_is_no_membership_request(blanks: Pair) -> None:
    first, second = blanks
    cohorts.create(first, 2)
    with second.activated():
        provision(second)
        with opened(second) as token:
            statement = ExchangeStatement.parse(domain_of(token).exchange_statement())
    with pytest.raises(ExchangeRefused, match="for this use"):
        cohorts.invite(first, MembershipRequest(statement).encode(), 1)


def own_request(device: SoftHsmDevice, claims: bytes) -> bytes:
    """A request that somebody with the PIN signs himself, with claims of his choice."""
    with device.activated(), user_session(device) as session:
        audit_key = Pkcs11AuditKey(*load_key_pair(session, "hwkm.audit"))
        point = load_public_key(session, JOINING)
        unsigned = unsigned_statement(Backend.PKCS11, point, audit_key.public_key(), claims)
        statement = signed(unsigned, audit_key)
    return MembershipRequest(ExchangeStatement.parse(statement)).encode()


@pytest.mark.parametrize("left_out", [b" CKA_SENSITIVE", b" CKA_NEVER_EXTRACTABLE", b"hwkm cohort member: "])
def test_a_request_that_claims_less_is_refused(blanks: Pair, left_out: bytes) -> None:
    first, second = blanks
    cohorts.create(first, 2)
    cohorts.request(second)
    weaker = own_request(second, JOINING_CLAIMS.replace(left_out, b""))
    with pytest.raises(ExchangeRefused, match="does not claim"):
        cohorts.invite(first, weaker, 1)
    assert cohorts.invite(first, own_request(second, JOINING_CLAIMS), 1)


def test_an_invitation_is_worthless_to_a_thief_of_the_pin_once_it_was_used(blanks: Pair) -> None:
    first, second = blanks
    cohorts.create(first, 2)
    invitation = cohorts.invite(first, cohorts.request(second), 1)
    parsed = CohortInvitation.parse(invitation)

    def steal(session: Any) -> Any:
        agreed = private_key(session, JOINING).derive_key(
            KeyType.AES,
            256,
            capabilities=MechanismFlag.UNWRAP,
            mechanism=Mechanism.ECDH1_DERIVE,
            mechanism_param=(KDF.NULL, None, parsed.transport),
            template={Attribute.TOKEN: False, Attribute.EXTRACTABLE: False},
        )
        return WrappingKey(agreed.wrapper).unwrap_key(
            ObjectClass.PRIVATE_KEY,
            KeyType.EC,
            parsed.blob,
            mechanism=PAD,
            capabilities=MechanismFlag.DERIVE,
            template={
                Attribute.SENSITIVE: False,
                Attribute.EXTRACTABLE: True,
                **dict.fromkeys((Attribute.ENCRYPT, Attribute.VERIFY, Attribute.WRAP), DEFAULT),
            },
        )[Attribute.VALUE]

    # Before it joins, the joiner's operator can take the key: that no token proves (docs/spec/cohort.md).
    with second.activated(), user_session(second) as session:
        assert steal(session)
    cohorts.join(second, invitation, cohorts.sender_of(first))
    with (
        second.activated(),
        user_session(second) as session,
        pytest.raises(ValueError, match="not enough values"),
    ):
        steal(session)


def test_another_invitation_changes_nothing_in_a_member(sealed: Pair, blank: SoftHsmDevice) -> None:
    second = sealed[1]
    before = cohorts.state_of(second)
    cohorts.create(blank, 2)
    invitation = cohorts.invite(blank, own_request(second, JOINING_CLAIMS), 1)
    with pytest.raises(TokenAlreadyProvisioned, match="member 1 of 2 by another invitation"):
        cohorts.join(second, invitation, cohorts.sender_of(blank))
    assert cohorts.state_of(second) == before
