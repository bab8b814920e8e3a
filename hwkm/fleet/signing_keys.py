"""The keys that sign lists: whose they are, and whether they are strong enough.

Two parties answer for a fleet, the *operator*, who runs the THMs, and the *auditor*, who does not.
Each key in TUF's root metadata says whose it is in the field ``x-hwkm-party``; keys of the online
roles have none.
"""

from __future__ import annotations

from collections.abc import Iterable
from enum import StrEnum
from typing import Final

from cryptography.exceptions import UnsupportedAlgorithm
from cryptography.hazmat.primitives.asymmetric import ec, ed25519, rsa
from cryptography.hazmat.primitives.serialization import load_pem_public_key
from securesystemslib.signer import Key, SSlibKey

from hwkm.errors import FormatError, WeakKey

RSA_BITS_MIN: Final = 3072
PUBLIC_KEY_BYTES_MAX: Final = 16 * 1024
PARTY_FIELD: Final = "x-hwkm-party"

_SCHEMES: Final = frozenset(
    {"ed25519", "ecdsa-sha2-nistp256", "ecdsa-sha2-nistp384", "rsassa-pss-sha256", "rsassa-pss-sha512"}
)


class Party(StrEnum):
    """Who answers for a key."""

    OPERATOR = "operator"
    AUDITOR = "auditor"


def import_public_key(pem: bytes, party: Party | None) -> SSlibKey:
    """Read a public key (PEM, SubjectPublicKeyInfo) of a party, or of an online role.

    Raises:
        FormatError: it is not a public key.
        WeakKey: RSA under 3072 bits, or neither RSA, Ed25519, P-256 nor P-384.
    """
    if len(pem) > PUBLIC_KEY_BYTES_MAX:
        raise FormatError(f"a public key has at most {PUBLIC_KEY_BYTES_MAX} bytes")
    try:
        public_key = load_pem_public_key(pem)
    except (ValueError, UnsupportedAlgorithm):
        raise FormatError("not a public key in PEM (SubjectPublicKeyInfo)") from None
    if not _is_strong(public_key):
        raise WeakKey(f"a key must be Ed25519, P-256, P-384, or RSA of at least {RSA_BITS_MIN} bits")
    key = SSlibKey.from_crypto(public_key)
    if party is not None:
        key.unrecognized_fields[PARTY_FIELD] = str(party)
    return key


def verify_strength(key: Key) -> None:
    """Check a key that came with metadata.

    Raises:
        WeakKey: it is weak, or of a kind that is not known.
    """
    if isinstance(key, SSlibKey) and key.scheme in _SCHEMES:
        try:
            if _is_strong(key._crypto_key()):
                return
        except (ValueError, TypeError, KeyError, UnsupportedAlgorithm):
            pass
    raise WeakKey(f"key {key.keyid[:16]}… is weak or of an unknown kind")


def party_of(key: Key) -> Party:
    """Whose key it is.

    Raises:
        FormatError: it does not say, or names nobody who answers for a fleet.
    """
    try:
        return Party(key.unrecognized_fields[PARTY_FIELD])
    except (KeyError, ValueError, TypeError):
        raise FormatError(f"key {key.keyid[:16]}… does not say whose it is") from None


def keys_of(party: Party, keys: Iterable[Key]) -> list[Key]:
    """The keys of one party.

    Raises:
        FormatError: as :func:`party_of`.
    """
    return [key for key in keys if party_of(key) is party]


def material(key: Key) -> str:
    """What makes the key itself, apart from its name and owner."""
    return str(key.keyval["public"]).strip()


def _is_strong(public_key: object) -> bool:
    match public_key:
        case rsa.RSAPublicKey(key_size=bits):
            return bits >= RSA_BITS_MIN
        case ec.EllipticCurvePublicKey(curve=curve):
            return isinstance(curve, ec.SECP256R1 | ec.SECP384R1)
        case _:
            return isinstance(public_key, ed25519.Ed25519PublicKey)
