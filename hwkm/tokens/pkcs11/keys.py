"""The cohort key and the audit key as PKCS#11 objects."""

from __future__ import annotations

import secrets
from collections.abc import Iterator, Mapping, Sequence
from typing import Any, Final

from pkcs11 import KDF, PKCS11Error
from pkcs11.constants import DEFAULT, Attribute, MechanismFlag, ObjectClass
from pkcs11.mechanisms import KeyType, Mechanism

from hwkm.errors import AnchorTampered, TokenUnavailable
from hwkm.tokens.pkcs11.errors import translate, translated
from hwkm.tokens.pkcs11.objects import find

# DER of the named curve secp256r1, 1.2.840.10045.3.1.7 (RFC 5480, 2.1.1.1).
P256_PARAMETERS: Final = bytes.fromhex("06082a8648ce3d030107")

_POINT_BYTES: Final = 65
DER_POINT: Final = b"\x04\x41"
"""What comes before a point of P-256: OCTET STRING of 65 bytes (PKCS#11 v3.1, 6.3.3)."""

# The agreed secret lives for microseconds as a session object, to be read and destroyed.
# (The template of an ordinary secret key would be sensitive, so not readable.)
_AGREED_SECRET: Final = {
    Attribute.TOKEN: False,
    Attribute.SENSITIVE: False,
    Attribute.EXTRACTABLE: True,
}


class Pkcs11CohortKey:
    """ECDH inside the token. The handle is found once, at opening."""

    def __init__(self, private_key: Any, public_key: bytes) -> None:
        self._derive = private_key.derive_key
        self._public = public_key

    def public_key(self) -> bytes:
        return self._public

    def agree(self, points: Sequence[bytes]) -> Iterator[bytes]:
        return map(self._agree, points)

    def _agree(self, point: bytes) -> bytes:
        return agreed_secret(self._derive, point, 32, "agreeing with the cohort key")


class Pkcs11AuditKey:
    """ECDSA inside the token, of a digest made outside (plain CKM_ECDSA is the common subset)."""

    def __init__(self, private_key: Any, public_key: bytes) -> None:
        self._private = private_key
        self._public = public_key

    def public_key(self) -> bytes:
        return self._public

    def sign(self, digest: bytes) -> bytes:
        with translated("signing with the audit key"):
            signature: bytes = self._private.sign(digest, mechanism=Mechanism.ECDSA)
        if len(signature) != 64:
            raise TokenUnavailable(f"the token signed {len(signature)} bytes, not 64")
        return signature


def agreed_secret(derive_key: Any, point: bytes, size: int, doing: str) -> bytes:
    """Return the x coordinate (``size`` bytes) of a private key times ``point``, by its ``derive_key``.

    Raises:
        TokenError: the hardware failed; nothing was changed.
    """
    try:
        secret = derive_key(
            KeyType.GENERIC_SECRET,
            8 * size,
            capabilities=0,
            mechanism=Mechanism.ECDH1_DERIVE,
            mechanism_param=(KDF.NULL, None, point),
            template=_AGREED_SECRET,
        )
        value: bytes = secret[Attribute.VALUE]
        secret.destroy()
    except PKCS11Error as exc:
        raise translate(exc, doing) from exc
    if len(value) != size:
        raise TokenUnavailable(f"the token agreed on {len(value)} bytes, not {size}")
    return value


def load_key_pair(session: Any, label: str) -> tuple[Any, bytes]:
    """Return the private key's object and the public point (65 bytes).

    Raises:
        AnchorTampered: there is not exactly one of each.
        TokenError: the hardware failed.
    """
    private = find(session, ObjectClass.PRIVATE_KEY, label)
    public = find(session, ObjectClass.PUBLIC_KEY, label)
    if len(private) != 1 or len(public) != 1:
        raise AnchorTampered(
            f"the token holds {len(private)} private and {len(public)} public keys {label}, not one of each:"
            " set-up was interrupted, or someone changed them"
        )
    return private[0], read_point(public[0], label)


def load_public_key(session: Any, label: str) -> bytes:
    """Return the public point (65 bytes) of a label.

    Raises:
        AnchorTampered: there is not exactly one.
        TokenError: the hardware failed.
    """
    public = find(session, ObjectClass.PUBLIC_KEY, label)
    if len(public) != 1:
        raise AnchorTampered(f"the token holds {len(public)} public keys {label}, not one")
    return read_point(public[0], label)


def read_point(public_key: Any, label: str) -> bytes:
    """Return the point (65 bytes) of a P-256 public key.

    Raises:
        AnchorTampered: it is not one.
        TokenError: the hardware failed.
    """
    with translated(f"reading the public key {label}"):
        value: bytes = public_key[Attribute.EC_POINT]
    # Some tokens leave out the OCTET STRING around the point.
    point = value.removeprefix(DER_POINT) if len(value) == _POINT_BYTES + 2 else value
    if len(point) != _POINT_BYTES:
        raise AnchorTampered(f"the public key {label} in the token is not a P-256 point")
    return point


def generate_key_pair(
    session: Any, label: str, use: MechanismFlag, template: Mapping[Attribute, object] | None = None
) -> bytes:
    """Make a P-256 key pair that cannot leave the token and return its public point (65 bytes).

    ``use`` is DERIVE for the cohort key, SIGN | VERIFY for the audit key; ``template`` another one of the private key.

    Raises:
        TokenError: the hardware failed.
    """
    with translated(f"making the key pair {label}"):
        curve = session.create_domain_parameters(
            KeyType.EC, {Attribute.EC_PARAMS: P256_PARAMETERS}, local=True
        )
        public_key, _ = curve.generate_keypair(
            id=secrets.token_bytes(16),
            label=label,
            store=True,
            capabilities=use,
            public_template={Attribute.MODIFIABLE: False},
            private_template=template or PRIVATE_KEY_TEMPLATE,
        )
    return read_point(public_key, label)


# python-pkcs11 would set these for any key; a private key does not have them (PKCS#11 v3.1, 4.9).
NOT_OF_A_PRIVATE_KEY: Final = dict.fromkeys((Attribute.ENCRYPT, Attribute.VERIFY, Attribute.WRAP), DEFAULT)
PRIVATE_KEY_TEMPLATE: Final = {
    Attribute.PRIVATE: True,
    Attribute.SENSITIVE: True,
    Attribute.EXTRACTABLE: False,
    Attribute.MODIFIABLE: False,
}
