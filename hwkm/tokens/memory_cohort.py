"""Cohorts of several ``insecure-memory:`` tokens: the contract and the files, without any protection."""

from __future__ import annotations

from collections.abc import Sequence
from pathlib import Path

import msgspec

from hwkm.crypto.p256 import encode_point, load_scalar
from hwkm.errors import (
    ExchangeRefused,
    InvalidKeyError,
    TokenAlreadyProvisioned,
    TokenNotProvisioned,
)
from hwkm.formats.cohort_invitation import CohortInvitation, MembershipRequest
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
    verify_joined_by,
    verify_not_named,
    verify_number,
    verify_unsealed,
)
from hwkm.tokens.exchange import signed, unsigned_statement, verify_own_signature
from hwkm.tokens.memory import (
    InsecureAuditKey,
    InsecureContents,
    InsecureMemoryToken,
    inventory,
    made_blank,
    membership_of,
    new_scalar,
    save,
    stage_of,
    unlock,
    with_cohort_key,
)
from hwkm.tokens.memory_exchange import INSECURE_CLAIMS, InsecureReceiving, InsecureSending
from hwkm.tokens.pairing import cohort_digest
from hwkm.tokens.uri import MemoryUri


def create_cohort(
    uri: MemoryUri,
    pin: Pin,
    members: int,
    so_pin: Pin | None = None,
    requests: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """See :func:`hwkm.tokens.registry.create_cohort`."""
    verify_not_named(requests)
    blank = msgspec.structs.replace(made_blank(uri, pin, so_pin), unsealed=True)
    save(Path(uri.path), with_cohort_key(blank, new_scalar(), Membership(0, members)))


def request_membership(uri: MemoryUri, pin: Pin, so_pin: Pin | None = None) -> bytes:
    """See :func:`hwkm.tokens.registry.request_membership`."""
    path = Path(uri.path)
    contents = _contents(uri, pin)
    if contents is None:
        scalar = new_scalar()
        contents = msgspec.structs.replace(
            made_blank(uri, pin, so_pin), joining_scalar=scalar, joining_point=_point(scalar)
        )
        save(path, contents)
    elif stage_of(contents) is not Stage.REQUESTED:
        raise TokenAlreadyProvisioned("the token already holds: " + "; ".join(inventory(uri, pin)))
    statement = signed(_statement(contents), InsecureAuditKey(contents.audit_scalar))
    return MembershipRequest(ExchangeStatement.parse(statement)).encode()


def invite(uri: MemoryUri, pin: Pin, request: bytes, fingerprint: bytes, number: int) -> bytes:
    """See :func:`hwkm.tokens.registry.invite`."""
    path = Path(uri.path)
    contents = unlock(path, pin)
    verify_unsealed(stage_of(contents))
    parsed = parse_request(request, fingerprint, Backend.MEMORY)
    verify_own_signature(parsed.statement)
    if parsed.statement.claims != INSECURE_CLAIMS or parsed.proof:
        raise ExchangeRefused(
            "the membership request claims something else than an insecure-memory token does"
        )
    membership = membership_of(contents)
    verify_number(number, membership.members, contents.invited, fingerprint)
    sending = InsecureSending(parsed.statement.exchange_key)
    token = InsecureMemoryToken(path, contents, membership)
    invitation = unsigned_invitation(
        parsed,
        token.audit_key.public_key(),
        token.cohort_key.public_key(),
        (number, membership.members),
        sending.transport,
        sending.wrap(contents.cohort_scalar),
    )
    invited = {**contents.invited, number: fingerprint}
    save(path, msgspec.structs.replace(contents, invited=invited))
    return signed(invitation, token.audit_key)


def join(uri: MemoryUri, pin: Pin, invitation: bytes, sender: bytes) -> None:
    """See :func:`hwkm.tokens.registry.join`."""
    path = Path(uri.path)
    contents = unlock(path, pin)
    if not contents.joining_point:
        raise TokenNotProvisioned("this token has not asked to become a member: hwkmd cohort request")
    opened = open_invitation(invitation, sender, _statement(contents).fingerprint(), Backend.MEMORY)
    if contents.cohort_scalar:
        key = _point(contents.cohort_scalar)
        verify_joined_by(opened, membership_of(contents), cohort_digest(key))
        return
    scalar = InsecureReceiving(contents.joining_scalar, opened.transport).unwrap(opened.blob)
    _verify_key(scalar, opened)
    joined = msgspec.structs.replace(contents, joining_scalar=b"")
    save(path, with_cohort_key(joined, scalar, Membership(opened.number, opened.members)))


def seal(uri: MemoryUri, pin: Pin, *, incomplete: bool = False) -> None:
    """See :func:`hwkm.tokens.registry.seal`."""
    path = Path(uri.path)
    contents = unlock(path, pin)
    if stage_of(contents) is Stage.SEALED:
        return
    verify_unsealed(stage_of(contents))
    verify_complete(membership_of(contents).members, contents.invited, incomplete=incomplete)
    save(path, msgspec.structs.replace(contents, unsealed=False))


def cohort_state(uri: MemoryUri, pin: Pin) -> CohortState:
    """See :func:`hwkm.tokens.registry.cohort_state`."""
    contents = _contents(uri, pin)
    if contents is None:
        return CohortState(Stage.BLANK)
    membership = membership_of(contents)
    return CohortState(
        stage_of(contents),
        membership.number,
        membership.members,
        _point(contents.cohort_scalar) if contents.cohort_scalar else b"",
        _point(contents.audit_scalar),
        contents.invited,
        fingerprint=_statement(contents).fingerprint() if contents.joining_point else b"",
    )


def _contents(uri: MemoryUri, pin: Pin) -> InsecureContents | None:
    path = Path(uri.path)
    return unlock(path, pin) if path.exists() else None


def _statement(contents: InsecureContents) -> ExchangeStatement:
    identity = _point(contents.audit_scalar)
    return unsigned_statement(Backend.MEMORY, contents.joining_point, identity, INSECURE_CLAIMS)


def _verify_key(scalar: bytes, invitation: CohortInvitation) -> None:
    try:
        matches = _point(scalar) == invitation.cohort_public_key
    except InvalidKeyError:
        matches = False
    if not matches:
        raise ExchangeRefused("the key in the invitation is not the cohort key that it names")


def _point(scalar: bytes) -> bytes:
    return encode_point(load_scalar(scalar).public_key())
