"""The key service's bytes against vectors of an independent computation, in both directions."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Iterable

import pytest

from hwkm.errors import FormatError
from hwkm.formats.context import context_digest, encode_context, parse_context
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import Backend, WrappedKey
from hwkm.thm.data_keys import begin_opening, begin_sealing
from tests.vectors.files import Vector, label, load, unhex
from tests.vectors.reference import data_keys as reference

CONTEXT = load("hwkm_context.json")
CIPHERTEXT = load("hwkm_ciphertext.json")
WRAPPED_KEY = load("hwkm_wrapped_key.json")

CMK, KEY_ID = unhex(CIPHERTEXT, "customer_master_key"), unhex(CIPHERTEXT, "key_id")


def the_hmac(message: bytes) -> bytes:
    """What the hardware computes."""
    return hmac.digest(CMK, message, hashlib.sha256)


def encoded(pairs: Iterable[tuple[str, str]]) -> bytes:
    return encode_context(dict(pairs))


# --- context ---------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", CONTEXT["contexts"], ids=label)
def test_context(vector: Vector) -> None:
    pairs = dict(vector["pairs"])
    assert encode_context(pairs) == unhex(vector, "encoded")
    assert parse_context(unhex(vector, "encoded")) == pairs
    assert context_digest(unhex(vector, "encoded")) == unhex(vector, "digest")


@pytest.mark.parametrize("vector", CONTEXT["refused"], ids=label)
def test_what_is_not_a_canonical_context_is_refused(vector: Vector) -> None:
    with pytest.raises(FormatError):
        parse_context(unhex(vector, "encoded"))


# --- ciphertext ------------------------------------------------------------------------------


@pytest.mark.parametrize("vector", CIPHERTEXT["vectors"], ids=label)
def test_sealing_gives_the_vector(vector: Vector) -> None:
    name, values = KeyName(KEY_ID, vector["version"]), vector["intermediates"]
    sealing = begin_sealing(name, KeyKind.SYMMETRIC, encoded(vector["context"]), unhex(vector, "nonce"))
    assert sealing.derivation() == unhex(values, "derivation_input")
    message_key = the_hmac(sealing.derivation())
    assert message_key == unhex(values, "message_key")
    assert sealing.seal(message_key, unhex(vector, "plaintext")) == unhex(vector, "ciphertext")


@pytest.mark.parametrize("vector", CIPHERTEXT["vectors"], ids=label)
def test_opening_gives_the_plaintext(vector: Vector) -> None:
    name = KeyName(KEY_ID, vector["version"])
    context, ciphertext = encoded(vector["context"]), unhex(vector, "ciphertext")
    opening = begin_opening(name, KeyKind.SYMMETRIC, context, ciphertext)
    assert opening.open(the_hmac(opening.derivation())) == unhex(vector, "plaintext")


def test_the_second_computation_opens_what_hwkm_sealed() -> None:
    context = encode_context({"tenant": "mint", "n": "7"})
    sealing = begin_sealing(KeyName(KEY_ID, 9), KeyKind.SYMMETRIC, context, bytes(range(16)))
    ciphertext = sealing.seal(the_hmac(sealing.derivation()), b"attack at dawn")
    assert reference.decrypt(CMK, context, ciphertext) == b"attack at dawn"


# --- wrapped key -----------------------------------------------------------------------------


@pytest.mark.parametrize("vector", WRAPPED_KEY["vectors"], ids=label)
def test_wrapped_key(vector: Vector) -> None:
    wrapped = WrappedKey(
        Backend(vector["backend"]),
        KeyKind.of_code(vector["kind"]),
        vector["generation"],
        KeyName(unhex(vector, "key_id"), vector["version"]),
        unhex(vector, "blob"),
        unhex(vector, "binding"),
    )
    assert wrapped.encode() == unhex(vector, "encoded")
    assert WrappedKey.parse(unhex(vector, "encoded")) == wrapped
    if vector["binding_key"] is not None:
        key = unhex(vector, "binding_key")
        assert hmac.digest(key, wrapped.bound(), hashlib.sha256) == wrapped.binding
