"""Cohorts of several TPMs; see :mod:`hwkm.tokens.registry` for the contract of each function.

Who the members are is part of the cohort key's policy, so their requests are there before the key is. Every
step can be run again after an interruption: what is left then is found by the handles that are taken.
"""

from __future__ import annotations

import hashlib
from collections.abc import Iterator, Sequence
from contextlib import closing, contextmanager
from dataclasses import replace
from typing import Any, Final

from tpm2_pytss import TSS2_Exception
from tpm2_pytss.constants import ESYS_TR, TPM2_ALG
from tpm2_pytss.types import TPMT_SIG_SCHEME

from hwkm.crypto.labels import COHORT_STATEMENT
from hwkm.errors import (
    ConfigError,
    ExchangeRefused,
    TokenAlreadyProvisioned,
    TokenNotProvisioned,
)
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.formats.cohort_invitation import CohortInvitation, MembershipRequest
from hwkm.formats.cohort_record import CohortRecord
from hwkm.formats.cohort_terms import OTHERS_MAX, CohortTerms
from hwkm.formats.domain_token import ExchangeStatement
from hwkm.formats.membership import Membership
from hwkm.formats.wrapped_key import Backend
from hwkm.secret import Pin
from hwkm.tokens.cohort import (
    CohortState,
    Stage,
    open_invitation,
    parse_request,
    unsigned_invitation,
    verify_complete,
    verify_number,
    verify_serves,
    verify_unsealed,
)
from hwkm.tokens.exchange import signed
from hwkm.tokens.pairing import cohort_digest
from hwkm.tokens.tpm import cohort_key
from hwkm.tokens.tpm.authorisation import (
    ANCHOR,
    AUDIT,
    COHORT,
    COHORT_COUNTER,
    COHORT_RECORD,
    KeyServiceAuthorisations,
    authorisation_value,
    verify_pin_length,
)
from hwkm.tokens.tpm.backend import only_connection, undefine, verify_no_officer
from hwkm.tokens.tpm.cohort_indices import define_counter, define_record
from hwkm.tokens.tpm.cohort_invitation import encode_blob, parse_blob, parse_transport
from hwkm.tokens.tpm.cohort_key import Desk, Travelling
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import refused_authorisation, refused_parameter, translate, translated
from hwkm.tokens.tpm.exchange import p256_point, verify_certified
from hwkm.tokens.tpm.key_templates import name_of
from hwkm.tokens.tpm.objects import Handles, describe, existing, waits_for_invitation
from hwkm.tokens.tpm.opened import TpmToken
from hwkm.tokens.tpm.provisioning import (
    esapi_session,
    make_anchor,
    make_domain_key,
    make_key,
    make_storage_primary,
    remove,
)
from hwkm.tokens.tpm.templates import attestation_template, audit_template, members_cohort_template
from hwkm.tokens.uri import TpmUri

_CONTEXT: Final = hashlib.sha256(COHORT_STATEMENT).digest()


def create_cohort(
    uri: TpmUri,
    pin: Pin,
    members: int,
    so_pin: Pin | None = None,
    requests: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """See :func:`hwkm.tokens.registry.create_cohort`."""
    verify_no_officer(so_pin)
    verify_pin_length(pin)
    others = _verified_requests(members, requests)
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        _verify_blank(connection, handles)
        with _desk(connection, make_storage_primary(connection, handles.storage)) as desk:
            _make_keys(desk, handles, pin)
            point, record = _make_cohort_key(desk, handles, pin, others)
            _keep_record(desk, handles, pin, record)
            _make_anchor(desk, handles, pin, point, Membership(0, members))


def request_membership(uri: TpmUri, pin: Pin, so_pin: Pin | None = None) -> bytes:
    """See :func:`hwkm.tokens.registry.request_membership`."""
    verify_no_officer(so_pin)
    verify_pin_length(pin)
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        if not waits_for_invitation(handles, existing(connection, handles)):
            _verify_blank(connection, handles)
            with _desk(connection, make_storage_primary(connection, handles.storage)) as desk:
                _make_keys(desk, handles, pin)
        with _desk_at(connection, handles) as desk:
            return MembershipRequest(statement(desk, handles, pin)).encode()


def invite(uri: TpmUri, pin: Pin, request: bytes, fingerprint: bytes, number: int) -> bytes:
    """See :func:`hwkm.tokens.registry.invite`."""
    with member_token(uri, pin) as token:
        verify_unsealed(token.stage)
        token.verify_key_policy()
        record = token.history.verified_record()
    named = dict(enumerate(record.fingerprints, start=1))
    verify_number(number, record.terms.members, named, fingerprint)
    parsed = _verified_request(request, fingerprint)
    handles = Handles.of(uri)
    with only_connection(uri) as connection, _desk_at(connection, handles) as desk:
        transport, travelling = _send(desk, handles, pin, record, number, parsed.statement)
    blob = encode_blob(travelling, replace(record, invited_bits=0))
    with member_token(uri, pin) as token:
        token.note_invited(number)
        keys = token.audit_key.public_key(), token.cohort_key.public_key()
        unsigned = unsigned_invitation(parsed, *keys, (number, record.terms.members), transport, blob)
        return signed(unsigned, token.audit_key)


def join(uri: TpmUri, pin: Pin, invitation: bytes, sender: bytes) -> None:
    """See :func:`hwkm.tokens.registry.join`.

    The attestation key that made the request is removed last. No invitation for it opens any more then, so a TPM
    whose anchor is gone gets no other one by joining again.
    """
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        taken = existing(connection, handles)
        if waits_for_invitation(handles, taken):
            with _desk_at(connection, handles) as desk:
                receiver = statement(desk, handles, pin).fingerprint()
                opened = open_invitation(invitation, sender, receiver, Backend.TPM)
                storage_name = name_of(_public_at(desk, handles.storage))
                _take_in(desk, handles, pin, opened, *parse_blob(opened, storage_name))
        elif handles.anchor not in taken:
            raise TokenNotProvisioned("this TPM has not asked to become a member: hwkmd cohort request")
    with member_token(uri, pin) as token:
        token.verify_key_policy()
        _verify_joined(token, invitation, sender)
        unfinished = token.stage is Stage.JOINING
    if unfinished:
        with only_connection(uri) as connection:
            remove(connection, handles.attestation)


def _verify_joined(token: TpmToken, invitation: bytes, sender: bytes) -> None:
    """Check that the TPM is a member by this invitation."""
    number, members = token.membership.number, token.membership.members
    if not number:
        raise TokenAlreadyProvisioned(f"the TPM is member 0 of {members}; it was not invited")
    receiver = token.history.verified_record().fingerprints[number - 1]
    opened = open_invitation(invitation, sender, receiver, Backend.TPM)
    theirs = (opened.number, opened.members, opened.cohort_public_key)
    if theirs != (number, members, token.cohort_key.public_key()):
        raise TokenAlreadyProvisioned(f"the TPM is member {number} of {members} by another invitation")


def seal(uri: TpmUri, pin: Pin, *, incomplete: bool = False) -> None:
    """See :func:`hwkm.tokens.registry.seal`."""
    with member_token(uri, pin) as token:
        if token.stage is not Stage.SEALED:
            verify_unsealed(token.stage)
            record = token.history.verified_record()
            verify_complete(record.terms.members, record.invited, incomplete=incomplete)
            token.seal_cohort()
    # Opening flushes every session that was allowed to duplicate before, and sees that none is left.
    with member_token(uri, pin) as token:
        verify_serves(token.stage)


def cohort_state(uri: TpmUri, pin: Pin) -> CohortState:
    """See :func:`hwkm.tokens.registry.cohort_state`."""
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        taken = existing(connection, handles)
        if not taken:
            return CohortState(Stage.BLANK)
        if waits_for_invitation(handles, taken):
            stage = Stage.JOINING if handles.cohort in taken else Stage.REQUESTED
            with _desk_at(connection, handles) as desk:
                audit, print_ = _point_at(desk, handles.audit), statement(desk, handles, pin).fingerprint()
            return CohortState(stage, audit_public_key=audit, fingerprint=print_)
        if not set(handles.names()) <= set(taken):
            return CohortState(Stage.UNFINISHED)
    with member_token(uri, pin) as token:
        membership, record = token.membership, token.history.record
        keys = token.cohort_key.public_key(), token.audit_key.public_key()
        invited = record.invited if record else {}
        print_ = record.fingerprints[membership.number - 1] if record and membership.number else b""
        return CohortState(token.stage, membership.number, membership.members, *keys, invited, print_)


# --- steps ------------------------------------------------------------------------------------


def _make_keys(desk: Desk, handles: Handles, pin: Pin) -> None:
    """Make audit key, domain key 1 and, last, the attestation key."""
    connection, session = desk.connection, desk.session
    value = authorisation_value(pin, AUDIT)
    make_key(connection, desk.storage, session, audit_template(), value, handles.audit)
    make_domain_key(connection, desk.storage, session, handles, pin)
    value = KeyServiceAuthorisations(pin).attestation_key()
    make_key(connection, desk.storage, session, attestation_template(), value, handles.attestation)


def _make_cohort_key(
    desk: Desk, handles: Handles, pin: Pin, others: Sequence[ExchangeStatement]
) -> tuple[bytes, CohortRecord]:
    """Make counter and cohort key; return the key's point and the record."""
    counted = define_counter(
        desk.connection, desk.session, authorisation_value(pin, COHORT_COUNTER), handles.counter
    )
    with translated("making the cohort key"):
        attestation = desk.item(handles.attestation, KeyServiceAuthorisations(pin).attestation_key())
        audit_name = name_of(_public_at(desk, handles.audit))
        parents = tuple(name_of(other.exchange_key) for other in others)
        terms = CohortTerms(handles.counter, counted + 1, audit_name, parents)
        value = authorisation_value(pin, COHORT)
        public, origin = cohort_key.make(desk, terms, value, attestation, handles.cohort)
        prints = tuple(other.fingerprint() for other in others)
        identity = _public_at(desk, handles.attestation)
    proof = (identity, origin.creation_data, origin.attest, origin.signature)
    return p256_point(public, members_cohort_template(terms.policy_digest())), CohortRecord(
        terms, *proof, prints
    )


def _send(
    desk: Desk, handles: Handles, pin: Pin, record: CohortRecord, number: int, receiver: ExchangeStatement
) -> tuple[bytes, Travelling]:
    if name_of(receiver.exchange_key) != record.terms.parents[number - 1]:
        raise ExchangeRefused(f"the cohort's member {number} is another module")
    with translated("wrapping the cohort key"):
        cohort = desk.item(handles.cohort, authorisation_value(pin, COHORT))
        audit = desk.item(handles.audit, authorisation_value(pin, AUDIT))
        counter = desk.item(handles.counter, authorisation_value(pin, COHORT_COUNTER))
    keys = (receiver.exchange_key, name_of(receiver.identity_key))
    return cohort_key.send(desk, cohort_key.Policy(audit, counter, record.terms, number), cohort, keys)


def _take_in(
    desk: Desk,
    handles: Handles,
    pin: Pin,
    invitation: CohortInvitation,
    travelling: Travelling,
    record: CohortRecord,
) -> None:
    """Import the key, keep the record, and make the anchor, last. What an interruption left is made anew."""
    taken = existing(desk.connection, handles)
    if handles.cohort in taken:
        remove(desk.connection, handles.cohort)
    if handles.record in taken:
        undefine(desk.connection, handles.record)
    transport = parse_transport(invitation.transport)
    with translated("finding the attestation key"):
        attestation = desk.item(handles.attestation, KeyServiceAuthorisations(pin).attestation_key())
    try:
        value = authorisation_value(pin, COHORT)
        cohort_key.receive(desk, attestation, transport, travelling, value, handles.cohort)
    except TSS2_Exception as exc:
        code = int(exc.rc)
        if refused_parameter(code) or refused_authorisation(code):
            raise ExchangeRefused("the key in the invitation does not come in") from exc
        raise translate(code, "taking in the cohort key") from exc
    _keep_record(desk, handles, pin, record)
    membership = Membership(invitation.number, invitation.members)
    _make_anchor(desk, handles, pin, invitation.cohort_public_key, membership)


def _keep_record(desk: Desk, handles: Handles, pin: Pin, record: CohortRecord) -> None:
    value = authorisation_value(pin, COHORT_RECORD)
    define_record(desk.connection, desk.session, value, handles.record, record)


def _make_anchor(desk: Desk, handles: Handles, pin: Pin, point: bytes, membership: Membership) -> None:
    state = AnchorState(0, EMPTY_ROOT, cohort_digest(point), membership)
    make_anchor(desk.connection, desk.session, authorisation_value(pin, ANCHOR), handles.anchor, state)


# --- requests ---------------------------------------------------------------------------------


def statement(desk: Desk, handles: Handles, pin: Pin) -> ExchangeStatement:
    """Let the TPM certify its storage primary, for a cohort and nothing else."""
    esapi, scheme = desk.esapi, TPMT_SIG_SCHEME(scheme=TPM2_ALG.NULL)
    with translated("attesting the storage primary"):
        attestation = desk.item(handles.attestation, KeyServiceAuthorisations(pin).attestation_key())
        attest, signature = esapi.certify(
            desk.storage, attestation, _CONTEXT, scheme, session1=ESYS_TR.PASSWORD, session2=desk.session
        )
        keys = _public_at(desk, handles.storage), _public_at(desk, handles.attestation)
    return ExchangeStatement(Backend.TPM, *keys, bytes(attest), cohort_key.ecdsa(signature))


def _verified_request(request: bytes, fingerprint: bytes) -> MembershipRequest:
    parsed = parse_request(request, fingerprint, Backend.TPM)
    verify_certified(parsed.statement, _CONTEXT)
    if parsed.proof:
        raise ExchangeRefused("the membership request proves something that no TPM is asked for")
    return parsed


def _verified_requests(members: int, requests: Sequence[tuple[bytes, bytes]]) -> list[ExchangeStatement]:
    """Return the statements of members 1, 2, ...; each must be there, once."""
    if members - 1 > OTHERS_MAX:
        raise ConfigError(f"a cohort of TPMs has at most {OTHERS_MAX + 1} members")
    if len(requests) != members - 1:
        raise ConfigError(
            f"the key of a cohort of TPMs names its members when it is made: give the requests of all"
            f" {members - 1} others, in the order of their numbers"
        )
    statements = [_verified_request(request, print_).statement for request, print_ in requests]
    if len({name_of(statement.exchange_key) for statement in statements}) != len(statements):
        raise ExchangeRefused("two of the requests are of one TPM")
    return statements


# --- looks ------------------------------------------------------------------------------------


def _verify_blank(connection: Connection, handles: Handles) -> None:
    taken = [describe(connection, handles, handle) for handle in existing(connection, handles)]
    if taken:
        raise TokenAlreadyProvisioned("the TPM already holds: " + "; ".join(taken))


def _public_at(desk: Desk, handle: int) -> bytes:
    item = desk.esapi.tr_from_tpmpublic(handle, session1=desk.session)
    public, *_ = desk.esapi.read_public(item, session1=desk.session)
    marshalled: bytes = public.publicArea.marshal()
    return marshalled


def _point_at(desk: Desk, handle: int) -> bytes:
    with translated(f"reading 0x{handle:08x}"):
        return cohort_key.point_of(_public_at(desk, handle))


@contextmanager
def _desk_at(connection: Connection, handles: Handles) -> Iterator[Desk]:
    with translated("finding the storage primary"):
        storage = connection.esapi.tr_from_tpmpublic(handles.storage)
    with _desk(connection, storage) as desk:
        yield desk


@contextmanager
def _desk(connection: Connection, storage: Any) -> Iterator[Desk]:
    with esapi_session(connection, storage) as session:
        yield Desk(connection, session, storage)


@contextmanager
def member_token(uri: TpmUri, pin: Pin) -> Iterator[TpmToken]:
    """Open a TPM that has its anchor, whether it is sealed or not."""
    connection = Connection(uri.tcti)
    try:
        token = TpmToken(connection, Handles.of(uri), pin)
    except BaseException:
        connection.close()
        raise
    with closing(token):
        yield token
