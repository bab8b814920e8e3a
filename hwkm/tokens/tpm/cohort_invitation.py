"""The TPM's part of an invitation: transport and blob (``docs/spec/cohort.md``).

Transport: TPM2B_ID_OBJECT, TPM2B_ENCRYPTED_SECRET. Blob: TPM2B_PUBLIC, TPM2B_PRIVATE, TPM2B_ENCRYPTED_SECRET, and
the record. The invitation's signature is verified before either is read.
"""

from __future__ import annotations

from hwkm.errors import ExchangeRefused, FormatError, TokenUnavailable
from hwkm.formats.cohort_invitation import CohortInvitation
from hwkm.formats.cohort_record import CohortRecord
from hwkm.tokens.tpm.cohort_key import Travelling
from hwkm.tokens.tpm.exchange import p256_point, template_bytes
from hwkm.tokens.tpm.hmac_session import sized, split_sized
from hwkm.tokens.tpm.key_templates import name_of
from hwkm.tokens.tpm.templates import audit_template, members_cohort_template


def encode_blob(key: Travelling, record: CohortRecord) -> bytes:
    """Return the blob of an invitation."""
    return sized(key.public) + sized(key.duplicate) + sized(key.seed) + record.encode()


def parse_blob(invitation: CohortInvitation, storage_name: bytes) -> tuple[Travelling, CohortRecord]:
    """Return key and record of an invitation; check that they are those of its cohort, and that we are named.

    Raises:
        ExchangeRefused: they are not; or the key could go where its record does not say.
    """
    try:
        public, rest = split_sized(invitation.blob)
        duplicate, rest = split_sized(rest)
        seed, rest = split_sized(rest)
        record = CohortRecord.parse(rest)
    except (TokenUnavailable, FormatError) as exc:
        raise ExchangeRefused(f"the key in the invitation is damaged: {exc}") from exc
    terms = record.terms
    if p256_point(public, members_cohort_template(terms.policy_digest())) != invitation.cohort_public_key:
        raise ExchangeRefused("the key in the invitation is not the cohort key that it names")
    if terms.members != invitation.members or terms.sender != _audit_name(invitation.sender):
        raise ExchangeRefused("the record in the invitation is another cohort's")
    if terms.parents[invitation.number - 1] != storage_name:
        raise ExchangeRefused(f"the cohort's member {invitation.number} is another module")
    return Travelling(public, duplicate, seed), record


def parse_transport(transport: bytes) -> tuple[bytes, bytes]:
    """Return the contents of TPM2B_ID_OBJECT and TPM2B_ENCRYPTED_SECRET.

    Raises:
        ExchangeRefused: it is something else.
    """
    try:
        identity, rest = split_sized(transport)
        secret, trailing = split_sized(rest)
    except TokenUnavailable as exc:
        raise ExchangeRefused("the credential in the invitation is cut short") from exc
    if trailing:
        raise ExchangeRefused("bytes follow the credential in the invitation")
    return identity, secret


def _audit_name(point: bytes) -> bytes:
    return name_of(template_bytes(audit_template()) + sized(point[1:33]) + sized(point[33:]))
