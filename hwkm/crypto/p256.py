"""NIST P-256 points (65 bytes, uncompressed, SEC 1 section 2.3.3) and scalars (32 bytes)."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat

from hwkm.errors import InvalidKeyError

POINT_BYTES: Final = 65
SCALAR_BYTES: Final = 32

_CURVE: Final = ec.SECP256R1()
_UNCOMPRESSED: Final = 0x04


def load_point(point: bytes) -> ec.EllipticCurvePublicKey:
    """Read a 65-byte point and check that it is on the curve.

    Raises:
        InvalidKeyError: wrong length, not uncompressed, or not on P-256.
    """
    if len(point) != POINT_BYTES or point[0] != _UNCOMPRESSED:
        raise InvalidKeyError(f"a P-256 public key is {POINT_BYTES} bytes and starts with 04")
    try:
        return ec.EllipticCurvePublicKey.from_encoded_point(_CURVE, point)
    except ValueError:
        raise InvalidKeyError("the point is not on P-256") from None


def load_scalar(scalar: bytes) -> ec.EllipticCurvePrivateKey:
    """Read a 32-byte big-endian private scalar.

    Raises:
        InvalidKeyError: wrong length, zero, or not below the group order.
    """
    if len(scalar) != SCALAR_BYTES:
        raise InvalidKeyError(f"a P-256 private key is {SCALAR_BYTES} bytes")
    try:
        return ec.derive_private_key(int.from_bytes(scalar, "big"), _CURVE)
    except ValueError:
        raise InvalidKeyError("the private key is not in the range of P-256") from None


def encode_point(public_key: ec.EllipticCurvePublicKey) -> bytes:
    """Return the 65 bytes of a public key."""
    return public_key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
