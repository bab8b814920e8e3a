"""Cohorts of several TPMs: where the key can go, and where it cannot, by the TPM's own refusal."""

from __future__ import annotations

import dataclasses
from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any

import pytest
from cryptography.hazmat.primitives.asymmetric import ec
from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR
from tpm2_pytss.types import TPM2B_DATA, TPM2B_PUBLIC, TPMT_PUBLIC

from hwkm.crypto.p256 import encode_point
from hwkm.errors import (
    AnchorTampered,
    CohortSealed,
    CohortUnsealed,
    ConfigError,
    ExchangeRefused,
    ExchangeUnsupported,
    TokenAlreadyProvisioned,
    TokenNotProvisioned,
)
from hwkm.fleet.evidence.cohort import verify_member
from hwkm.fleet.evidence.findings import Trust
from hwkm.formats.cohort_invitation import MembershipRequest
from hwkm.formats.cohort_terms import CohortTerms
from hwkm.formats.membership import Membership
from hwkm.secret import Pin
from hwkm.tokens import registry
from hwkm.tokens.cohort import Stage
from hwkm.tokens.tpm import cohort_membership
from hwkm.tokens.tpm.authorisation import AUDIT, COHORT, COHORT_COUNTER, KeyServiceAuthorisations
from hwkm.tokens.tpm.cohort_indices import define_counter
from hwkm.tokens.tpm.cohort_key import Desk, Policy, inner_cipher, policy_session
from hwkm.tokens.tpm.cohort_membership import member_token
from hwkm.tokens.tpm.provisioning import esapi_session, make_key
from hwkm.tokens.tpm.templates import attestation_template
from hwkm.tokens.uri import TpmUri, parse_token_uri
from tests.contract.cohorts import (
    fingerprint_of,
    invite,
    join,
    request,
    seal,
    sender_of,
    state_of,
    verify_keeps_membership,
)
from tests.contract.devices import SwtpmDevice, destroy, inventory, opened
from tests.contract.test_tpm import evict, handles, owner, undefine, value
from tests.vectors.make_evidence import MADE_AT, evidence

pytestmark = pytest.mark.needs("swtpm")

PEER = ec.generate_private_key(ec.SECP256R1())


@pytest.fixture
def tpms() -> Iterator[list[SwtpmDevice]]:
    """Three TPMs that hold nothing."""
    devices = [SwtpmDevice() for _ in range(3)]
    try:
        yield devices
    finally:
        for device in devices:
            device.stop()


@pytest.fixture
def unsealed(tpms: list[SwtpmDevice]) -> list[SwtpmDevice]:
    """A cohort of three that is not sealed; nobody was invited."""
    create(tpms)
    return tpms


@pytest.fixture
def sealed(unsealed: list[SwtpmDevice]) -> list[SwtpmDevice]:
    """A cohort of three, complete and sealed."""
    first, *others = unsealed
    for number, device in enumerate(others, start=1):
        join(device, invite(first, request(device), number), sender_of(first))
    seal(first)
    return unsealed


def create(tpms: Sequence[SwtpmDevice]) -> None:
    first, *others = tpms
    requests = [request(device) for device in others]
    named = [(asked, fingerprint_of(asked)) for asked in requests]
    with Pin(first.pin) as pin:
        registry.create_cohort(first.uri, pin, len(tpms), requests=named)


def terms_of(first: SwtpmDevice) -> CohortTerms:
    with opened(first) as token:
        terms: CohortTerms = token.history.verified_record().terms  # type: ignore[attr-defined]
        return terms


@contextmanager
def desk_of(device: SwtpmDevice) -> Iterator[Desk]:
    """Everything that the owner has, and the PIN is a test's own."""
    with owner(device) as connection:
        storage = connection.esapi.tr_from_tpmpublic(handles(device).storage)
        with esapi_session(connection, storage) as session:
            yield Desk(connection, session, storage)


def policy_of(desk: Desk, device: SwtpmDevice, terms: CohortTerms, number: int) -> Policy:
    audit = desk.item(handles(device).audit, value(device, AUDIT))
    counter = desk.item(handles(device).counter, value(device, COHORT_COUNTER))
    return Policy(audit, counter, terms, number)


def duplicate(desk: Desk, device: SwtpmDevice, session: Any, parent: bytes) -> bytes:
    """Let the TPM wrap its cohort key, as it stands, to the storage key with that TPMT_PUBLIC."""
    key = desk.item(handles(device).cohort, value(device, COHORT))
    area, _ = TPMT_PUBLIC.unmarshal(parent)
    loaded = desk.esapi.load_external(TPM2B_PUBLIC(area), None, ESYS_TR.NULL)
    try:
        _, wrapped, _ = desk.esapi.duplicate(
            key, loaded, TPM2B_DATA(bytes(16)), inner_cipher(), session1=session
        )
        return bytes(wrapped)
    finally:
        desk.flush(loaded)


def refuses(desk: Desk, policy: Policy, name: bytes) -> None:
    """Check that the TPM does not let the policy be satisfied, because of the counter."""
    with pytest.raises(CohortSealed), policy_session(desk, policy, name):
        pass


def key_name(desk: Desk, device: SwtpmDevice) -> bytes:
    item = desk.esapi.tr_from_tpmpublic(handles(device).cohort)
    return bytes(desk.esapi.tr_get_name(item))


def storage_of(asked: bytes) -> bytes:
    return MembershipRequest.parse(asked).statement.exchange_key


def software_parent(asked: bytes) -> bytes:
    """A storage key as that of a request, but one whose private half lies in memory."""
    point = encode_point(ec.generate_private_key(ec.SECP256R1()).public_key())
    public = storage_of(asked)
    return public[:-68] + b"\0\x20" + point[1:33] + b"\0\x20" + point[33:]


# --- the way as it should be ------------------------------------------------------------------


def test_three_members_have_one_key_and_their_own_numbers(sealed: list[SwtpmDevice]) -> None:
    keys = set()
    for number, device in enumerate(sealed):
        with opened(device) as token:
            token.verify_key_policy()
            assert token.membership == Membership(number, 3)
            keys.add(token.cohort_key.public_key())
            (agreed,) = token.cohort_key.agree([encode_point(PEER.public_key())])
            public = ec.EllipticCurvePublicKey.from_encoded_point(
                ec.SECP256R1(), token.cohort_key.public_key()
            )
            assert agreed == PEER.exchange(ec.ECDH(), public)
    assert len(keys) == 1
    assert [state_of(device).stage for device in sealed] == [Stage.SEALED, Stage.JOINED, Stage.JOINED]


def test_all_of_it_survives_advances_and_a_power_cycle(sealed: list[SwtpmDevice]) -> None:
    for number, device in enumerate(sealed):
        verify_keeps_membership(device, Membership(number, 3))
        with opened(device) as token:
            token.verify_key_policy()


def test_an_unsealed_first_member_does_not_open(unsealed: list[SwtpmDevice]) -> None:
    assert state_of(unsealed[0]).stage is Stage.UNSEALED
    with pytest.raises(CohortUnsealed), opened(unsealed[0]):
        pass


def test_the_policy_that_we_compute_is_the_one_that_the_tpm_computes(unsealed: list[SwtpmDevice]) -> None:
    first = unsealed[0]
    seal(first, incomplete=True)
    terms = terms_of(first)
    higher = dataclasses.replace(terms, limit=terms.limit + 1)  # one that the counter has not reached
    with (
        desk_of(first) as desk,
        policy_session(desk, policy_of(desk, first, higher, 2), bytes(34)) as session,
    ):
        assert bytes(desk.esapi.policy_get_digest(session)) == higher.policy_digest()


def test_what_cannot_be_is_refused_before_anything_is_made(tpms: list[SwtpmDevice]) -> None:
    first, second, _ = tpms
    asked = request(second)
    with Pin(first.pin) as pin:
        with pytest.raises(ConfigError, match="names its members"):
            registry.create_cohort(first.uri, pin, 3, requests=[(asked, fingerprint_of(asked))])
        with pytest.raises(ExchangeRefused, match="of one TPM"):
            registry.create_cohort(first.uri, pin, 3, requests=[(asked, fingerprint_of(asked))] * 2)
        with pytest.raises(ExchangeRefused, match=fingerprint_of(asked).hex()):
            registry.create_cohort(first.uri, pin, 2, requests=[(asked, bytes(32))])
    assert inventory(first) == []


def test_only_who_was_named_is_invited_and_only_as_his_number(unsealed: list[SwtpmDevice]) -> None:
    first, second, _ = unsealed
    stranger = SwtpmDevice()
    try:
        with pytest.raises(ExchangeRefused, match="another module"):
            invite(first, request(stranger), 1)
        with pytest.raises(ExchangeRefused):
            invite(first, request(second), 2)
    finally:
        stranger.stop()


# --- attacks ----------------------------------------------------------------------------------


def test_with_pin_and_owner_in_hand_the_tpm_wraps_the_key_to_no_key_in_software(
    unsealed: list[SwtpmDevice],
) -> None:
    first, second, _ = unsealed
    seal_terms = _record_terms(first)
    asked = request(second)
    with desk_of(first) as desk:
        policy = policy_of(desk, first, seal_terms, 1)
        with policy_session(desk, policy, key_name(desk, first)) as session:
            assert duplicate(desk, first, session, storage_of(asked))
        with policy_session(desk, policy, key_name(desk, first)) as session, pytest.raises(TSS2_Exception):
            duplicate(desk, first, session, software_parent(asked))


def test_sealed_the_first_member_wraps_the_key_to_nobody(sealed: list[SwtpmDevice]) -> None:
    first = sealed[0]
    terms = terms_of(first)
    with desk_of(first) as desk:
        refuses(desk, policy_of(desk, first, terms, 1), key_name(desk, first))
    with pytest.raises(CohortSealed):
        invite(first, b"whatever it is", 1, bytes(32))


def test_the_counter_removed_and_defined_again_does_not_bring_the_time_before_sealing_back(
    sealed: list[SwtpmDevice],
) -> None:
    first = sealed[0]
    terms = terms_of(first)
    with desk_of(first) as desk:
        undefine(desk.connection, handles(first).counter)
        again = define_counter(
            desk.connection, desk.session, value(first, COHORT_COUNTER), handles(first).counter
        )
        assert again > terms.limit
        policy = policy_of(desk, first, terms, 1)
        assert bytes(desk.esapi.tr_get_name(policy.counter)) == terms.counter_name()  # the same Name
        refuses(desk, policy, key_name(desk, first))


def test_the_counter_removed_before_sealing_seals(unsealed: list[SwtpmDevice]) -> None:
    first = unsealed[0]
    terms = _record_terms(first)
    with desk_of(first) as desk:
        undefine(desk.connection, handles(first).counter)
        define_counter(desk.connection, desk.session, value(first, COHORT_COUNTER), handles(first).counter)
        refuses(desk, policy_of(desk, first, terms, 1), key_name(desk, first))


def test_the_owner_without_the_pin_satisfies_no_policy(unsealed: list[SwtpmDevice]) -> None:
    first = unsealed[0]
    terms = _record_terms(first)
    with desk_of(first) as desk:
        audit = desk.esapi.tr_from_tpmpublic(handles(first).audit)
        counter = desk.esapi.tr_from_tpmpublic(handles(first).counter)
        policy = Policy(audit, counter, terms, 1)
        with pytest.raises(TSS2_Exception), policy_session(desk, policy, key_name(desk, first)):
            pass


def test_a_session_prepared_before_sealing_is_gone_after_it(unsealed: list[SwtpmDevice]) -> None:
    first, second, _ = unsealed
    terms = _record_terms(first)
    asked = request(second)
    with desk_of(first) as desk:
        policy = policy_of(desk, first, terms, 1)
        with policy_session(desk, policy, key_name(desk, first)) as session:
            saved = desk.esapi.context_save(session)
            seal(first, incomplete=True)
            with pytest.raises(TSS2_Exception):
                duplicate(desk, first, desk.esapi.context_load(saved), storage_of(asked))


def test_a_joiner_cannot_pass_the_key_on_with_everything_in_hand(sealed: list[SwtpmDevice]) -> None:
    """Its counter may be what it likes: the policy asks for the first member's audit key, which is not here."""
    first, second, _ = sealed
    terms = terms_of(first)
    with desk_of(second) as desk:
        counter = handles(second).counter
        # A TPM that is new counts as the first member's did, so this one says "not sealed".
        value_now = define_counter(desk.connection, desk.session, value(second, COHORT_COUNTER), counter)
        assert value_now < terms.limit
        policy = policy_of(desk, second, terms, 2)
        name = key_name(desk, second)
        # TPM2_PolicyOR: what was proved is the policy of none of the ways.
        with pytest.raises(TSS2_Exception, match="value is out of range"), policy_session(desk, policy, name):
            pass


@pytest.mark.slow
def test_every_flipped_byte_of_a_request_and_of_an_invitation_is_refused(unsealed: list[SwtpmDevice]) -> None:
    first, second, _ = unsealed
    asked = request(second)
    invitation = invite(first, asked, 1)
    sender, print_ = sender_of(first), fingerprint_of(asked)
    refused = (ExchangeRefused, ExchangeUnsupported)
    for at in range(len(asked)):
        with pytest.raises(refused):
            invite(first, _flipped(asked, at), 1, print_)
    for at in range(0, len(invitation), 5):
        with pytest.raises(refused):
            join(second, _flipped(invitation, at), sender)
    assert state_of(second).stage is Stage.REQUESTED
    join(second, invitation, sender)


def test_an_invitation_is_for_one_tpm_and_one_number(unsealed: list[SwtpmDevice]) -> None:
    first, second, third = unsealed
    invitation = invite(first, request(second), 1)
    with pytest.raises(ExchangeRefused, match="another module"):
        join(third, invitation, sender_of(first))
    with pytest.raises(ExchangeRefused):
        join(second, invitation, bytes(32))


def test_record_or_counter_removed_by_the_owner_is_tampering(sealed: list[SwtpmDevice]) -> None:
    first, second, _ = sealed
    for device, index in ((first, handles(first).counter), (second, handles(second).record)):
        with owner(device) as connection:
            undefine(connection, index)
        with pytest.raises(AnchorTampered), opened(device) as token:
            token.verify_key_policy()


# --- interruptions ----------------------------------------------------------------------------


class Interrupted(Exception):
    """Stands for the end of the process."""


@pytest.mark.parametrize("step", ["define_record", "make_anchor", "remove"])
def test_joining_that_was_interrupted_is_finished_by_the_same_command(
    unsealed: list[SwtpmDevice], step: str, monkeypatch: pytest.MonkeyPatch
) -> None:
    first, second, _ = unsealed
    invitation, sender = invite(first, request(second), 1), sender_of(first)

    def end(*_arguments: object) -> None:
        raise Interrupted

    with monkeypatch.context() as patched:
        patched.setattr(cohort_membership, step, end)
        with pytest.raises(Interrupted):
            join(second, invitation, sender)
    assert state_of(second).stage is Stage.JOINING
    with pytest.raises(TokenNotProvisioned), opened(second):
        pass
    join(second, invitation, sender)
    join(second, invitation, sender)  # changes nothing
    assert state_of(second).stage is Stage.JOINED


def test_a_member_whose_anchor_was_removed_gets_no_other_by_joining_again(
    unsealed: list[SwtpmDevice],
) -> None:
    first, second, _ = unsealed
    invitation, sender = invite(first, request(second), 1), sender_of(first)
    join(second, invitation, sender)
    with owner(second) as connection:
        undefine(connection, handles(second).anchor)
    with pytest.raises(TokenNotProvisioned):
        join(second, invitation, sender)
    with desk_of(second) as desk, Pin(second.pin) as pin:  # as evidence makes one when it is asked for
        attested = KeyServiceAuthorisations(pin).attestation_key()
        template = attestation_template()
        make_key(desk.connection, desk.storage, desk.session, template, attested, handles(second).attestation)
    with pytest.raises(ExchangeRefused, match="earlier request"):
        join(second, invitation, sender)


def test_creation_that_was_interrupted_is_refused_until_all_of_it_is_destroyed(
    unsealed: list[SwtpmDevice],
) -> None:
    first = unsealed[0]
    with owner(first) as connection:
        undefine(connection, handles(first).anchor)
        evict(connection, handles(first).cohort)
    assert state_of(first).stage is Stage.UNFINISHED
    with pytest.raises(TokenAlreadyProvisioned):
        create(unsealed)
    destroy(first)
    assert inventory(first) == []
    create(unsealed)


def test_requesting_and_sealing_again_change_nothing(unsealed: list[SwtpmDevice]) -> None:
    first, second, _ = unsealed
    before = inventory(second)
    assert fingerprint_of(request(second)) == fingerprint_of(request(second))
    assert inventory(second) == before
    with pytest.raises(ExchangeRefused, match="member 1, 2"):
        seal(first)
    seal(first, incomplete=True)
    seal(first)
    assert state_of(first).stage is Stage.SEALED


def _record_terms(first: SwtpmDevice) -> CohortTerms:
    """The terms of a cohort that is not sealed."""
    uri = parse_token_uri(first.uri)
    assert isinstance(uri, TpmUri)
    with Pin(first.pin) as pin, member_token(uri, pin) as token:
        return token.history.verified_record().terms


def _flipped(data: bytes, at: int) -> bytes:
    return data[:at] + bytes((data[at] ^ 1,)) + data[at + 1 :]


def test_what_each_member_says_of_itself_proves_where_the_key_is(sealed: list[SwtpmDevice]) -> None:
    for number, device in enumerate(sealed):
        with opened(device) as token:
            findings = verify_member(evidence(token), Trust(MADE_AT))
        expected = "came from the first member's TPM" if number else "can leave none any more"
        assert expected in findings[0].what
