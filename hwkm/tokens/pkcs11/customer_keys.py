"""Customer master keys as session objects: made extractable to be wrapped, loaded non-extractable.

A key that is made or wrapped anew is extractable for the moment between two calls of the token, as
PKCS#11 demands of a key that is to be wrapped; it is sensitive all the same, so it is never readable,
and under a trusted domain key it can be wrapped by trusted keys only.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from contextlib import ExitStack, contextmanager, suppress
from typing import Any, Final

import pkcs11
from cryptography.hazmat.primitives.asymmetric import ec, rsa, utils
from cryptography.hazmat.primitives.serialization import Encoding, PublicFormat
from pkcs11.constants import Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from hwkm.errors import TokenError, TokenUnavailable
from hwkm.formats.key_kind import KeyKind, KeyUsage, SigningAlgorithm
from hwkm.tokens.pkcs11.direct import DirectHmac
from hwkm.tokens.pkcs11.domain_objects import PlainSecret
from hwkm.tokens.pkcs11.errors import translated
from hwkm.tokens.pkcs11.keys import NOT_OF_A_PRIVATE_KEY, P256_PARAMETERS, agreed_secret
from hwkm.tokens.pkcs11.mechanisms import HMAC_MECHANISMS, PSS_PARAMETERS
from hwkm.tokens.wrapping import (
    computes_no_hmac,
    does_not_agree,
    does_not_sign,
    verify_agrees,
    verify_signs,
)

# DER of secp384r1, 1.3.132.0.34 (RFC 5480, 2.1.1.1).
_P384_PARAMETERS: Final = bytes.fromhex("06052b81040022")
_CURVES: Final[Mapping[str, tuple[bytes, ec.EllipticCurve]]] = {
    "ECC_NIST_P256": (P256_PARAMETERS, ec.SECP256R1()),
    "ECC_NIST_P384": (_P384_PARAMETERS, ec.SECP384R1()),
}
# DER of DigestInfo up to the digest (RFC 8017, 9.2, note 1).
_DIGEST_INFO: Final = {
    32: bytes.fromhex("3031300d060960864801650304020105000420"),
    48: bytes.fromhex("3041300d060960864801650304020205000430"),
    64: bytes.fromhex("3051300d060960864801650304020305000440"),
}
_USE: Final = {
    KeyUsage.ENCRYPT_DECRYPT: MechanismFlag.SIGN,
    KeyUsage.GENERATE_VERIFY_MAC: MechanismFlag.SIGN,
    KeyUsage.SIGN_VERIFY: MechanismFlag.SIGN,
    KeyUsage.KEY_AGREEMENT: MechanismFlag.DERIVE,
}


class Pkcs11SecretKey:
    """A loaded HMAC key."""

    def __init__(self, kind: KeyKind, item: Any, direct: DirectHmac) -> None:
        self._kind = kind
        self._item: Any = item
        self._handle: int = item.handle
        self._direct = direct
        self._mechanism = HMAC_MECHANISMS[kind.mac_bytes]
        self._size = kind.mac_bytes

    def hmac(self, messages: Sequence[bytes]) -> list[bytes]:
        if self._item is None:
            raise TokenError("the key was unloaded")
        return self._direct.hmac(self._handle, self._mechanism, self._size, messages)

    def sign(self, algorithm: SigningAlgorithm, digest: bytes) -> bytes:
        raise does_not_sign(self._kind, algorithm)

    def agree(self, point: bytes) -> bytes:
        raise does_not_agree(self._kind)

    def unload(self) -> None:
        item, self._item = self._item, None
        _destroy(item)


class Pkcs11PrivateKey:
    """A loaded private key."""

    def __init__(self, kind: KeyKind, item: Any) -> None:
        self._kind = kind
        self._item: Any = item

    def hmac(self, messages: Sequence[bytes]) -> list[bytes]:
        raise computes_no_hmac(self._kind)

    def sign(self, algorithm: SigningAlgorithm, digest: bytes) -> bytes:
        verify_signs(self._kind, algorithm)
        data, mechanism, parameter = _signing(algorithm, digest)
        with translated("signing with a customer master key"):
            signature: bytes = self._loaded().sign(data, mechanism=mechanism, mechanism_param=parameter)
        return _der(signature) if mechanism is Mechanism.ECDSA else signature

    def agree(self, point: bytes) -> bytes:
        verify_agrees(self._kind)
        size = (_CURVES[self._kind.spec][1].key_size + 7) // 8
        return agreed_secret(self._loaded().derive_key, point, size, "agreeing with a customer master key")

    def unload(self) -> None:
        item, self._item = self._item, None
        _destroy(item)

    def _loaded(self) -> Any:
        if self._item is None:
            raise TokenError("the key was unloaded")
        return self._item


@contextmanager
def made(session: Any, kind: KeyKind, *, trusted: bool) -> Iterator[tuple[Any, bytes]]:
    """Give a new key that can be wrapped, and the SPKI of its public half; destroy it afterwards.

    Raises:
        TokenError: the hardware failed.
    """
    template = {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: True,
        Attribute.WRAP_WITH_TRUSTED: trusted,
    }
    with ExitStack() as stack:
        with translated(f"making a key of kind {kind}"):
            if kind.is_secret_key:
                secret = session.generate_key(
                    KeyType.GENERIC_SECRET,
                    8 * kind.secret_bytes,
                    capabilities=_USE[kind.usage],
                    template=template,
                )
                stack.callback(_destroy, secret)
                item, public_key = PlainSecret(secret.wrapper), b""
            else:
                public, item = _generate_pair(session, kind, template)
                stack.callback(_destroy, public)
                stack.callback(_destroy, item)
                public_key = _spki(public, kind)
        yield item, public_key


def unwrapped(
    wrapping_key: Any, mechanism: Mechanism, kind: KeyKind, blob: bytes, *, trusted: bool, extractable: bool
) -> Any:
    """Unwrap a blob to a session object, which the caller destroys.

    The blob is one of ours (its binding or signature was checked), so a failure is the token's.

    Raises:
        TokenError: the hardware failed.
    """
    template: dict[Attribute, object] = {
        Attribute.PRIVATE: True,
        Attribute.SENSITIVE: True,
        Attribute.EXTRACTABLE: extractable,
        Attribute.WRAP_WITH_TRUSTED: trusted,
    }
    if not kind.is_secret_key:
        template |= NOT_OF_A_PRIVATE_KEY
    with translated(f"unwrapping a key of kind {kind}"):
        item = wrapping_key.unwrap_key(
            ObjectClass.SECRET_KEY if kind.is_secret_key else ObjectClass.PRIVATE_KEY,
            _key_type(kind),
            blob,
            mechanism=mechanism,
            capabilities=_USE[kind.usage],
            template=template,
        )
    return PlainSecret(item.wrapper) if kind.is_secret_key else item


@contextmanager
def extractable(
    wrapping_key: Any, mechanism: Mechanism, kind: KeyKind, blob: bytes, *, trusted: bool
) -> Iterator[Any]:
    """Give an unwrapped key that can be wrapped anew, and destroy it afterwards.

    Raises:
        TokenError: the hardware failed.
    """
    item = unwrapped(wrapping_key, mechanism, kind, blob, trusted=trusted, extractable=True)
    try:
        yield item
    finally:
        _destroy(item)


def wrap(wrapping_key: Any, mechanism: Mechanism, item: Any) -> bytes:
    """Return the key wrapped.

    Raises:
        TokenError: the hardware failed.
    """
    with translated("wrapping a customer master key"):
        blob: bytes = wrapping_key.wrap_key(item, mechanism=mechanism)
    return blob


def _destroy(item: Any) -> None:
    # If the token does not answer any more, its session objects are gone with the session.
    with suppress(pkcs11.PKCS11Error):
        if item is not None:
            item.destroy()


def _key_type(kind: KeyKind) -> KeyType:
    if kind.is_secret_key:
        return KeyType.GENERIC_SECRET
    return KeyType.EC if kind.spec in _CURVES else KeyType.RSA


def _generate_pair(session: Any, kind: KeyKind, template: Mapping[Attribute, object]) -> tuple[Any, Any]:
    use = _USE[kind.usage]
    if kind.spec not in _CURVES:
        bits = int(kind.spec.removeprefix("RSA_"))
        pair = session.generate_keypair(KeyType.RSA, bits, capabilities=use, private_template=template)
    else:
        curve = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: _CURVES[kind.spec][0]}, local=True
        )
        pair = curve.generate_keypair(capabilities=use, private_template=template)
    public, private = pair
    return public, private


def _spki(public: Any, kind: KeyKind) -> bytes:
    """Return a public key's SubjectPublicKeyInfo."""
    try:
        key = _public_key(public, kind)
    except ValueError as exc:
        raise TokenUnavailable(f"the token made a public key that is not of kind {kind}") from exc
    return key.public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo)


def _public_key(public: Any, kind: KeyKind) -> ec.EllipticCurvePublicKey | rsa.RSAPublicKey:
    if kind.spec not in _CURVES:
        exponent, modulus = public[Attribute.PUBLIC_EXPONENT], public[Attribute.MODULUS]
        numbers = rsa.RSAPublicNumbers(int.from_bytes(exponent, "big"), int.from_bytes(modulus, "big"))
        return numbers.public_key()
    curve = _CURVES[kind.spec][1]
    # DER OCTET STRING of the point (PKCS#11 v3.1, 6.3.3); some tokens leave the two bytes out.
    return ec.EllipticCurvePublicKey.from_encoded_point(
        curve, public[Attribute.EC_POINT][-(2 * ((curve.key_size + 7) // 8) + 1) :]
    )


def _signing(algorithm: SigningAlgorithm, digest: bytes) -> tuple[bytes, Mechanism, object]:
    """Return what the token is given to sign, the mechanism, and its parameter."""
    if algorithm.startswith("ECDSA"):
        return digest, Mechanism.ECDSA, None
    if algorithm.startswith("RSASSA_PSS"):
        return digest, Mechanism.RSA_PKCS_PSS, PSS_PARAMETERS[len(digest)]
    return _DIGEST_INFO[len(digest)] + digest, Mechanism.RSA_PKCS, None


def _der(signature: bytes) -> bytes:
    half = len(signature) // 2
    r, s = int.from_bytes(signature[:half], "big"), int.from_bytes(signature[half:], "big")
    return utils.encode_dss_signature(r, s)
