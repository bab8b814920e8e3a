"""Every domain-separation label, in one place.

The first six are fixed by Android's recoverable key store (AOSP ``KeySyncUtils.java``); the
others are hwkm's own and start with ``hwkm``. No two labels are equal and none is a prefix of
another that is used in the same construction.
"""

from __future__ import annotations

from typing import Final

THM_KF_HASH: Final = b"THM_KF_hash"
LOCAL_RECOVERY_KEY: Final = b"V1 locally_encrypted_recovery_key"
THM_RECOVERY_KEY: Final = b"V1 THM_encrypted_recovery_key"
APPLICATION_KEY: Final = b"V1 encrypted_application_key"
CLAIM: Final = b"V1 KF_claim"
RESPONSE: Final = b"V1 reencrypted_recovery_key"

COUNTER_KEY: Final = b"hwkm counter key v1"
CLAIM_DIGEST: Final = b"hwkm claim digest v1"
VAULT_DIGEST: Final = b"hwkm vault digest v1"
TREE_NODE: Final = b"hwkm tree node v1"
DATA_KEY: Final = b"hwkm data key v1"
RANDOM_POOL: Final = b"hwkm random pool v1"
BACKUP_KEYS: Final = b"hwkm backup keys v1"
EXCHANGE_STATEMENT: Final = b"hwkm exchange statement v1"
EXCHANGE_FINGERPRINT: Final = b"hwkm exchange fingerprint v1"
DOMAIN_TOKEN: Final = b"hwkm domain token v1"
COHORT_STATEMENT: Final = b"hwkm cohort statement v1"
COHORT_INVITATION: Final = b"hwkm cohort invitation v1"
EVIDENCE: Final = b"hwkm evidence v1"
EVIDENCE_NONCE: Final = b"hwkm evidence nonce v1"
COHORT_ORIGIN: Final = b"hwkm cohort origin v1"
CODE_MANIFEST: Final = b"hwkm code manifest v1"
