"""What the tests of domain keys and customer master keys share."""

from __future__ import annotations

import uuid
from collections.abc import Iterator
from contextlib import contextmanager
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa, utils
from cryptography.hazmat.primitives.hashes import SHA256, SHA384, SHA512, HashAlgorithm
from cryptography.hazmat.primitives.serialization import (
    Encoding,
    PublicFormat,
    load_der_public_key,
)

from hwkm.formats.key_kind import KeyKind, KeyName, SigningAlgorithm
from hwkm.thm.ports import Domain, LoadedKey
from hwkm.tokens.token import Token
from tests.contract.devices import Device, opened

HASHES: Final[dict[int, HashAlgorithm]] = {32: SHA256(), 48: SHA384(), 64: SHA512()}


def new_name(version: int = 1) -> KeyName:
    return KeyName(uuid.uuid4().bytes, version)


def domain_of(token: Token) -> Domain:
    assert token.domain is not None
    return token.domain


@contextmanager
def domain_on(device: Device) -> Iterator[Domain]:
    with opened(device) as token:
        yield domain_of(token)


@contextmanager
def loaded(domain: Domain, name: KeyName, kind: KeyKind, wrapped: bytes) -> Iterator[LoadedKey]:
    key = domain.load(name, kind, wrapped)
    try:
        yield key
    finally:
        key.unload()


def mac(domain: Domain, name: KeyName, wrapped: bytes, message: bytes = b"message") -> bytes:
    """The HMAC by a symmetric key, loaded for that."""
    with loaded(domain, name, KeyKind.SYMMETRIC, wrapped) as key:
        (result,) = key.hmac([message])
        return result


def verify_signature(public_key: bytes, algorithm: SigningAlgorithm, digest: bytes, signature: bytes) -> None:
    """Check a signature with a library of others.

    Raises:
        InvalidSignature: it is wrong.
    """
    public = load_der_public_key(public_key)
    algorithm_hash = HASHES[algorithm.digest_bytes]
    prehashed = utils.Prehashed(algorithm_hash)
    if isinstance(public, ec.EllipticCurvePublicKey):
        public.verify(signature, digest, ec.ECDSA(prehashed))
    else:
        assert isinstance(public, rsa.RSAPublicKey)
        scheme: padding.AsymmetricPadding = padding.PKCS1v15()
        if "PSS" in algorithm:
            scheme = padding.PSS(padding.MGF1(algorithm_hash), padding.PSS.DIGEST_LENGTH)
        public.verify(signature, digest, scheme, prehashed)


def point_of(key: ec.EllipticCurvePublicKey) -> bytes:
    return key.public_bytes(Encoding.X962, PublicFormat.UncompressedPoint)
