"""The bytes of a membership request and an invitation against vectors of an independent computation."""

from __future__ import annotations

from hwkm.formats.cohort_invitation import CohortInvitation, MembershipRequest
from hwkm.formats.wrapped_key import Backend
from hwkm.tokens.cohort import open_invitation, parse_request
from hwkm.tokens.exchange import verify_own_signature
from hwkm.tokens.memory_exchange import INSECURE_CLAIMS, InsecureReceiving
from tests.vectors.files import load, unhex

DOCUMENT = load("hwkm_cohort.json")
REQUEST, INVITATION = DOCUMENT["request"], DOCUMENT["invitation"]


def test_the_request_is_read_compared_and_verified() -> None:
    encoded, fingerprint = unhex(REQUEST, "encoded"), unhex(REQUEST, "fingerprint")
    request = parse_request(encoded, fingerprint, Backend.MEMORY)
    verify_own_signature(request.statement)
    assert request.encode() == encoded
    assert request.proof == b""
    assert request.statement.exchange_key == unhex(REQUEST, "joining_key")
    assert request.statement.claims == INSECURE_CLAIMS == unhex(REQUEST, "claims")
    assert MembershipRequest.parse(encoded) == request


def test_the_invitation_is_read_verified_and_unwrapped() -> None:
    encoded = unhex(INVITATION, "encoded")
    receiver = unhex(REQUEST, "fingerprint")
    invitation = open_invitation(encoded, unhex(INVITATION, "sender_digest"), receiver, Backend.MEMORY)
    assert invitation.encode() == encoded
    assert invitation.signed_digest() == unhex(INVITATION, "signed_digest")
    assert (invitation.number, invitation.members) == (INVITATION["number"], INVITATION["members"])
    assert invitation.cohort_public_key == unhex(INVITATION, "cohort_public_key")
    receiving = InsecureReceiving(unhex(REQUEST, "joining_private_key"), invitation.transport)
    assert receiving.unwrap(invitation.blob) == unhex(INVITATION, "cohort_private_key")
    assert CohortInvitation.parse(encoded) == invitation
