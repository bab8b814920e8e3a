"""Customer master keys of ``insecure-memory:``: the same jobs as in hardware, without any protection."""

from __future__ import annotations

import hmac
import os
from collections.abc import Sequence
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    NoEncryption,
    PrivateFormat,
    PublicFormat,
    load_der_private_key,
)

from hwkm.errors import TokenError
from hwkm.formats.key_kind import KeyKind, SigningAlgorithm
from hwkm.tokens.wrapping import verify_agrees, verify_secret_key, verify_signs

_PrivateKey = ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey

_HASH_NAMES: Final = {28: "sha224", 32: "sha256", 48: "sha384", 64: "sha512"}
_HASHES: Final[dict[int, HashAlgorithm]] = {32: SHA256(), 48: SHA384(), 64: SHA512()}
_CURVES: Final[dict[str, ec.EllipticCurve]] = {
    "ECC_NIST_P256": ec.SECP256R1(),
    "ECC_NIST_P384": ec.SECP384R1(),
}


def new_secret(kind: KeyKind) -> tuple[bytes, bytes]:
    """Make a key: what is wrapped (the HMAC key, or PKCS#8), and the SPKI of a key pair's public half."""
    if kind.is_secret_key:
        return os.urandom(kind.secret_bytes), b""
    private = _new_private_key(kind)
    secret = private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption())
    return secret, private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _new_private_key(kind: KeyKind) -> _PrivateKey:
    if kind.spec in _CURVES:
        return ec.generate_private_key(_CURVES[kind.spec])
    return rsa.generate_private_key(65537, int(kind.spec.removeprefix("RSA_")))


class InsecureKey:
    """A loaded key in ordinary memory."""

    def __init__(self, kind: KeyKind, secret: bytes) -> None:
        self._kind = kind
        self._secret = secret
        self._private = None if kind.is_secret_key else load_der_private_key(secret, password=None)

    def hmac(self, messages: Sequence[bytes]) -> list[bytes]:
        verify_secret_key(self._kind)
        if not self._secret:
            raise TokenError("the key was unloaded")
        name = _HASH_NAMES[self._kind.mac_bytes]
        return [hmac.digest(self._secret, message, name) for message in messages]

    def sign(self, algorithm: SigningAlgorithm, digest: bytes) -> bytes:
        verify_signs(self._kind, algorithm)
        algorithm_hash = _HASHES[algorithm.digest_bytes]
        prehashed = utils.Prehashed(algorithm_hash)
        if isinstance(self._private, ec.EllipticCurvePrivateKey):
            return self._private.sign(digest, ec.ECDSA(prehashed))
        if isinstance(self._private, rsa.RSAPrivateKey):
            return self._private.sign(digest, _padding(algorithm, algorithm_hash), prehashed)
        raise TokenError("the key was unloaded")

    def agree(self, point: bytes) -> bytes:
        verify_agrees(self._kind)
        if not isinstance(self._private, ec.EllipticCurvePrivateKey):
            raise TokenError("the key was unloaded")
        try:
            peer = ec.EllipticCurvePublicKey.from_encoded_point(self._private.curve, point)
        except ValueError as exc:
            raise TokenError("the point is not on the key's curve") from exc
        return self._private.exchange(ec.ECDH(), peer)

    def unload(self) -> None:
        self._secret, self._private = b"", None


def _padding(algorithm: SigningAlgorithm, algorithm_hash: HashAlgorithm) -> padding.AsymmetricPadding:
    if algorithm.startswith("RSASSA_PSS"):
        return padding.PSS(padding.MGF1(algorithm_hash), padding.PSS.DIGEST_LENGTH)
    return padding.PKCS1v15()
