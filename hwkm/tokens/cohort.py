"""A cohort of several members: its stages, and the checks that are the same for every backend."""

from __future__ import annotations

import hmac
from collections.abc import Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum

from hwkm.errors import (
    CohortSealed,
    CohortUnsealed,
    ConfigError,
    ExchangeRefused,
    ExchangeUnsupported,
    FormatError,
    TokenAlreadyProvisioned,
    TokenNotProvisioned,
)
from hwkm.formats.cohort_invitation import MEMBERS_MIN, CohortInvitation, MembershipRequest
from hwkm.formats.domain_token import SIGNATURE_BYTES
from hwkm.formats.membership import MEMBERS_MAX, Membership
from hwkm.formats.wrapped_key import Backend
from hwkm.tokens.exchange import verify_sender
from hwkm.tokens.pairing import cohort_digest


class Stage(StrEnum):
    """How far a token is on its way into a cohort."""

    BLANK = "blank"
    """Nothing of hwkm is there."""
    UNFINISHED = "unfinished"
    """``hwkmd init``, ``create`` or ``request`` was interrupted; the same command again says what to do."""
    ALONE = "alone"
    """A cohort of one, made by ``hwkmd init``: its key was never extractable."""
    UNSEALED = "unsealed"
    """The first of several; its key can still be wrapped to others, and it serves no vault."""
    SEALED = "sealed"
    """The first of several; its key can never leave again."""
    REQUESTED = "requested"
    """It has asked to become a member and waits for the invitation."""
    JOINING = "joining"
    """``hwkmd cohort join`` was interrupted; the same command again finishes it."""
    JOINED = "joined"
    """The key came here wrapped and cannot leave."""


@dataclass(frozen=True, slots=True)
class CohortState:
    """What ``hwkmd cohort show`` shows. Nothing in it is secret.

    ``number`` and ``members`` are 0 and 1 where there is no cohort of several; the keys are points (65 bytes) or
    empty. ``invited`` (of the first member) has the fingerprint to which each number went, ``fingerprint``
    is that of our own request.
    """

    stage: Stage
    number: int = 0
    members: int = 1
    public_key: bytes = b""
    audit_public_key: bytes = b""
    invited: Mapping[int, bytes] = field(default_factory=dict)
    fingerprint: bytes = b""


def verify_serves(stage: Stage) -> None:
    """Check that a token is at a stage at which it can be opened.

    Raises:
        TokenNotProvisioned: it has no cohort key yet; the message says how to go on.
        CohortUnsealed: its key could still go to others.
    """
    match stage:
        case Stage.BLANK:
            raise TokenNotProvisioned("the token holds no keys of hwkm; hwkmd init makes them")
        case Stage.REQUESTED:
            raise TokenNotProvisioned(
                "the token has asked to become a member and waits for its invitation:"
                " hwkmd cohort join FILE --expect DIGEST"
            )
        case Stage.JOINING:
            raise TokenNotProvisioned("joining was interrupted; the same command again finishes it")
        case Stage.UNSEALED:
            raise CohortUnsealed(
                "the cohort is not sealed: its key could still go to others, so it serves no vault;"
                " when every member has its invitation, run: hwkmd cohort seal"
            )
        case Stage.ALONE | Stage.SEALED | Stage.JOINED | Stage.UNFINISHED:
            return  # opening finds out what is missing


def verify_members(members: int) -> None:
    """Check the size of a cohort of several.

    Raises:
        FormatError: it is not one.
    """
    if not MEMBERS_MIN <= members <= MEMBERS_MAX:
        raise FormatError(f"a cohort of several has {MEMBERS_MIN} to {MEMBERS_MAX} members, not {members}")


def verify_not_named(requests: Sequence[object]) -> None:
    """Check that no members are named at creation, where only TPMs need that.

    Raises:
        ConfigError: some are.
    """
    if requests:
        raise ConfigError(
            "only a TPM is given the requests when the cohort is created; others at hwkmd cohort invite"
        )


def parse_request(data: bytes, fingerprint: bytes, backend: Backend) -> MembershipRequest:
    """Read the request of another module of this kind and compare its fingerprint.

    Signatures and claims are the caller's to verify: they depend on the backend.

    Raises:
        ExchangeRefused: it is damaged, or another module's than the operator named.
        ExchangeUnsupported: it is of another kind of module.
    """
    try:
        request = MembershipRequest.parse(data)
    except FormatError as exc:
        raise ExchangeRefused(f"this is not a membership request: {exc}") from exc
    _verify_backend(request.backend, backend)
    if not hmac.compare_digest(request.fingerprint(), fingerprint):
        raise ExchangeRefused(
            f"the membership request has the fingerprint {request.fingerprint().hex()}, not the one given"
        )
    return request


def verify_number(number: int, members: int, invited: Mapping[int, bytes], fingerprint: bytes) -> None:
    """Check that a number may go to the module with that fingerprint: each goes to one, and each gets one.

    Raises:
        ExchangeRefused: it may not. Two members of one number would double its vaults' attempts.
    """
    if not 1 <= number < members:
        raise ExchangeRefused(
            f"a member of {members} that joins has a number from 1 to {members - 1}, not {number}"
        )
    if invited.get(number, fingerprint) != fingerprint:
        raise ExchangeRefused(
            f"member {number} is another module, with the fingerprint {invited[number].hex()}"
        )
    others = [other for other, has in invited.items() if has == fingerprint and other != number]
    if others:
        raise ExchangeRefused(f"this module is member {others[0]} already; it cannot be member {number} too")


def verify_unsealed(stage: Stage) -> None:
    """Check that a token's cohort key may still go to others.

    Raises:
        CohortSealed: it may not.
    """
    if stage is Stage.SEALED:
        raise CohortSealed("the cohort is sealed: its key can go to no further member, not by anybody")
    if stage is not Stage.UNSEALED:
        raise CohortSealed(f"this token is not the first member of a cohort of several: {stage}")


def verify_complete(members: int, invited: Mapping[int, bytes], *, incomplete: bool) -> None:
    """Check that every number has been invited, unless ``incomplete`` is meant.

    Raises:
        ExchangeRefused: the message says who is missing.
    """
    missing = [str(number) for number in range(1, members) if number not in invited]
    if missing and not incomplete:
        raise ExchangeRefused(
            f"not invited yet, and never again once it is sealed: member {', '.join(missing)};"
            " to go without: hwkmd cohort seal --incomplete"
        )


def unsigned_invitation(
    request: MembershipRequest,
    sender: bytes,
    cohort_public_key: bytes,
    place: tuple[int, int],
    transport: bytes,
    blob: bytes,
) -> CohortInvitation:
    """Return an invitation whose signature is zeros; ``place`` is number and members."""
    return CohortInvitation(
        backend=request.backend,
        sender=sender,
        receiver=request.fingerprint(),
        cohort_public_key=cohort_public_key,
        number=place[0],
        members=place[1],
        transport=transport,
        blob=blob,
        signature=bytes(SIGNATURE_BYTES),
    )


def open_invitation(data: bytes, sender: bytes, receiver: bytes, backend: Backend) -> CohortInvitation:
    """Read an invitation for our fingerprint, signed by the sender whose audit key has that SHA-256.

    Raises:
        ExchangeRefused: it is damaged, another sender's, or for another module.
        ExchangeUnsupported: it is from another kind of module.
    """
    try:
        invitation = CohortInvitation.parse(data)
    except FormatError as exc:
        raise ExchangeRefused(f"this is not an invitation: {exc}") from exc
    _verify_backend(invitation.backend, backend)
    verify_sender(invitation, sender, "invitation")
    if not hmac.compare_digest(invitation.receiver, receiver):
        raise ExchangeRefused("the invitation is for another module, or for an earlier request of this one")
    return invitation


def verify_joined_by(invitation: CohortInvitation, ours: Membership, cohort: bytes) -> None:
    """Check that a module, a member with the cohort key of that SHA-256, is one by this invitation.

    Raises:
        TokenAlreadyProvisioned: it is one by another.
    """
    theirs = Membership(invitation.number, invitation.members)
    if (ours, cohort) != (theirs, cohort_digest(invitation.cohort_public_key)):
        raise TokenAlreadyProvisioned(
            f"the token is member {ours.number} of {ours.members} by another invitation"
        )


def _verify_backend(found: Backend, wanted: Backend) -> None:
    if found != wanted:
        raise ExchangeUnsupported(
            f"the members of a cohort are modules of one kind; this is of {found.name}, we are {wanted.name}"
        )
