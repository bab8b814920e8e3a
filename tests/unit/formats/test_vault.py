"""Boxes of the vault protocol: fixed lengths, and no box passes for another."""

from __future__ import annotations

from collections.abc import Callable

import pytest
from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto import labels, p256, securebox
from hwkm.errors import DecryptionError, FormatError, InvalidKeyError
from hwkm.formats import vault as boxes
from hwkm.formats.vault_params import VaultParams
from tests.vectors.reference import p256 as curve

SCALAR = (0xABCDEF).to_bytes(32, "big")
POINT = curve.public_key(SCALAR)
PARAMS = VaultParams(POINT, 7, 10, bytes(range(17))).encode()
OTHER_PARAMS = VaultParams(POINT, 8, 10, bytes(range(17))).encode()
KF_HASH, THM_KF_HASH, RECOVERY_KEY = b"\1" * 32, b"\2" * 32, b"\3" * 32
CLAIMANT_KEY, CHALLENGE = b"\4" * 16, b"\5" * 32
PROOF = boxes.OpenedClaim(THM_KF_HASH, CLAIMANT_KEY)


def agreed(box: bytes) -> bytes:
    point = p256.load_point(securebox.sender_point(box))
    return p256.load_scalar(SCALAR).exchange(ec.ECDH(), point)


# --- lengths ---------------------------------------------------------------------------------


def test_lengths_are_those_of_the_published_protocol() -> None:
    assert (boxes.INNER_BYTES, boxes.VAULT_BYTES) == (62, 157)
    assert (boxes.CLAIM_BYTES, boxes.RESPONSE_BYTES) == (143, 92)
    assert boxes.WRAPPED_APPLICATION_KEY_BYTES == 62


@pytest.mark.parametrize("size", [0, 31, 33])
def test_keys_of_another_length_are_not_sealed(size: int) -> None:
    with pytest.raises(FormatError):
        boxes.seal_recovery_key(KF_HASH, bytes(size))
    with pytest.raises(FormatError):
        boxes.wrap_application_key(RECOVERY_KEY, bytes(size), None)
    with pytest.raises(FormatError):
        boxes.seal_vault(POINT, THM_KF_HASH, PARAMS, bytes(size))


@pytest.mark.parametrize("size", [0, 47, 49])
def test_claim_that_holds_another_number_of_bytes_is_refused(size: int) -> None:
    header = labels.CLAIM + PARAMS + CHALLENGE
    claim = securebox.encrypt(POINT, b"", header, bytes(size))
    with pytest.raises(FormatError):
        boxes.open_claim(agreed(claim), PARAMS, CHALLENGE, claim)


def test_message_about_a_length_does_not_show_the_bytes() -> None:
    with pytest.raises(FormatError) as caught:
        boxes.seal_recovery_key(KF_HASH, b"hunter2")
    assert "hunter2" not in str(caught.value)


# --- binding ---------------------------------------------------------------------------------


def test_claim_is_bound_to_params_and_challenge() -> None:
    claim = boxes.seal_claim(POINT, PARAMS, CHALLENGE, PROOF)
    assert boxes.open_claim(agreed(claim), PARAMS, CHALLENGE, claim) == PROOF
    for params, challenge in ((OTHER_PARAMS, CHALLENGE), (PARAMS, b"\6" * 32), (PARAMS, b"")):
        with pytest.raises(DecryptionError):
            boxes.open_claim(agreed(claim), params, challenge, claim)


def test_vault_is_bound_to_params_and_guess() -> None:
    inner = boxes.seal_recovery_key(KF_HASH, RECOVERY_KEY)
    vault = boxes.seal_vault(POINT, THM_KF_HASH, PARAMS, inner)
    assert boxes.open_vault(agreed(vault), THM_KF_HASH, PARAMS, vault) == inner
    with pytest.raises(DecryptionError):
        boxes.open_vault(agreed(vault), THM_KF_HASH, OTHER_PARAMS, vault)
    with pytest.raises(DecryptionError):
        boxes.open_vault(agreed(vault), KF_HASH, PARAMS, vault)


def test_response_is_bound_to_params_and_claimant() -> None:
    inner = boxes.seal_recovery_key(KF_HASH, RECOVERY_KEY)
    response = boxes.seal_response(CLAIMANT_KEY, PARAMS, inner)
    assert boxes.open_response(CLAIMANT_KEY, PARAMS, response) == inner
    with pytest.raises(DecryptionError):
        boxes.open_response(CLAIMANT_KEY, OTHER_PARAMS, response)
    with pytest.raises(DecryptionError):
        boxes.open_response(b"\6" * 16, PARAMS, response)


def test_recovery_key_needs_the_stretched_hash_not_the_one_the_thm_sees() -> None:
    inner = boxes.seal_recovery_key(KF_HASH, RECOVERY_KEY)
    assert boxes.open_recovery_key(KF_HASH, inner) == RECOVERY_KEY
    with pytest.raises(DecryptionError):
        boxes.open_recovery_key(THM_KF_HASH, inner)


Opener = Callable[[bytes], object]


@pytest.mark.parametrize(
    ("name", "opener"),
    [
        ("response", lambda box: boxes.open_response(RECOVERY_KEY, b"", box)),
        ("recovery key", lambda box: boxes.open_recovery_key(RECOVERY_KEY, box)),
        ("application key", lambda box: boxes.unwrap_application_key(RECOVERY_KEY, box, None)),
    ],
)
def test_box_of_one_purpose_under_the_same_key_is_not_taken_for_another(name: str, opener: Opener) -> None:
    sealed = {
        "response": securebox.encrypt(None, RECOVERY_KEY, labels.RESPONSE, bytes(32)),
        "recovery key": securebox.encrypt(None, RECOVERY_KEY, labels.LOCAL_RECOVERY_KEY, bytes(32)),
        "application key": securebox.encrypt(None, RECOVERY_KEY, labels.APPLICATION_KEY, bytes(32)),
    }
    assert opener(sealed.pop(name)) == bytes(32)
    for box in sealed.values():
        with pytest.raises(DecryptionError):
            opener(box)


# --- other -----------------------------------------------------------------------------------


def test_no_empty_secret_seals_anything() -> None:
    inner = bytes(boxes.INNER_BYTES)
    with pytest.raises(InvalidKeyError):
        boxes.seal_recovery_key(b"", RECOVERY_KEY)
    with pytest.raises(InvalidKeyError):
        boxes.seal_response(b"", PARAMS, inner)
    with pytest.raises(InvalidKeyError):
        boxes.wrap_application_key(b"", bytes(32), None)


def test_opened_claim_does_not_print_what_was_proved() -> None:
    assert THM_KF_HASH.hex() not in repr(PROOF)
    assert repr(THM_KF_HASH) not in repr(PROOF)
    assert repr(CLAIMANT_KEY) not in repr(PROOF)


def test_digests_name_every_part() -> None:
    vault = bytes(boxes.VAULT_BYTES)
    digest = boxes.vault_digest(PARAMS, vault)
    assert boxes.vault_digest(OTHER_PARAMS, vault) != digest
    assert boxes.vault_digest(PARAMS, b"\1" + vault[1:]) != digest
    claim = boxes.claim_digest(digest, CHALLENGE, bytes(boxes.CLAIM_BYTES))
    assert boxes.claim_digest(digest, CHALLENGE, b"\1" + bytes(boxes.CLAIM_BYTES - 1)) != claim
    assert boxes.claim_digest(digest, b"\6" * 32, bytes(boxes.CLAIM_BYTES)) != claim
    assert boxes.claim_digest(bytes(32), CHALLENGE, bytes(boxes.CLAIM_BYTES)) != claim
