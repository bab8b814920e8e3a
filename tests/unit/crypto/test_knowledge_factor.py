"""Credentials, cost limits, and what hashing keeps apart."""

from __future__ import annotations

import itertools
from collections.abc import Callable

import pytest

from hwkm.crypto.knowledge_factor import (
    KfAlgorithm,
    KfParams,
    argon2id_params,
    encode_credential,
    hash_credential,
    scrypt_params,
    sha256_params,
    thm_kf_hash,
)
from hwkm.errors import FormatError
from hwkm.secret import SecretBytes

SALT = bytes(range(16))
CHEAP = {
    "argon2id": KfParams(KfAlgorithm.ARGON2ID, SALT, 8, 1, 1),
    "scrypt": KfParams(KfAlgorithm.SCRYPT, SALT, 2, 1, 1),
    "sha256": sha256_params(SALT),
}
every_algorithm = pytest.mark.parametrize("params", CHEAP.values(), ids=CHEAP)


# --- credentials -----------------------------------------------------------------------------


def test_the_same_letters_from_two_keyboards_are_the_same_bytes() -> None:
    assert encode_credential("e\u0301") == encode_credential("\u00e9")
    assert encode_credential("\u1112\u1161\u11ab") == encode_credential("\ud55c")


@pytest.mark.parametrize(
    ("left", "right"),
    [
        ("0000", "000"),
        ("0123", "123"),
        ("1234", " 1234"),
        ("1234", "1234\n"),
        ("pass", "Pass"),
        ("1234", "１２３４"),
        ("fi", "ﬁ"),
    ],
)
def test_what_differs_stays_different(left: str, right: str) -> None:
    assert encode_credential(left) != encode_credential(right)


def test_leading_zeros_are_kept() -> None:
    assert encode_credential("000123").expose() == b"000123"


@pytest.mark.parametrize(
    "text",
    ["", "12\0", "\0", "1" * 1025, "é" * 513, "e\u0301" * 513, "\ud800", "12\udfff34", "1" * 10_000_000],
    ids=[
        "empty",
        "NUL at the end",
        "nothing but NUL",
        "1,025 bytes",
        "1,026 bytes in 513 letters",
        "1,026 bytes once composed",
        "lone high surrogate",
        "lone low surrogate",
        "ten million",
    ],
)
def test_credential_that_is_refused(text: str) -> None:
    with pytest.raises(FormatError) as caught:
        encode_credential(text)
    assert not text or text not in str(caught.value)


def test_refusal_of_a_lone_surrogate_carries_no_credential() -> None:
    """UnicodeEncodeError holds the whole text; it must not travel along as the cause."""
    with pytest.raises(FormatError) as caught:
        encode_credential("031415\ud800")
    assert caught.value.__cause__ is None
    assert caught.value.__suppress_context__


@pytest.mark.parametrize("text", ["1", "1" * 1024, "é" * 512, "e\u0301" * 512, "🗝" * 256])
def test_credential_of_up_to_1024_bytes_is_taken(text: str) -> None:
    assert 1 <= len(encode_credential(text)) <= 1024


# --- cost ------------------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("algorithm", "memory", "iterations", "lanes"),
    [
        (KfAlgorithm.ARGON2ID, 7, 1, 1),
        (KfAlgorithm.ARGON2ID, 31, 1, 4),
        (KfAlgorithm.ARGON2ID, 2**21 + 1, 1, 1),
        (KfAlgorithm.ARGON2ID, 65536, 0, 4),
        (KfAlgorithm.ARGON2ID, 65536, 33, 4),
        (KfAlgorithm.ARGON2ID, 65536, 3, 0),
        (KfAlgorithm.ARGON2ID, 65536, 3, 17),
        (KfAlgorithm.ARGON2ID, -65536, 3, 4),
        (KfAlgorithm.SCRYPT, 0, 8, 1),
        (KfAlgorithm.SCRYPT, 1, 8, 1),
        (KfAlgorithm.SCRYPT, 4095, 8, 1),
        (KfAlgorithm.SCRYPT, -4096, 8, 1),
        (KfAlgorithm.SCRYPT, 2**21, 8, 1),
        (KfAlgorithm.SCRYPT, 2**20, 17, 1),
        (KfAlgorithm.SCRYPT, 2**16, 1, 1),
        (KfAlgorithm.SCRYPT, 4096, 0, 1),
        (KfAlgorithm.SCRYPT, 4096, 33, 1),
        (KfAlgorithm.SCRYPT, 4096, 8, 0),
        (KfAlgorithm.SCRYPT, 4096, 8, 17),
        (KfAlgorithm.SHA256, 1, 0, 0),
        (KfAlgorithm.SHA256, 0, 1, 0),
        (KfAlgorithm.SHA256, 0, 0, 1),
    ],
)
def test_cost_out_of_range_is_refused(
    algorithm: KfAlgorithm, memory: int, iterations: int, lanes: int
) -> None:
    with pytest.raises(FormatError):
        KfParams(algorithm, SALT, memory, iterations, lanes)


@pytest.mark.parametrize(
    ("algorithm", "memory", "iterations", "lanes"),
    [
        (KfAlgorithm.ARGON2ID, 8, 1, 1),
        (KfAlgorithm.ARGON2ID, 128, 1, 16),
        (KfAlgorithm.ARGON2ID, 8, 32, 1),
        (KfAlgorithm.SCRYPT, 2**15, 1, 1),
        (KfAlgorithm.SCRYPT, 2, 32, 16),
    ],
)
def test_cost_at_the_end_of_its_range_can_be_computed(
    algorithm: KfAlgorithm, memory: int, iterations: int, lanes: int
) -> None:
    params = KfParams(algorithm, SALT, memory, iterations, lanes)
    assert len(hash_credential(encode_credential("0000"), params)) == 32


@pytest.mark.parametrize("size", [0, 15, 17, 32])
@pytest.mark.parametrize("make", [argon2id_params, scrypt_params, sha256_params])
def test_salt_of_another_length_is_refused(make: Callable[[bytes], KfParams], size: int) -> None:
    with pytest.raises(FormatError):
        make(bytes(size))


def test_default_is_the_second_recommended_option_of_rfc_9106() -> None:
    params = argon2id_params(SALT)
    assert (params.memory, params.iterations, params.lanes) == (65536, 3, 4)


# --- hashing ---------------------------------------------------------------------------------


@every_algorithm
def test_hash_is_32_bytes_that_do_not_print(params: KfParams) -> None:
    hashed = hash_credential(encode_credential("0000"), params)
    assert len(hashed) == 32
    assert hashed.expose().hex() not in repr(hashed)


@every_algorithm
def test_every_byte_of_a_long_credential_counts(params: KfParams) -> None:
    texts = ("1" * 1024, "1" * 1023, "1" * 1023 + "2", "2" + "1" * 1023)
    hashes = {hash_credential(encode_credential(text), params).expose() for text in texts}
    assert len(hashes) == len(texts)


def test_algorithm_salt_and_every_cost_change_the_hash() -> None:
    credential = encode_credential("0000")
    variants = [
        *CHEAP.values(),
        *(KfParams(params.algorithm, SALT[::-1], *cost(params)) for params in CHEAP.values()),
        KfParams(KfAlgorithm.ARGON2ID, SALT, 16, 1, 1),
        KfParams(KfAlgorithm.ARGON2ID, SALT, 8, 2, 1),
        KfParams(KfAlgorithm.ARGON2ID, SALT, 16, 1, 2),
        KfParams(KfAlgorithm.SCRYPT, SALT, 4, 1, 1),
        KfParams(KfAlgorithm.SCRYPT, SALT, 2, 2, 1),
        KfParams(KfAlgorithm.SCRYPT, SALT, 2, 1, 2),
    ]
    hashes = [hash_credential(credential, params) for params in variants]
    assert all(left != right for left, right in itertools.combinations(hashes, 2))


def cost(params: KfParams) -> tuple[int, int, int]:
    return params.memory, params.iterations, params.lanes


def test_wiped_credential_is_not_hashed_as_an_empty_one() -> None:
    credential = SecretBytes(b"0000")
    credential.wipe()
    with pytest.raises(ValueError, match="wiped"):
        hash_credential(credential, sha256_params(SALT))


def test_thm_form_of_the_hash_is_not_the_hash() -> None:
    kf_hash = bytes(range(32))
    assert thm_kf_hash(kf_hash) != kf_hash
    assert len(thm_kf_hash(kf_hash)) == 32
