"""Cohorts of several PKCS#11 tokens; see :mod:`hwkm.tokens.registry` and ``docs/spec/cohort.md``.

A token can prove nothing about a key to others, so before sealing all rests on those who are present: the
operator's word. What sealing itself is worth, the token's own rule says: CKA_EXTRACTABLE never comes back.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from dataclasses import dataclass
from typing import Any, Final

from pkcs11.constants import MechanismFlag

from hwkm.errors import (
    AnchorTampered,
    CohortSealed,
    ExchangeRefused,
    ExchangeUnsupported,
    KeyExposedError,
    TokenAlreadyProvisioned,
    TokenNotProvisioned,
)
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
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
from hwkm.tokens.pairing import cohort_digest, verify_key_pairs
from hwkm.tokens.pkcs11.anchor import Pkcs11Anchor
from hwkm.tokens.pkcs11.backend import inventory
from hwkm.tokens.pkcs11.ceremony import make_spares
from hwkm.tokens.pkcs11.cohort_objects import (
    Found,
    Invited,
    generate_unsealed,
    keep_cohort_key,
    look,
    remove_cohort_key,
    sealed_copy,
    verify_can_seal,
    verify_not_wrapped,
)
from hwkm.tokens.pkcs11.domain_objects import make_domain_key
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.pkcs11.exchange import CLAIMS, Exchange
from hwkm.tokens.pkcs11.keys import (
    Pkcs11AuditKey,
    Pkcs11CohortKey,
    generate_key_pair,
    load_key_pair,
    load_public_key,
    read_point,
)
from hwkm.tokens.pkcs11.mechanisms import Capabilities, read_capabilities
from hwkm.tokens.pkcs11.objects import Labels
from hwkm.tokens.pkcs11.policy import (
    AUDIT_KEY,
    EXCHANGE_KEY,
    JOINED_COHORT_KEY,
    SEALED_COHORT_KEY,
    UNSEALED_COHORT_KEY,
    verify_attributes,
)
from hwkm.tokens.pkcs11.session import Session
from hwkm.tokens.uri import Pkcs11Uri

JOINING_CLAIMS: Final = b"hwkm cohort member: " + CLAIMS


def create_cohort(
    uri: Pkcs11Uri,
    pin: Pin,
    members: int,
    so_pin: Pin | None = None,
    requests: Sequence[tuple[bytes, bytes]] = (),
) -> None:
    """See :func:`hwkm.tokens.registry.create_cohort`."""
    verify_not_named(requests)
    _prepare(uri, pin, so_pin)
    with _taken_up(uri, pin) as token:
        _make_audit_and_domain_key(token)
        public_key = generate_unsealed(token.session, token.labels)
        token.make_anchor(public_key, Membership(0, members))


def request_membership(uri: Pkcs11Uri, pin: Pin, so_pin: Pin | None = None) -> bytes:
    """See :func:`hwkm.tokens.registry.request_membership`."""
    if _stage(uri, pin) is not Stage.REQUESTED:
        _prepare(uri, pin, so_pin)
        with _taken_up(uri, pin) as token:
            _make_audit_and_domain_key(token)
            generate_key_pair(token.session, token.labels.joining, MechanismFlag.DERIVE)
    with _taken_up(uri, pin) as token:
        statement = signed(token.exchange().statement(), token.audit_key())
        return MembershipRequest(ExchangeStatement.parse(statement)).encode()


def invite(uri: Pkcs11Uri, pin: Pin, request: bytes, fingerprint: bytes, number: int) -> bytes:
    """See :func:`hwkm.tokens.registry.invite`."""
    with _taken_up(uri, pin) as token:
        found = token.found()
        verify_unsealed(found.stage)
        if found.sealed:
            raise CohortSealed("the cohort is being sealed; finish it: hwkmd cohort seal")
        private, public_key = load_key_pair(token.session, token.labels.cohort)
        audit_key = token.audit_key()
        verify_attributes("cohort key", private, UNSEALED_COHORT_KEY)
        verify_key_pairs(Pkcs11CohortKey(private, public_key), audit_key)
        asked = _verified_request(request, fingerprint)
        members = _membership(found).members
        invited = Invited(token.session, token.labels)
        already = invited.read(members)
        verify_number(number, members, already, fingerprint)
        with token.exchange().sending(asked.statement) as sending:
            if number not in already:
                invited.add(number, fingerprint)
            place, sender = (number, members), audit_key.public_key()
            invitation = unsigned_invitation(
                asked, sender, public_key, place, sending.transport, sending.wrap(private)
            )
        return signed(invitation, audit_key)


def join(uri: Pkcs11Uri, pin: Pin, invitation: bytes, sender: bytes) -> None:
    """See :func:`hwkm.tokens.registry.join`."""
    with _taken_up(uri, pin) as token:
        found = token.found()
        if not found.joining_public:
            raise TokenNotProvisioned("this token has not asked to become a member: hwkmd cohort request")
        ours = _statement(token, found).fingerprint()
        opened = open_invitation(invitation, sender, ours, Backend.PKCS11)
        if found.state is not None:
            verify_joined_by(opened, found.state.membership, found.state.cohort)
        else:
            _verify_may_have_anchor(found)
            _take_cohort_key(token, opened)
            _prove_cohort_key(token, opened)
            membership = Membership(opened.number, opened.members)
            token.make_anchor(opened.cohort_public_key, membership)
        # Last, and for good: with it goes the right to a first anchor, so attempts never begin anew.
        for item in found.joining_keys:
            with translated("destroying the joining key, which has done its work"):
                item.destroy()


def seal(uri: Pkcs11Uri, pin: Pin, *, incomplete: bool = False) -> None:
    """See :func:`hwkm.tokens.registry.seal`."""
    with _taken_up(uri, pin) as token:
        found = token.found()
        if found.stage is Stage.SEALED:
            _verify_sealed(token, found)
            return
        verify_unsealed(found.stage)
        members = _membership(found).members
        invited = Invited(token.session, token.labels).read(members)
        verify_complete(members, invited, incomplete=incomplete)
        if not found.sealed:
            verify_attributes("cohort key", found.extractable[0], UNSEALED_COHORT_KEY)
            sealed_copy(found.extractable[0])
            found = token.found()
        _verify_sealed(token, found)
        for item in found.extractable:
            with translated("destroying the cohort key that could be wrapped"):
                item.destroy()


def cohort_state(uri: Pkcs11Uri, pin: Pin) -> CohortState:
    """See :func:`hwkm.tokens.registry.cohort_state`."""
    with _taken_up(uri, pin) as token:
        found = token.found()
        if found.stage in (Stage.BLANK, Stage.UNFINISHED):
            return CohortState(found.stage)
        membership = _membership(found) if found.state else Membership(0, 1)
        labels = token.labels
        return CohortState(
            found.stage,
            membership.number,
            membership.members,
            load_public_key(token.session, labels.cohort) if found.state else b"",
            load_public_key(token.session, labels.audit),
            Invited(token.session, labels).read(membership.members),
            fingerprint=_statement(token, found).fingerprint() if found.joining_public else b"",
        )


@dataclass(frozen=True, slots=True)
class _Token:
    """A session, whatever the stage, and what can be made of it."""

    session: Any
    labels: Labels
    capabilities: Capabilities

    def found(self) -> Found:
        return look(self.session, self.labels)

    def audit_key(self) -> Pkcs11AuditKey:
        """The audit key, its attributes checked."""
        private, public_key = load_key_pair(self.session, self.labels.audit)
        verify_attributes("audit key", private, AUDIT_KEY)
        return Pkcs11AuditKey(private, public_key)

    def exchange(self) -> Exchange:
        """The joining key, or an agreement with another module's."""
        audit_point = load_public_key(self.session, self.labels.audit)
        return Exchange(self.session, self.labels.joining, self.capabilities, audit_point, JOINING_CLAIMS)

    def make_anchor(self, public_key: bytes, membership: Membership) -> None:
        """Make the first anchor."""
        state = AnchorState(0, EMPTY_ROOT, cohort_digest(public_key), membership)
        Pkcs11Anchor(self.session, self.labels.anchor).create(state)


@contextmanager
def _taken_up(uri: Pkcs11Uri, pin: Pin) -> Iterator[_Token]:
    session = Session(uri, pin)
    try:
        capabilities = read_capabilities(session.token)
        if capabilities is None or not capabilities.exchange:
            raise ExchangeUnsupported(
                "this token has no ECDH or no AES key wrap with padding (RFC 5649), which a cohort of several needs"
            )
        yield _Token(session.handle, Labels(uri.object), capabilities)
    finally:
        session.close()


def _stage(uri: Pkcs11Uri, pin: Pin) -> Stage:
    with _taken_up(uri, pin) as token:
        return token.found().stage


def _prepare(uri: Pkcs11Uri, pin: Pin, so_pin: Pin | None) -> None:
    """See that the token is blank and can do what is needed; make trusted spares if the officer is there."""
    existing = inventory(uri, pin)
    if existing:
        raise TokenAlreadyProvisioned("the token already holds: " + "; ".join(existing))
    with _taken_up(uri, pin) as token:
        verify_can_seal(token.session, token.capabilities.wrapping)
    if so_pin is not None:
        make_spares(uri, pin, so_pin, Labels(uri.object))


def _make_audit_and_domain_key(token: _Token) -> None:
    generate_key_pair(token.session, token.labels.audit, MechanismFlag.SIGN | MechanismFlag.VERIFY)
    make_domain_key(token.session, token.labels, 1)


def _verified_request(request: bytes, fingerprint: bytes) -> MembershipRequest:
    asked = parse_request(request, fingerprint, Backend.PKCS11)
    verify_own_signature(asked.statement)
    if asked.proof:
        raise ExchangeRefused("a PKCS#11 token proves nothing; its request has no proof")
    return asked


def _statement(token: _Token, found: Found) -> ExchangeStatement:
    """Our own statement again, unsigned, from the joining public key, which stays after joining."""
    point = read_point(found.joining_public[0], token.labels.joining)
    audit_point = load_public_key(token.session, token.labels.audit)
    return unsigned_statement(Backend.PKCS11, point, audit_point, JOINING_CLAIMS)


def _verify_may_have_anchor(found: Found) -> None:
    """Check that this token has never had an anchor: nobody gets a fresh one by joining again.

    Raises:
        AnchorTampered: it has joined before.
    """
    if not found.joining_keys:
        raise AnchorTampered(
            "the anchor is gone from the token; it has joined before, and gets no second one"
        )


def _take_cohort_key(token: _Token, invitation: CohortInvitation) -> None:
    """Unwrap the key, in place of what an earlier try may have left."""
    remove_cohort_key(token.session, token.labels)
    private, _ = load_key_pair(token.session, token.labels.joining)
    verify_attributes("joining key", private, EXCHANGE_KEY)
    with token.exchange().receiving(invitation.transport) as receiving:
        keep_cohort_key(token.session, token.labels, receiving, invitation.blob, invitation.cohort_public_key)


def _prove_cohort_key(token: _Token, invitation: CohortInvitation) -> None:
    """Use the key once; what is not the cohort's, or could leave, does not stay.

    Raises:
        ExchangeRefused, KeyExposedError: and it was destroyed.
    """
    private, public_key = load_key_pair(token.session, token.labels.cohort)
    try:
        verify_attributes("cohort key", private, JOINED_COHORT_KEY)
        verify_key_pairs(Pkcs11CohortKey(private, public_key), token.audit_key())
        if public_key != invitation.cohort_public_key:
            raise AnchorTampered("another cohort key is in the token")
    except AnchorTampered as exc:
        remove_cohort_key(token.session, token.labels)
        raise ExchangeRefused("the key in the invitation is not the cohort key that it names") from exc
    except KeyExposedError:
        remove_cohort_key(token.session, token.labels)
        raise


def _verify_sealed(token: _Token, found: Found) -> None:
    """Check the one key that cannot be wrapped: by its attributes, by use, and by trying."""
    if len(found.sealed) != 1:
        raise AnchorTampered(f"the token holds {len(found.sealed)} sealed cohort keys, not one")
    (key,) = found.sealed
    verify_attributes("cohort key", key, SEALED_COHORT_KEY)
    public_key = load_public_key(token.session, token.labels.cohort)
    verify_key_pairs(Pkcs11CohortKey(key, public_key), token.audit_key())
    verify_not_wrapped(token.session, token.capabilities.wrapping, key)


def _membership(found: Found) -> Membership:
    if found.state is None:
        raise AnchorTampered("the anchor is gone from the token")
    return found.state.membership
