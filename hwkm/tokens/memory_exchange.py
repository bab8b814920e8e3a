"""Export and import of ``insecure-memory:``: the construction of PKCS#11 tokens, in ordinary memory."""

from __future__ import annotations

from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.keywrap import (
    InvalidUnwrap,
    aes_key_unwrap_with_padding,
    aes_key_wrap_with_padding,
)

from hwkm.crypto.p256 import encode_point, load_point, load_scalar
from hwkm.errors import ExchangeRefused, InvalidKeyError

INSECURE_CLAIMS = b"insecure-memory: no hardware holds this key"


class InsecureSending:
    """A fresh key pair and the wrapping key that it agrees on with the receiver."""

    def __init__(self, receiver_point: bytes) -> None:
        ephemeral = ec.generate_private_key(ec.SECP256R1())
        self.transport = encode_point(ephemeral.public_key())
        self._key = _agreed(ephemeral, receiver_point)

    def wrap(self, secret: bytes) -> bytes:
        return aes_key_wrap_with_padding(self._key, secret)


class InsecureReceiving:
    """The exchange key of this module and the wrapping key that it agrees on with a sender."""

    def __init__(self, scalar: bytes, transport: bytes) -> None:
        self._key = _agreed(load_scalar(scalar), transport)

    def unwrap(self, blob: bytes) -> bytes:
        try:
            return aes_key_unwrap_with_padding(self._key, blob)
        except InvalidUnwrap as exc:
            raise ExchangeRefused("a key in the domain token does not unwrap") from exc


def _agreed(private: ec.EllipticCurvePrivateKey, point: bytes) -> bytes:
    try:
        return private.exchange(ec.ECDH(), load_point(point))
    except InvalidKeyError as exc:
        raise ExchangeRefused("a public key of the exchange is not on P-256") from exc
