"""Vectors made by others: AOSP (SecureBox, key sync) and ChromiumOS (SecureBox).

The sources, with commits and licences, are inside the JSON files.
"""

from __future__ import annotations

import struct

import pytest

from hwkm.crypto import p256, securebox
from hwkm.crypto.knowledge_factor import (
    KF_HASH_BYTES,
    SALT_BYTES,
    KfAlgorithm,
    _length_prefixed,
    scrypt_params,
    thm_kf_hash,
)
from hwkm.errors import DecryptionError, FormatError, InvalidKeyError
from hwkm.formats import vault as boxes
from hwkm.formats.vault_params import VaultParams
from tests.vectors.files import Vector, label, load, unhex
from tests.vectors.reference import p256 as reference_p256
from tests.vectors.reference import securebox as reference

AOSP = load("aosp_securebox.json")
CHROMIUMOS = load("chromiumos_securebox.json")
KEYSYNC = load("aosp_keysync_utils.json")

PUBLIC_KEY = unhex(AOSP, "thm_public_key_hex")
HANDLE = bytes(range(1, 18))


# --- AOSP SecureBoxTest ----------------------------------------------------------------------


def opened(vector: Vector) -> bytes:
    key, secret = unhex(vector, "private_key_hex"), unhex(vector, "shared_secret_hex")
    return securebox.decrypt(key, secret, unhex(vector, "header_hex"), unhex(vector, "encrypted_hex"))


@pytest.mark.parametrize("vector", AOSP["vectors"], ids=label)
def test_header_is_the_plain_concatenation_of_its_parts(vector: Vector) -> None:
    parts = vector["header_parts"]
    header = parts["prefix_utf8"].encode() + bytes.fromhex(parts["vault_params_hex"])
    assert header + parts.get("challenge_utf8", "").encode() == unhex(vector, "header_hex")


def test_recovery_claim_made_by_the_server_side_c_code_opens() -> None:
    vector = AOSP["vectors"][0]
    payload = opened(vector)
    assert payload == unhex(vector, "expected_payload_hex")
    assert payload[:32] == vector["expected_parts"]["thm_kf_hash_utf8"].encode()
    assert payload[32:] == vector["expected_parts"]["key_claimant_utf8"].encode()


def test_thm_encrypted_recovery_key_made_by_the_server_side_c_code_opens() -> None:
    vector = AOSP["vectors"][1]
    assert opened(vector) == vector["observed_payload_utf8"].encode()


@pytest.mark.parametrize("vector", AOSP["vectors"], ids=label)
def test_second_computation_opens_it_too(vector: Vector) -> None:
    key, secret = unhex(vector, "private_key_hex"), unhex(vector, "shared_secret_hex")
    box = unhex(vector, "encrypted_hex")
    assert reference.open_box(key, secret, unhex(vector, "header_hex"), box) == opened(vector)


@pytest.mark.parametrize("vector", AOSP["vectors"], ids=label)
def test_another_header_secret_or_key_does_not_open_it(vector: Vector) -> None:
    key, secret, header, box = (
        unhex(vector, name)
        for name in ("private_key_hex", "shared_secret_hex", "header_hex", "encrypted_hex")
    )
    for wrong in (
        (key, secret, header + b"\0", box),
        (key, secret + b"\0", header, box),
        (key[:-1] + b"\x02", secret, header, box),
    ):
        with pytest.raises(DecryptionError):
            securebox.decrypt(*wrong)


def test_private_and_public_key_belong_together() -> None:
    private_key = p256.load_scalar(unhex(AOSP, "thm_private_key_hex"))
    assert p256.encode_point(private_key.public_key()) == PUBLIC_KEY


def test_c_fixture_is_no_vault_params_of_the_released_layout() -> None:
    """85 bytes with an eight-byte second number: opaque header bytes, not parsed."""
    with pytest.raises(FormatError):
        VaultParams.parse(bytes.fromhex(AOSP["vectors"][0]["header_parts"]["vault_params_hex"]))


# --- ChromiumOS secure_box_test --------------------------------------------------------------


def test_chromiumos_key_pair() -> None:
    (vector,) = CHROMIUMOS["key_pair_from_seed"]
    scalar = bytes.fromhex(vector["private_scalar_hex"]).rjust(32, b"\0")
    point = p256.encode_point(p256.load_scalar(scalar).public_key())
    assert point == unhex(vector, "public_key_hex") == reference_p256.public_key(scalar)
    assert scalar + point == unhex(vector, "encoded_private_key_hex")


def test_chromiumos_ciphertext_lengths() -> None:
    public, shared = (entry["overhead"] for entry in CHROMIUMOS["ciphertext_lengths"])
    assert (public, shared) == (securebox.PUBLIC_OVERHEAD_BYTES, securebox.SHARED_OVERHEAD_BYTES)
    assert len(securebox.encrypt(PUBLIC_KEY, b"secret", b"header", bytes(5))) == public + 5
    assert len(securebox.encrypt(PUBLIC_KEY, b"", b"header", bytes(5))) == public + 5
    assert len(securebox.encrypt(None, b"secret", b"header", bytes(5))) == shared + 5


def test_chromiumos_refuses_neither_key_nor_secret() -> None:
    assert CHROMIUMOS["errors"] == [
        {"case": "public key and shared secret both empty", "expected": "failure"}
    ]
    with pytest.raises(InvalidKeyError):
        securebox.encrypt(b"", b"", b"header", b"payload")


# --- AOSP KeySyncUtilsTest and KeySyncTaskTest -----------------------------------------------


@pytest.mark.parametrize("vector", KEYSYNC["thm_kf_hash"], ids=lambda vector: str(vector["lskf_hash_utf8"]))
def test_thm_kf_hash(vector: Vector) -> None:
    digest = thm_kf_hash(vector["lskf_hash_utf8"].encode())
    assert len(digest) == vector.get("expected_len", 32)
    assert digest.hex() == vector.get("expected_hex", digest.hex())


def params(vector: Vector) -> VaultParams:
    handle = bytes.fromhex(vector.get("vault_handle_hex", HANDLE.hex()))
    return VaultParams(PUBLIC_KEY, vector.get("counter_id", 10021), vector.get("max_attempts", 10), handle)


def packed_vectors(expectation: str) -> list[Vector]:
    return [vector for vector in KEYSYNC["pack_vault_params"] if expectation in vector]


def test_vault_params_length() -> None:
    (vector,) = (vector for vector in packed_vectors("expected_len") if vector["expected_len"] == 94)
    assert vector["public_key_len"] == p256.POINT_BYTES
    assert len(params(vector).encode()) == vector["expected_len"]


def test_vault_params_offsets() -> None:
    (counter,) = packed_vectors("expected_at_offset_65_as_u64_le")
    assert struct.unpack_from("<Q", params(counter).encode(), 65) == (counter["counter_id"],)
    (limit,) = packed_vectors("expected_at_offset_73_as_u32_le")
    assert struct.unpack_from("<I", params(limit).encode(), 73) == (limit["max_attempts"],)
    (handle,) = packed_vectors("expected_at_offset_77_hex")
    assert params(handle).encode()[77:].hex() == handle["expected_at_offset_77_hex"]
    assert params(handle).encode()[:65] == PUBLIC_KEY


def test_short_handle_that_android_allows_is_refused_here() -> None:
    """A handle of varying length would let params and challenge be cut in two ways."""
    (vector,) = (vector for vector in packed_vectors("expected_len") if vector["expected_len"] == 85)
    with pytest.raises(FormatError):
        params(vector)
    data = PUBLIC_KEY + struct.pack("<QI", vector["counter_id"], vector["max_attempts"])
    data += unhex(vector, "vault_handle_hex")
    assert len(data) == vector["expected_len"]
    with pytest.raises(FormatError):
        VaultParams.parse(data)


def test_lengths() -> None:
    lengths = KEYSYNC["lengths"]
    assert lengths["recovery_key"] == boxes.RECOVERY_KEY_BYTES
    assert lengths["key_claimant"] == boxes.CLAIMANT_KEY_BYTES
    assert lengths["thm_kf_hash"] == boxes.THM_KF_HASH_BYTES


@pytest.mark.parametrize(
    ("metadata", "header"),
    [
        (None, b"V1 encrypted_application_key"),
        (b"", b"V1 encrypted_application_key"),
        (b"somemetadata", b"V1 encrypted_application_key" + b"somemetadata"),
    ],
)
def test_application_key_header(metadata: bytes | None, header: bytes) -> None:
    recovery_key, application_key = bytes(32), bytes(range(32))
    wrapped = boxes.wrap_application_key(recovery_key, application_key, metadata)
    assert securebox.decrypt(None, recovery_key, header, wrapped) == application_key


@pytest.mark.parametrize(
    ("sealed_with", "opened_with"),
    [(None, b"somemetadata"), (b"somemetadata", None), (b"somemetadata", b"othermetadata")],
)
def test_application_key_under_other_metadata_does_not_open(
    sealed_with: bytes | None, opened_with: bytes | None
) -> None:
    wrapped = boxes.wrap_application_key(bytes(32), bytes(32), sealed_with)
    with pytest.raises(DecryptionError):
        boxes.unwrap_application_key(bytes(32), wrapped, opened_with)


def test_scrypt_params() -> None:
    expected = KEYSYNC["scrypt_params"]
    made = scrypt_params(bytes(expected["salt_len"]))
    assert (made.memory, made.iterations, made.lanes) == (expected["n"], expected["r"], expected["p"])
    assert (expected["dk_len"], expected["salt_len"]) == (KF_HASH_BYTES, SALT_BYTES)
    assert made.algorithm is KfAlgorithm.SCRYPT


def test_salt_and_credential_cannot_be_cut_in_two_ways() -> None:
    """Upstream's salts are too short for KfParams, so what is hashed is compared."""
    assert _length_prefixed(b"123", b"4567") != _length_prefixed(b"1234", b"567")
    assert _length_prefixed(b"123", b"4567").hex() == "03000000" + "313233" + "04000000" + "34353637"
