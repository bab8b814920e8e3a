"""Public areas of customer master keys in a TPM, as bytes (TPM 2.0 part 2, clause 12).

A CMK is an ordinary child of a domain key. Unlike the keys that stay for ever, it has neither fixedTPM
nor fixedParent: it can be duplicated under another parent, so that a rotation or an export can take it
along. That needs its own authorisation value in a policy session (``DUPLICATION_POLICY``), and the
attribute encryptedDuplication, so never without a parent and never without the inner wrapping.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Mapping
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from tpm2_pytss.constants import TPM2_ALG, TPM2_ECC, TPMA_OBJECT

from hwkm.errors import TokenUnavailable
from hwkm.formats.key_kind import KeyKind, KeyUsage
from hwkm.tokens.tpm.hmac_session import sized, split_sized

HASHES: Final[Mapping[int, int]] = {
    32: int(TPM2_ALG.SHA256),
    48: int(TPM2_ALG.SHA384),
    64: int(TPM2_ALG.SHA512),
}
CURVES: Final[Mapping[str, int]] = {
    "ECC_NIST_P256": int(TPM2_ECC.NIST_P256),
    "ECC_NIST_P384": int(TPM2_ECC.NIST_P384),
}
_CURVE_TYPES: Final[Mapping[str, ec.EllipticCurve]] = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
}
_NULL: Final = int(TPM2_ALG.NULL)

POLICY_AUTH_VALUE: Final = 0x16B
POLICY_COMMAND_CODE: Final = 0x16C
DUPLICATE: Final = 0x14B

_EXPORTABLE: Final = (
    TPMA_OBJECT.SENSITIVEDATAORIGIN
    | TPMA_OBJECT.USERWITHAUTH
    | TPMA_OBJECT.NODA
    | TPMA_OBJECT.ENCRYPTEDDUPLICATION
)


def _policy_digest() -> bytes:
    """Return what TPM2_PolicyAuthValue, then TPM2_PolicyCommandCode(Duplicate) make of zeros."""
    digest = hashlib.sha256(bytes(32) + struct.pack(">I", POLICY_AUTH_VALUE)).digest()
    return hashlib.sha256(digest + struct.pack(">II", POLICY_COMMAND_CODE, DUPLICATE)).digest()


DUPLICATION_POLICY: Final = _policy_digest()


def public_template(kind: KeyKind) -> bytes:
    """Return the TPMT_PUBLIC of a kind up to its ``unique`` field, the public key itself."""
    if kind.is_secret_key:
        scheme = struct.pack(">HH", TPM2_ALG.HMAC, HASHES[kind.mac_bytes])
        return _head(TPM2_ALG.KEYEDHASH, TPMA_OBJECT.SIGN_ENCRYPT) + scheme
    use = TPMA_OBJECT.SIGN_ENCRYPT if kind.usage == KeyUsage.SIGN_VERIFY else TPMA_OBJECT.DECRYPT
    if kind.spec in CURVES:  # no cipher, no scheme, the curve, no KDF
        return _head(TPM2_ALG.ECC, use) + struct.pack(">HHHH", _NULL, _NULL, CURVES[kind.spec], _NULL)
    # no cipher, no scheme, modulus bits, exponent 0 for 65537
    return _head(TPM2_ALG.RSA, use) + struct.pack(">HHHI", _NULL, _NULL, rsa_bits(kind), 0)


def empty_unique(kind: KeyKind) -> bytes:
    """Return the ``unique`` field of a template for TPM2_Create."""
    return bytes(4) if kind.spec in CURVES else bytes(2)


def rsa_bits(kind: KeyKind) -> int:
    """Return the length of an RSA kind's modulus."""
    return int(kind.spec.removeprefix("RSA_"))


def is_of_kind(kind: KeyKind, public: bytes) -> bool:
    """Whether a TPMT_PUBLIC is that of a key of this kind, made as we make them."""
    template = public_template(kind)
    try:
        first, rest = split_sized(public[len(template) :])
        second, rest = split_sized(rest) if kind.spec in CURVES else (b"", rest)
    except TokenUnavailable:
        return False
    return (
        public.startswith(template) and not rest and bool(first) and (bool(second) == (kind.spec in CURVES))
    )


def spki(kind: KeyKind, public: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo of a key pair's TPMT_PUBLIC, or nothing for a secret key.

    Raises:
        TokenUnavailable: the TPM made a key that is none.
    """
    if kind.is_secret_key:
        return b""
    try:
        key = _public_key(kind, public[len(public_template(kind)) :])
    except ValueError as exc:
        raise TokenUnavailable(f"the TPM made a public key that is not of kind {kind}") from exc
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_key(kind: KeyKind, unique: bytes) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    first, rest = split_sized(unique)
    if kind.spec not in CURVES:
        return rsa.RSAPublicNumbers(65537, int.from_bytes(first, "big")).public_key()
    second, _ = split_sized(rest)
    x, y = int.from_bytes(first, "big"), int.from_bytes(second, "big")
    return ec.EllipticCurvePublicNumbers(x, y, _CURVE_TYPES[kind.spec]).public_key()


def name_of(public: bytes) -> bytes:
    """Return the Name of an object: its name algorithm and the digest of its TPMT_PUBLIC."""
    return struct.pack(">H", TPM2_ALG.SHA256) + hashlib.sha256(public).digest()


def _head(kind: TPM2_ALG, use: TPMA_OBJECT) -> bytes:
    return struct.pack(">HHI", kind, TPM2_ALG.SHA256, _EXPORTABLE | use) + sized(DUPLICATION_POLICY)
