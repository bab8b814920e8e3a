"""Evidence of this member: what its hardware says of its keys, signed by its audit key."""

from __future__ import annotations

from typing import Final

from hwkm.core.software import running_software
from hwkm.errors import EvidenceUnavailable, FormatError
from hwkm.formats.evidence import Challenge, MemberEvidence, Statement, nonce_of
from hwkm.tokens.token import Token
from hwkm.wire import core_messages as wire

_NONCE_BYTES: Final = 32


def make_evidence(token: Token, request: wire.MakeEvidence) -> bytes:
    """Return the file of :class:`MemberEvidence`.

    Raises:
        EvidenceUnavailable: the module cannot make it, or the challenge is not for it.
        FormatError: the challenge is malformed.
        TokenError: the hardware failed.
    """
    challenge = Challenge.parse(request.challenge) if request.challenge else None
    nonce = nonce_of(challenge) if challenge else token.random(_NONCE_BYTES)
    statement = Statement(
        answer=token.answer(challenge) if challenge else None,
        audit_key=token.audit_key.public_key().hex(),
        cohort_key=token.cohort_key.public_key().hex(),
        made_at=request.made_at,
        member=token.membership.number,
        members=token.membership.members,
        module=token.evidence(nonce, request.intermediates),
        nonce=nonce.hex(),
        software=running_software(),
    )
    signature = token.audit_key.sign(statement.signed_digest())
    made = MemberEvidence(signature=signature.hex(), statement=statement).encode()
    try:
        MemberEvidence.parse(made)
    except FormatError as exc:
        raise EvidenceUnavailable(
            f"something in the evidence is larger than its format allows: {exc}"
        ) from exc
    return made
