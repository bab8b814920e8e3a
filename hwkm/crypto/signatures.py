"""Ed25519 (RFC 8032) and ECDSA on P-256 with SHA-256 (FIPS 186-5) signatures over whole messages."""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidSignature, UnsupportedAlgorithm
from cryptography.hazmat.primitives import serialization
from cryptography.hazmat.primitives.asymmetric import ec, ed25519
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed, encode_dss_signature
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hwkm.crypto.p256 import encode_point, load_point
from hwkm.errors import InvalidKeyError

ED25519_KEY_BYTES: Final = 32
ED25519_SIGNATURE_BYTES: Final = 64
RAW_SIGNATURE_BYTES: Final = 64

_ECDSA: Final = ec.ECDSA(SHA256())
_PREHASHED: Final = ec.ECDSA(Prehashed(SHA256()))


def ed25519_public_key(seed: bytes) -> bytes:
    """Return the public key (32 bytes) of a private seed (32 bytes).

    Raises:
        InvalidKeyError: the seed is not 32 bytes.
    """
    return _load_seed(seed).public_key().public_bytes(Encoding.Raw, PublicFormat.Raw)


def ed25519_sign(seed: bytes, message: bytes) -> bytes:
    """Return the signature (64 bytes).

    Raises:
        InvalidKeyError: the seed is not 32 bytes.
    """
    return _load_seed(seed).sign(message)


def ed25519_verifies(public_key: bytes, message: bytes, signature: bytes) -> bool:
    """Whether the signature is right; a public key that is none verifies nothing."""
    try:
        ed25519.Ed25519PublicKey.from_public_bytes(public_key).verify(signature, message)
    except (InvalidSignature, ValueError):
        return False
    return True


def ecdsa_verifies(point: bytes, message: bytes, signature: bytes) -> bool:
    """Whether a DER signature of the message by this key (65-byte point) is right.

    Raises:
        InvalidKeyError: the point is not on P-256.
    """
    try:
        load_point(point).verify(signature, message, _ECDSA)
    except InvalidSignature:
        return False
    return True


def prehashed_ecdsa_verifies(point: bytes, digest: bytes, signature: bytes) -> bool:
    """The same for a message that is given by its SHA-256 (32 bytes).

    Raises:
        InvalidKeyError: the point is not on P-256.
    """
    try:
        load_point(point).verify(signature, digest, _PREHASHED)
    except InvalidSignature:
        return False
    return True


def ecdsa_der(raw: bytes) -> bytes:
    """Return the DER form of a signature that is r and s, 32 bytes each, as tokens give it."""
    if len(raw) != RAW_SIGNATURE_BYTES:
        raise InvalidKeyError(f"an ECDSA signature of P-256 is {RAW_SIGNATURE_BYTES} bytes")
    return encode_dss_signature(int.from_bytes(raw[:32], "big"), int.from_bytes(raw[32:], "big"))


def encode_spki(point: bytes) -> bytes:
    """Return the SubjectPublicKeyInfo (DER, 91 bytes) of a 65-byte point.

    Raises:
        InvalidKeyError: the point is not on P-256.
    """
    return load_point(point).public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def parse_spki(der: bytes) -> bytes:
    """Return the 65-byte point of a SubjectPublicKeyInfo in its one encoding.

    Raises:
        InvalidKeyError: it is not DER, not P-256, or written in another way (compressed).
    """
    try:
        key = serialization.load_der_public_key(der)
    except (ValueError, TypeError, UnsupportedAlgorithm):
        raise InvalidKeyError("not a public key in DER") from None
    if not isinstance(key, ec.EllipticCurvePublicKey) or not isinstance(key.curve, ec.SECP256R1):
        raise InvalidKeyError("not a public key on P-256")
    point = encode_point(key)
    if encode_spki(point) != der:
        raise InvalidKeyError("a public key that is not in its one encoding")
    return point


def _load_seed(seed: bytes) -> ed25519.Ed25519PrivateKey:
    try:
        return ed25519.Ed25519PrivateKey.from_private_bytes(seed)
    except ValueError:
        raise InvalidKeyError(f"an Ed25519 private key is {ED25519_KEY_BYTES} bytes") from None
