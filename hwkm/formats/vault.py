"""Vault, claim, response and application keys: SecureBoxes with fixed headers and lengths.

Byte-compatible with AOSP ``KeySyncUtils.java``; steps, lengths and vectors are in
``docs/spec/vault.md``. Functions named ``seal_…`` and ``open_…`` do the cryptography of the
*client*; the trusted core's half (:func:`open_claim`, :func:`open_vault`, :func:`seal_response`)
takes what the hardware agreed on, because the cohort's private key stays there: the x coordinate (32
bytes) of the cohort's private key times the box's ``sender_point``.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from hwkm.crypto import labels, securebox
from hwkm.crypto.securebox import PUBLIC_OVERHEAD_BYTES, SHARED_OVERHEAD_BYTES
from hwkm.errors import FormatError

RECOVERY_KEY_BYTES: Final = 32
APPLICATION_KEY_BYTES: Final = 32
CLAIMANT_KEY_BYTES: Final = 16
THM_KF_HASH_BYTES: Final = 32
CHALLENGE_BYTES: Final = 32
METADATA_BYTES_MAX: Final = 4096

INNER_BYTES: Final = RECOVERY_KEY_BYTES + SHARED_OVERHEAD_BYTES
VAULT_BYTES: Final = INNER_BYTES + PUBLIC_OVERHEAD_BYTES
CLAIM_BYTES: Final = THM_KF_HASH_BYTES + CLAIMANT_KEY_BYTES + PUBLIC_OVERHEAD_BYTES
RESPONSE_BYTES: Final = INNER_BYTES + SHARED_OVERHEAD_BYTES
WRAPPED_APPLICATION_KEY_BYTES: Final = APPLICATION_KEY_BYTES + SHARED_OVERHEAD_BYTES


@dataclass(frozen=True, slots=True, repr=False)
class OpenedClaim:
    """What a claimant proved and how to answer: thm_kf_hash (32), claimant key (16)."""

    thm_kf_hash: bytes
    claimant_key: bytes


def check_length(name: str, data: bytes, expected: int) -> bytes:
    """Return ``data`` if it has exactly the expected length.

    Raises:
        FormatError: it has another length.
    """
    if len(data) != expected:
        raise FormatError(f"{name} has {len(data)} bytes, not {expected}")
    return data


def vault_digest(params: bytes, vault: bytes) -> bytes:
    """Name one sealed vault: SHA-256 over a label, its params (94) and its bytes (157)."""
    return hashlib.sha256(labels.VAULT_DIGEST + params + vault).digest()


def claim_digest(digest_of_vault: bytes, challenge: bytes, claim: bytes) -> bytes:
    """Name one claim on one vault: SHA-256 over a label, vault digest, challenge and claim."""
    return hashlib.sha256(labels.CLAIM_DIGEST + digest_of_vault + challenge + claim).digest()


# --- the client's half -----------------------------------------------------------------------


def seal_recovery_key(kf_hash: bytes, recovery_key: bytes) -> bytes:
    """Inner box: the recovery key (32 bytes) under ``kf_hash``; 62 bytes."""
    check_length("recovery key", recovery_key, RECOVERY_KEY_BYTES)
    return securebox.encrypt(None, kf_hash, labels.LOCAL_RECOVERY_KEY, recovery_key)


def open_recovery_key(kf_hash: bytes, inner: bytes) -> bytes:
    """Reverse of :func:`seal_recovery_key`. Raises DecryptionError."""
    return securebox.decrypt(None, kf_hash, labels.LOCAL_RECOVERY_KEY, inner)


def seal_vault(cohort_public_key: bytes, thm_kf_hash: bytes, params: bytes, inner: bytes) -> bytes:
    """Outer box: inner (62 bytes) to the cohort key and ``thm_kf_hash``; 157 bytes."""
    check_length("inner box", inner, INNER_BYTES)
    return securebox.encrypt(cohort_public_key, thm_kf_hash, labels.THM_RECOVERY_KEY + params, inner)


def seal_claim(cohort_public_key: bytes, params: bytes, challenge: bytes, opened: OpenedClaim) -> bytes:
    """Claim: proof and claimant key to the cohort key, bound to params and challenge; 143 bytes."""
    header = labels.CLAIM + params + challenge
    return securebox.encrypt(cohort_public_key, b"", header, opened.thm_kf_hash + opened.claimant_key)


def open_response(claimant_key: bytes, params: bytes, response: bytes) -> bytes:
    """Return the inner box (62 bytes) from a response (92 bytes). Raises DecryptionError."""
    return securebox.decrypt(None, claimant_key, labels.RESPONSE + params, response)


def wrap_application_key(recovery_key: bytes, application_key: bytes, metadata: bytes | None) -> bytes:
    """Wrap an application key (32 bytes) under the recovery key; 62 bytes.

    Absent and empty metadata are the same thing (AOSP ``KeySyncUtils``).
    """
    check_length("application key", application_key, APPLICATION_KEY_BYTES)
    return securebox.encrypt(None, recovery_key, labels.APPLICATION_KEY + (metadata or b""), application_key)


def unwrap_application_key(recovery_key: bytes, wrapped: bytes, metadata: bytes | None) -> bytes:
    """Reverse of :func:`wrap_application_key`. Raises DecryptionError."""
    return securebox.decrypt(None, recovery_key, labels.APPLICATION_KEY + (metadata or b""), wrapped)


# --- the trusted core's half -----------------------------------------------------------------


def open_claim(agreed: bytes, params: bytes, challenge: bytes, claim: bytes) -> OpenedClaim:
    """Open a claim with the cohort's private key.

    Raises:
        DecryptionError: not sealed to this cohort, these params and this challenge.
        FormatError: it opened, but does not hold 48 bytes.
    """
    payload = securebox.decrypt_agreed(agreed, b"", labels.CLAIM + params + challenge, claim)
    check_length("claim payload", payload, THM_KF_HASH_BYTES + CLAIMANT_KEY_BYTES)
    return OpenedClaim(payload[:THM_KF_HASH_BYTES], payload[THM_KF_HASH_BYTES:])


def open_vault(agreed: bytes, thm_kf_hash: bytes, params: bytes, vault: bytes) -> bytes:
    """Return the inner box. This is the evaluation of a guess: charge before calling it.

    Raises:
        DecryptionError: the guess is wrong (or the vault is damaged: the same thing).
    """
    return securebox.decrypt_agreed(agreed, thm_kf_hash, labels.THM_RECOVERY_KEY + params, vault)


def seal_response(claimant_key: bytes, params: bytes, inner: bytes) -> bytes:
    """Answer a right guess: the inner box under the claimant key; 92 bytes."""
    return securebox.encrypt(None, claimant_key, labels.RESPONSE + params, inner)
