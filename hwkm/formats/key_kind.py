"""What a customer master key is: its kind, its name, and what each kind may do.

A *kind* is specification and usage together, and is bound to the key for ever: it is part of the
wrapped key's binding (``docs/spec/wrapped-key.md``), so no row of a database can turn a key made for
one job to another. AWS KMS's names for specification, usage and algorithms are given beside ours.
"""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum
from typing import Final, Self

from hwkm.errors import FormatError

KEY_ID_BYTES: Final = 16
VERSION_MAX: Final = 2**32 - 1


class KeyUsage(StrEnum):
    """What a key is for, in AWS KMS's words."""

    ENCRYPT_DECRYPT = "ENCRYPT_DECRYPT"
    GENERATE_VERIFY_MAC = "GENERATE_VERIFY_MAC"
    SIGN_VERIFY = "SIGN_VERIFY"
    KEY_AGREEMENT = "KEY_AGREEMENT"


class SigningAlgorithm(StrEnum):
    """How a digest is signed, in AWS KMS's words. ECDSA signatures are DER (RFC 3279, 2.2.3)."""

    ECDSA_SHA_256 = "ECDSA_SHA_256"
    ECDSA_SHA_384 = "ECDSA_SHA_384"
    RSASSA_PSS_SHA_256 = "RSASSA_PSS_SHA_256"
    RSASSA_PSS_SHA_384 = "RSASSA_PSS_SHA_384"
    RSASSA_PSS_SHA_512 = "RSASSA_PSS_SHA_512"
    RSASSA_PKCS1_V1_5_SHA_256 = "RSASSA_PKCS1_V1_5_SHA_256"
    RSASSA_PKCS1_V1_5_SHA_384 = "RSASSA_PKCS1_V1_5_SHA_384"
    RSASSA_PKCS1_V1_5_SHA_512 = "RSASSA_PKCS1_V1_5_SHA_512"

    @property
    def digest_bytes(self) -> int:
        """Length of the digest it signs."""
        return int(self.value[-3:]) // 8


_ECDSA_256: Final = frozenset({SigningAlgorithm.ECDSA_SHA_256})
_ECDSA_384: Final = frozenset({SigningAlgorithm.ECDSA_SHA_384})
_RSASSA: Final = frozenset(SigningAlgorithm) - _ECDSA_256 - _ECDSA_384


class KeyKind(StrEnum):
    """Every kind of customer master key. No hardware need support all of them."""

    SYMMETRIC = "symmetric"
    HMAC_224 = "hmac_224"
    HMAC_256 = "hmac_256"
    HMAC_384 = "hmac_384"
    HMAC_512 = "hmac_512"
    ECC_NIST_P256_SIGN = "ecc_nist_p256_sign"
    ECC_NIST_P384_SIGN = "ecc_nist_p384_sign"
    ECC_NIST_P256_AGREE = "ecc_nist_p256_agree"
    ECC_NIST_P384_AGREE = "ecc_nist_p384_agree"
    RSA_2048_SIGN = "rsa_2048_sign"
    RSA_3072_SIGN = "rsa_3072_sign"
    RSA_4096_SIGN = "rsa_4096_sign"

    @property
    def code(self) -> int:
        """The byte that stands for it in bytes that are kept (1 to 255)."""
        return _FACTS[self].code

    @classmethod
    def of_code(cls, code: int) -> Self:
        """The kind that a byte stands for.

        Raises:
            FormatError: none.
        """
        try:
            return cls(_BY_CODE[code])
        except KeyError:
            raise FormatError(f"no kind of key has the number {code}") from None

    @property
    def spec(self) -> str:
        """AWS KMS's KeySpec."""
        return _FACTS[self].spec

    @property
    def usage(self) -> KeyUsage:
        """AWS KMS's KeyUsage."""
        return _FACTS[self].usage

    @property
    def is_secret_key(self) -> bool:
        """Whether it is a secret key of HMAC, not a key pair."""
        return bool(_FACTS[self].secret_bytes)

    @property
    def secret_bytes(self) -> int:
        """Length of the HMAC key; 0 for a key pair."""
        return _FACTS[self].secret_bytes

    @property
    def mac_bytes(self) -> int:
        """Length of its HMAC, that of its hash; 0 for a key pair."""
        return _FACTS[self].secret_bytes

    @property
    def mac_algorithm(self) -> str:
        """AWS KMS's name of its MAC; empty unless its usage is GENERATE_VERIFY_MAC."""
        return self.spec.replace("HMAC_", "HMAC_SHA_") if self.usage is KeyUsage.GENERATE_VERIFY_MAC else ""

    @property
    def signing_algorithms(self) -> frozenset[SigningAlgorithm]:
        """How it can sign; empty unless its usage is SIGN_VERIFY."""
        return _FACTS[self].signing


@dataclass(frozen=True, slots=True)
class _Facts:
    code: int
    spec: str
    usage: KeyUsage
    secret_bytes: int = 0
    signing: frozenset[SigningAlgorithm] = frozenset()


_MAC, _SIGN, _AGREE = KeyUsage.GENERATE_VERIFY_MAC, KeyUsage.SIGN_VERIFY, KeyUsage.KEY_AGREEMENT

# The numbers are kept in wrapped keys for ever: none is changed or given out again.
_FACTS: Final[dict[KeyKind, _Facts]] = {
    KeyKind.SYMMETRIC: _Facts(1, "SYMMETRIC_DEFAULT", KeyUsage.ENCRYPT_DECRYPT, 32),
    KeyKind.HMAC_224: _Facts(2, "HMAC_224", _MAC, 28),
    KeyKind.HMAC_256: _Facts(3, "HMAC_256", _MAC, 32),
    KeyKind.HMAC_384: _Facts(4, "HMAC_384", _MAC, 48),
    KeyKind.HMAC_512: _Facts(5, "HMAC_512", _MAC, 64),
    KeyKind.ECC_NIST_P256_SIGN: _Facts(6, "ECC_NIST_P256", _SIGN, signing=_ECDSA_256),
    KeyKind.ECC_NIST_P384_SIGN: _Facts(7, "ECC_NIST_P384", _SIGN, signing=_ECDSA_384),
    KeyKind.ECC_NIST_P256_AGREE: _Facts(8, "ECC_NIST_P256", _AGREE),
    KeyKind.ECC_NIST_P384_AGREE: _Facts(9, "ECC_NIST_P384", _AGREE),
    KeyKind.RSA_2048_SIGN: _Facts(10, "RSA_2048", _SIGN, signing=_RSASSA),
    KeyKind.RSA_3072_SIGN: _Facts(11, "RSA_3072", _SIGN, signing=_RSASSA),
    KeyKind.RSA_4096_SIGN: _Facts(12, "RSA_4096", _SIGN, signing=_RSASSA),
}
_BY_CODE: Final = {facts.code: kind for kind, facts in _FACTS.items()}


@dataclass(frozen=True, slots=True)
class KeyName:
    """One version of one customer master key: its id (16 bytes, a UUID) and version (1 to 2^32-1)."""

    key_id: bytes
    version: int

    def __post_init__(self) -> None:
        if len(self.key_id) != KEY_ID_BYTES:
            raise FormatError(f"a key id has {KEY_ID_BYTES} bytes")
        if not 1 <= self.version <= VERSION_MAX:
            raise FormatError(f"a key version is 1 to {VERSION_MAX}")
