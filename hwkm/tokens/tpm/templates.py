"""Public areas of hwkm's keys and of its NV index (TPM 2.0 part 2, clauses 12 and 13)."""

from __future__ import annotations

from typing import Final

from tpm2_pytss.constants import TPM2_ALG, TPM2_ECC, TPMA_NV, TPMA_OBJECT
from tpm2_pytss.types import (
    TPM2B_NV_PUBLIC,
    TPM2B_PUBLIC,
    TPMS_ECC_PARMS,
    TPMS_NV_PUBLIC,
    TPMS_SCHEME_HASH,
    TPMT_ECC_SCHEME,
    TPMT_PUBLIC,
    TPMT_SYM_DEF,
    TPMT_SYM_DEF_OBJECT,
    TPMU_ASYM_SCHEME,
    TPMU_PUBLIC_PARMS,
    TPMU_SYM_KEY_BITS,
    TPMU_SYM_MODE,
)

from hwkm.formats.cohort_terms import COUNTER_ATTRIBUTES, COUNTER_BYTES

# Made in this TPM, bound to it and to its parent for ever, used with its own authorisation value.
_NEVER_LEAVES: Final = (
    TPMA_OBJECT.FIXEDTPM
    | TPMA_OBJECT.FIXEDPARENT
    | TPMA_OBJECT.SENSITIVEDATAORIGIN
    | TPMA_OBJECT.USERWITHAUTH
    | TPMA_OBJECT.NODA
)
STORAGE_ATTRIBUTES: Final = _NEVER_LEAVES | TPMA_OBJECT.RESTRICTED | TPMA_OBJECT.DECRYPT
COHORT_ATTRIBUTES: Final = _NEVER_LEAVES | TPMA_OBJECT.DECRYPT
AUDIT_ATTRIBUTES: Final = _NEVER_LEAVES | TPMA_OBJECT.SIGN_ENCRYPT
CODE_BOUND_ATTRIBUTES: Final = COHORT_ATTRIBUTES & ~TPMA_OBJECT.USERWITHAUTH
MEMBERS_COHORT_ATTRIBUTES: Final = (
    TPMA_OBJECT.SENSITIVEDATAORIGIN
    | TPMA_OBJECT.USERWITHAUTH
    | TPMA_OBJECT.NODA
    | TPMA_OBJECT.ENCRYPTEDDUPLICATION
    | TPMA_OBJECT.DECRYPT
)
ATTESTATION_ATTRIBUTES: Final = _NEVER_LEAVES | TPMA_OBJECT.RESTRICTED | TPMA_OBJECT.SIGN_ENCRYPT

# The owner can neither read nor write the anchor, only remove it.
ANCHOR_ATTRIBUTES: Final = TPMA_NV.AUTHREAD | TPMA_NV.AUTHWRITE | TPMA_NV.NO_DA


def session_cipher() -> TPMT_SYM_DEF:
    """Return AES-128-CFB, the parameter encryption every TPM 2.0 has."""
    return TPMT_SYM_DEF(
        algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(aes=128), mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB)
    )


def storage_template() -> TPM2B_PUBLIC:
    """Return the storage primary: P-256, AES-128-CFB, a parent and nothing else."""
    cipher = TPMT_SYM_DEF_OBJECT(
        algorithm=TPM2_ALG.AES, keyBits=TPMU_SYM_KEY_BITS(aes=128), mode=TPMU_SYM_MODE(aes=TPM2_ALG.CFB)
    )
    return _p256(STORAGE_ATTRIBUTES, cipher, TPMT_ECC_SCHEME(scheme=TPM2_ALG.NULL))


def cohort_template() -> TPM2B_PUBLIC:
    """Return the cohort key: P-256, ECDH only."""
    return _p256(COHORT_ATTRIBUTES, _no_cipher(), _scheme(TPM2_ALG.ECDH))


def members_cohort_template(policy: bytes) -> TPM2B_PUBLIC:
    """Return the cohort key of several members: the same, but it may go where ``policy`` (32 bytes) allows."""
    return _p256(MEMBERS_COHORT_ATTRIBUTES, _no_cipher(), _scheme(TPM2_ALG.ECDH), policy)


def code_bound_template(policy: bytes) -> TPM2B_PUBLIC:
    """Return the cohort key that is used by ``policy`` (32 bytes) only: its own value alone does not authorise."""
    return _p256(CODE_BOUND_ATTRIBUTES, _no_cipher(), _scheme(TPM2_ALG.ECDH), policy)


def audit_template() -> TPM2B_PUBLIC:
    """Return the audit key: P-256, ECDSA with SHA-256 only."""
    return _p256(AUDIT_ATTRIBUTES, _no_cipher(), _scheme(TPM2_ALG.ECDSA))


def attestation_template() -> TPM2B_PUBLIC:
    """Return the attestation key: as the audit key, but it signs only what the TPM itself says."""
    return _p256(ATTESTATION_ATTRIBUTES, _no_cipher(), _scheme(TPM2_ALG.ECDSA))


def anchor_template(index: int, size: int) -> TPM2B_NV_PUBLIC:
    """Return the anchor's NV index: ordinary, ``size`` bytes."""
    return _nv_index(index, ANCHOR_ATTRIBUTES, size)


def counter_template(index: int) -> TPM2B_NV_PUBLIC:
    """Return a cohort's NV counter: it goes up only, and not even by a new definition down."""
    return _nv_index(index, TPMA_NV(COUNTER_ATTRIBUTES), COUNTER_BYTES)


def _nv_index(index: int, attributes: TPMA_NV, size: int) -> TPM2B_NV_PUBLIC:
    return TPM2B_NV_PUBLIC(
        TPMS_NV_PUBLIC(nvIndex=index, nameAlg=TPM2_ALG.SHA256, attributes=attributes, dataSize=size)
    )


def _no_cipher() -> TPMT_SYM_DEF_OBJECT:
    return TPMT_SYM_DEF_OBJECT(algorithm=TPM2_ALG.NULL)


def _scheme(algorithm: TPM2_ALG) -> TPMT_ECC_SCHEME:
    details = TPMU_ASYM_SCHEME(anySig=TPMS_SCHEME_HASH(hashAlg=TPM2_ALG.SHA256))
    return TPMT_ECC_SCHEME(scheme=algorithm, details=details)


def _p256(
    attributes: int, cipher: TPMT_SYM_DEF_OBJECT, scheme: TPMT_ECC_SCHEME, policy: bytes = b""
) -> TPM2B_PUBLIC:
    parameters = TPMS_ECC_PARMS(symmetric=cipher, scheme=scheme, curveID=TPM2_ECC.NIST_P256)
    parameters.kdf.scheme = TPM2_ALG.NULL
    return TPM2B_PUBLIC(
        TPMT_PUBLIC(
            type=TPM2_ALG.ECC,
            nameAlg=TPM2_ALG.SHA256,
            objectAttributes=attributes,
            authPolicy=policy,
            parameters=TPMU_PUBLIC_PARMS(eccDetail=parameters),
        )
    )
