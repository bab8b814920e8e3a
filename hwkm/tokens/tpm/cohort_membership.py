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
    TokenError,
    TokenNotProvisioned,
    TokenUnavailable,
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
    sign_invitation,
    unsigned_invitation,
    verify_complete,
    verify_number,
    verify_unsealed,
)
from hwkm.tokens.pairing import cohort_digest, verify_key_pairs
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
from hwkm.tokens.tpm.backend import inventory, only_connection, undefine, verify_no_officer
from hwkm.tokens.tpm.cohort_indices import count_up_to, define_counter, define_record, mark_invited
from hwkm.tokens.tpm.cohort_invitation import encode_blob, parse_blob, parse_transport, verify_origin
from hwkm.tokens.tpm.cohort_key import Desk
from hwkm.tokens.tpm.connection import Connection
from hwkm.tokens.tpm.errors import refused_authorisation, refused_parameter, translate, translated
from hwkm.tokens.tpm.exchange import p256_point, verify_certified
from hwkm.tokens.tpm.key_templates import name_of
from hwkm.tokens.tpm.objects import Handles, existing, public_point
from hwkm.tokens.tpm.opened import TpmToken
from hwkm.tokens.tpm.provisioning import (
    add_domain_key,
    esapi_session,
    make_anchor,
    make_key,
    make_storage_primary,
    remove,
)
from hwkm.tokens.tpm.templates import attestation_template, audit_template
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
        _verify_blank(uri, pin, connection, handles)
        with _desk_of_new(connection, handles, pin) as desk:
            record = _make_cohort(desk, handles, pin, others)
            value = authorisation_value(pin, COHORT_RECORD)
            define_record(connection, desk.session, value, handles.record, record)
            point = _point_at(desk, handles.cohort)
            _make_anchor(desk, handles, pin, point, Membership(0, members))


def request_membership(uri: TpmUri, pin: Pin, so_pin: Pin | None = None) -> bytes:
    """See :func:`hwkm.tokens.registry.request_membership`."""
    verify_no_officer(so_pin)
    verify_pin_length(pin)
    handles = Handles.of(uri)
    with only_connection(uri) as connection:
        if not _is_waiting(connection, handles):
            _verify_blank(uri, pin, connection, handles)
            with _desk_of_new(connection, handles, pin):
                pass
        with _desk(connection, handles) as desk:
            return MembershipRequest(_statement(desk, handles, pin)).encode()


def invite(uri: TpmUri, pin: Pin, request: bytes, fingerprint: bytes, number: int) -> bytes:
    """See :func:`hwkm.tokens.registry.invite`."""
    with _member(uri, pin) as token:
        verify_unsealed(_stage(token))
        record = token.history.record
        assert record is not None  # of several
    named = {place: print_ for place, print_ in enumerate(record.fingerprints, start=1)}
    verify_number(number, record.terms.members, named, fingerprint)
    parsed = _verified_request(request, fingerprint)
    with only_connection(uri) as connection, _desk(connection, Handles.of(uri)) as desk:
        transport, travelling = _sent(desk, Handles.of(uri), pin, record, number, parsed.statement)
    blob = encode_blob(travelling, replace(record, invited_bits=0))
    with _member(uri, pin) as token:
        place = (number, record.terms.members)
        keys = token.audit_key.public_key(), token.cohort_key.public_key()
        with translated("noting the invitation"):
            token.use_cohort_record(lambda session, index: mark_invited(session, index, record, number))
        return sign_invitation(unsigned_invitation(parsed, *keys, place, transport, blob), token.audit_key)
