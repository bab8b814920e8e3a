"""The bytes of an exchange of keys against vectors of an independent computation."""

from __future__ import annotations

from dataclasses import replace

import pytest

from hwkm.crypto.p256 import encode_point, load_scalar
from hwkm.errors import ExchangeRefused
from hwkm.formats.domain_token import DomainToken, ExchangeStatement, ExportedKey
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import Backend
from hwkm.secret import SecretBytes
from hwkm.tokens.exchange import open_token, parse_statement, verify_own_signature
from hwkm.tokens.memory_exchange import InsecureReceiving, InsecureSending
from hwkm.tokens.tpm.exchange import derived_secrets, make_credential
from tests.vectors.files import load, unhex
from tests.vectors.reference import domain_token as reference
from tests.vectors.reference import p256

DOCUMENT = load("hwkm_domain_token.json")
STATEMENT, TOKEN, TPM = DOCUMENT["statement"], DOCUMENT["token"], DOCUMENT["tpm"]


def test_the_statement_is_read_compared_and_verified() -> None:
    encoded, fingerprint = unhex(STATEMENT, "encoded"), unhex(STATEMENT, "fingerprint")
    statement = parse_statement(encoded, fingerprint, Backend.PKCS11)
    verify_own_signature(statement)
    assert statement.encode() == encoded
    assert statement.exchange_key == unhex(STATEMENT, "exchange_key")
    assert statement.identity_key == unhex(STATEMENT, "identity_key")
    assert statement.claims == unhex(STATEMENT, "claims")
    assert statement.signed_digest() == unhex(STATEMENT, "signed_digest")


def test_another_claim_is_not_what_was_signed() -> None:
    statement = ExchangeStatement.parse(unhex(STATEMENT, "encoded"))
    with pytest.raises(ExchangeRefused):
        verify_own_signature(replace(statement, claims=b"another claim"))


def test_the_token_is_read_verified_and_unwrapped() -> None:
    encoded = unhex(TOKEN, "encoded")
    receiver = unhex(STATEMENT, "fingerprint")
    token = open_token(encoded, unhex(TOKEN, "sender_digest"), [receiver], Backend.PKCS11)
    assert token.encode() == encoded
    assert token.signed_digest() == unhex(TOKEN, "signed_digest")
    name = KeyName(unhex(TOKEN, "key_id"), TOKEN["version"])
    assert token.keys == (ExportedKey(name, KeyKind.SYMMETRIC, unhex(TOKEN, "blob")),)
    receiving = InsecureReceiving(unhex(STATEMENT, "exchange_private_key"), token.transport)
    assert receiving.unwrap(token.keys[0].blob) == unhex(TOKEN, "customer_master_key")
    assert DomainToken.parse(encoded) == token


def test_the_second_computation_wraps_as_hwkm_does() -> None:
    sending = InsecureSending(unhex(STATEMENT, "exchange_key"))
    key = p256.agree(unhex(STATEMENT, "exchange_private_key"), sending.transport)
    for secret in (bytes(range(32)), bytes(range(28)), bytes(range(121))):
        assert sending.wrap(secret) == reference.wrap(key, secret)


def test_the_second_computation_opens_hwkms_credential() -> None:
    private, name, secret = unhex(STATEMENT, "exchange_private_key"), unhex(TPM, "name"), unhex(TPM, "secret")
    point = encode_point(load_scalar(private).public_key())
    assert (
        reference.open_credential(private, name, make_credential(point, name, SecretBytes(secret))) == secret
    )


def test_passing_authorisation_and_inner_key() -> None:
    passing, inner_key = derived_secrets(SecretBytes(unhex(TPM, "secret")), unhex(TPM, "name"))
    assert passing.expose() == unhex(TPM, "passing_authorisation")
    assert inner_key.expose() == unhex(TPM, "inner_key")
