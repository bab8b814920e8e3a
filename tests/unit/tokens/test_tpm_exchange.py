"""What another TPM is said to have certified: believed only if it is exactly that."""

from __future__ import annotations

import hashlib
import struct
from dataclasses import replace

import pytest
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256
from hypothesis import given
from hypothesis import strategies as st
from tpm2_pytss.types import TPM2B_PUBLIC

from hwkm.crypto.p256 import encode_point, load_scalar
from hwkm.errors import ExchangeRefused, WrappedKeyRefused
from hwkm.formats.domain_token import ExchangeStatement
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import Backend
from hwkm.tokens.tpm.children import parse_blob
from hwkm.tokens.tpm.exchange import template_bytes, verify_certified
from hwkm.tokens.tpm.hmac_session import sized
from hwkm.tokens.tpm.key_templates import name_of
from hwkm.tokens.tpm.templates import attestation_template, audit_template, cohort_template, storage_template

SIGNER = load_scalar(bytes(31) + b"\x05")
SIGNER_POINT = encode_point(SIGNER.public_key())
DOMAIN_POINT = encode_point(load_scalar(bytes(31) + b"\x07").public_key())
CONTEXT = hashlib.sha256(b"hwkm exchange statement v1").digest()


def public(template: TPM2B_PUBLIC, point: bytes) -> bytes:
    return template_bytes(template) + sized(point[1:33]) + sized(point[33:])


DOMAIN_KEY = public(storage_template(), DOMAIN_POINT)
ATTESTATION_KEY = public(attestation_template(), SIGNER_POINT)


def attest(name: bytes, context: bytes = CONTEXT, kind: int = 0x8017, magic: int = 0xFF544347) -> bytes:
    """A TPMS_ATTEST of TPM2_Certify."""
    head = struct.pack(">IH", magic, kind) + sized(b"\0\x0b" + bytes(32)) + sized(context)
    return head + bytes(25) + sized(name) + sized(b"\0\x0b" + bytes(32))


def signed(statement: ExchangeStatement) -> ExchangeStatement:
    digest = hashlib.sha256(statement.claims).digest()
    r, s = utils.decode_dss_signature(SIGNER.sign(digest, ec.ECDSA(utils.Prehashed(SHA256()))))
    return replace(statement, signature=r.to_bytes(32, "big") + s.to_bytes(32, "big"))


GOOD = signed(
    ExchangeStatement(Backend.TPM, DOMAIN_KEY, ATTESTATION_KEY, attest(name_of(DOMAIN_KEY)), bytes(64))
)


def test_a_certificate_of_the_very_key_is_believed() -> None:
    assert verify_certified(GOOD) == DOMAIN_POINT


@pytest.mark.parametrize(
    "claims",
    [
        attest(name_of(ATTESTATION_KEY)),
        attest(name_of(DOMAIN_KEY), context=bytes(32)),
        attest(name_of(DOMAIN_KEY), context=b""),
        attest(name_of(DOMAIN_KEY), kind=0x801A),
        attest(name_of(DOMAIN_KEY), magic=0),
        attest(name_of(DOMAIN_KEY))[:60],
        b"x",
    ],
)
def test_any_other_certificate_is_refused_though_the_tpm_signed_it(claims: bytes) -> None:
    with pytest.raises(ExchangeRefused):
        verify_certified(signed(replace(GOOD, claims=claims)))


@pytest.mark.parametrize(
    ("exchange", "identity"),
    [
        (public(cohort_template(), DOMAIN_POINT), ATTESTATION_KEY),
        (DOMAIN_KEY + b"\0", ATTESTATION_KEY),
        (DOMAIN_KEY[:-1], ATTESTATION_KEY),
        (DOMAIN_KEY, public(audit_template(), SIGNER_POINT)),  # signs whatever it is given
        (DOMAIN_KEY, public(attestation_template(), DOMAIN_POINT)),
        (DOMAIN_KEY, public(attestation_template(), b"\4" + bytes(64))),
    ],
)
def test_keys_that_could_leave_or_sign_anything_are_refused(exchange: bytes, identity: bytes) -> None:
    claims = attest(name_of(exchange))
    changed = replace(GOOD, exchange_key=exchange, identity_key=identity, claims=claims)
    with pytest.raises(ExchangeRefused):
        verify_certified(signed(changed))


@given(claims=st.binary(min_size=1, max_size=200), exchange=st.binary(max_size=120), own=st.booleans())
def test_any_bytes_are_refused_with_one_error(claims: bytes, exchange: bytes, own: bool) -> None:
    changed = replace(GOOD, claims=claims, exchange_key=DOMAIN_KEY if own else exchange)
    with pytest.raises(ExchangeRefused):
        verify_certified(signed(changed))


@given(blob=st.binary(max_size=200), kind=st.sampled_from(sorted(KeyKind)))
def test_any_bytes_in_place_of_a_blob_are_refused_with_one_error(blob: bytes, kind: KeyKind) -> None:
    if kind is KeyKind.HMAC_224:
        return  # no TPM has it
    with pytest.raises(WrappedKeyRefused):
        parse_blob(KeyName(bytes(16), 1), kind, blob)
