"""What clients do, as plain functions: seal a vault, make a claim, finish a recovery."""

from __future__ import annotations

import secrets
from dataclasses import dataclass

from hwkm.crypto.knowledge_factor import thm_kf_hash
from hwkm.formats import vault as boxes
from hwkm.formats.vault_params import VaultParams
from hwkm.thm.opening import ClaimRequest


@dataclass
class SealedVault:
    """A vault and what its owner knows of it."""

    params: bytes
    blob: bytes
    kf_hash: bytes
    recovery_key: bytes


@dataclass
class Claimed:
    """A claim and the key that opens its response."""

    request: ClaimRequest
    claimant_key: bytes


def seal(
    cohort_public_key: bytes,
    *,
    kf_hash: bytes | None = None,
    counter_id: int | None = None,
    handle: bytes | None = None,
    max_attempts: int = 10,
) -> SealedVault:
    """Make a vault; give a counter id and handle to replace one."""
    kf_hash = kf_hash or secrets.token_bytes(32)
    params = VaultParams(
        cohort_public_key,
        secrets.randbits(64) if counter_id is None else counter_id,
        max_attempts,
        handle or b"\x01" + secrets.token_bytes(16),
    ).encode()
    recovery_key = secrets.token_bytes(32)
    inner = boxes.seal_recovery_key(kf_hash, recovery_key)
    blob = boxes.seal_vault(cohort_public_key, thm_kf_hash(kf_hash), params, inner)
    return SealedVault(params, blob, kf_hash, recovery_key)


def reseal(vault: SealedVault, kf_hash: bytes | None = None) -> SealedVault:
    """A new blob under the very same params, as a replacement or an operator's trick."""
    params = VaultParams.parse(vault.params)
    return seal(
        params.cohort_public_key,
        kf_hash=kf_hash or vault.kf_hash,
        counter_id=params.counter_id,
        handle=params.handle,
        max_attempts=params.max_attempts,
    )


def make_claim(vault: SealedVault, kf_hash: bytes, challenge: bytes) -> Claimed:
    """Claim a vault with a guess."""
    claimant_key = secrets.token_bytes(16)
    proof = boxes.OpenedClaim(thm_kf_hash(kf_hash), claimant_key)
    cohort_public_key = VaultParams.parse(vault.params).cohort_public_key
    claim = boxes.seal_claim(cohort_public_key, vault.params, challenge, proof)
    return Claimed(ClaimRequest(vault.params, vault.blob, challenge, claim), claimant_key)


def finish(vault: SealedVault, claimed: Claimed, response: bytes) -> bytes:
    """Open a response and return the recovery key."""
    inner = boxes.open_response(claimed.claimant_key, vault.params, response)
    return boxes.open_recovery_key(vault.kf_hash, inner)
