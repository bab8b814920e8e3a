"""Membership requests and invitations, as bytes."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwkm.errors import FormatError
from hwkm.formats.cohort_invitation import (
    PROOF_BYTES_MAX,
    REQUEST_BYTES_MAX,
    CohortInvitation,
    MembershipRequest,
)
from hwkm.formats.domain_token import STATEMENT_PART_BYTES_MAX, ExchangeStatement
from hwkm.formats.wrapped_key import BLOB_BYTES_MAX, Backend

STATEMENT = ExchangeStatement(Backend.PKCS11, b"exchange", b"identity", b"claims", bytes(64))
REQUEST = MembershipRequest(STATEMENT, b"proof")
INVITATION = CohortInvitation(
    Backend.PKCS11, b"\4" * 65, b"\5" * 32, b"\6" * 65, 1, 3, b"transport", b"blob", b"\7" * 64
)


def test_what_was_encoded_is_read_again() -> None:
    for request in (REQUEST, replace(REQUEST, proof=b""), replace(REQUEST, proof=bytes(PROOF_BYTES_MAX))):
        assert MembershipRequest.parse(request.encode()) == request
    assert CohortInvitation.parse(INVITATION.encode()) == INVITATION


def test_the_fingerprint_is_the_statements_and_the_proof_is_not_in_it() -> None:
    assert REQUEST.fingerprint() == STATEMENT.fingerprint() == replace(REQUEST, proof=b"x").fingerprint()


def test_what_is_cut_short_or_has_more_is_refused() -> None:
    for whole, parse in (
        (REQUEST.encode(), MembershipRequest.parse),
        (INVITATION.encode(), CohortInvitation.parse),
    ):
        for size in range(len(whole)):
            with pytest.raises(FormatError):
                parse(whole[:size])
        with pytest.raises(FormatError):
            parse(whole + b"\0")


def test_a_request_around_a_statement_of_another_backend_is_refused() -> None:
    encoded = bytearray(REQUEST.encode())
    encoded[1] = Backend.TPM
    with pytest.raises(FormatError, match="two kinds"):
        MembershipRequest.parse(bytes(encoded))


@pytest.mark.parametrize(("number", "members"), [(0, 3), (3, 3), (1, 1), (0, 1), (1, 17), (16, 16)])
def test_nobody_is_invited_to_a_place_that_is_none(number: int, members: int) -> None:
    with pytest.raises(FormatError, match="nobody is invited"):
        CohortInvitation.parse(replace(INVITATION, number=number, members=members).encode())


@pytest.mark.parametrize(
    "wrong",
    [
        replace(INVITATION, transport=b""),
        replace(INVITATION, transport=bytes(STATEMENT_PART_BYTES_MAX + 1)),
        replace(INVITATION, blob=b""),
        replace(INVITATION, blob=bytes(BLOB_BYTES_MAX + 1)),
    ],
)
def test_parts_of_no_proper_length_are_refused(wrong: CohortInvitation) -> None:
    with pytest.raises(FormatError):
        CohortInvitation.parse(wrong.encode())


def test_the_longest_of_both_fit_into_what_is_read_of_a_file() -> None:
    part = bytes(STATEMENT_PART_BYTES_MAX)
    longest = MembershipRequest(
        ExchangeStatement(Backend.TPM, part, part, part, bytes(64)), bytes(PROOF_BYTES_MAX)
    )
    assert MembershipRequest.parse(longest.encode()) == longest
    invitation = replace(INVITATION, transport=part, blob=bytes(BLOB_BYTES_MAX))
    assert max(len(longest.encode()), len(invitation.encode())) <= REQUEST_BYTES_MAX


def test_every_field_of_an_invitation_is_signed() -> None:
    others = [
        replace(INVITATION, backend=Backend.TPM),
        replace(INVITATION, sender=b"x" * 65),
        replace(INVITATION, receiver=b"x" * 32),
        replace(INVITATION, cohort_public_key=b"x" * 65),
        replace(INVITATION, number=2),
        replace(INVITATION, members=4),
        replace(INVITATION, transport=b"x"),
        replace(INVITATION, blob=b"x"),
    ]
    digests = {other.signed_digest() for other in (INVITATION, *others)}
    assert len(digests) == len(others) + 1
