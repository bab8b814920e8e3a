"""Whether a point is on one of the curves that customer master keys are of."""

from __future__ import annotations

from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.errors import InvalidKeyError

_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
}
_UNCOMPRESSED: Final = 0x04


def require_on_curve(curve_name: str, point: bytes) -> None:
    """Check an uncompressed point (65 bytes on ECC_NIST_P256, 97 on ECC_NIST_P384; SEC 1, 2.3.3).

    Raises:
        InvalidKeyError: it is not one of that curve.
    """
    curve = _CURVES[curve_name]
    if len(point) != 1 + 2 * ((curve.key_size + 7) // 8) or point[0] != _UNCOMPRESSED:
        raise InvalidKeyError(f"a point on {curve_name} is uncompressed and starts with 04")
    try:
        ec.EllipticCurvePublicKey.from_encoded_point(curve, point)
    except ValueError:
        raise InvalidKeyError(f"the point is not on {curve_name}") from None
