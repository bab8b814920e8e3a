"""Checks that hold for every kind of token: public and private halves belong together.

A public key is what clients seal to, and in some tokens it is an object of its own that can be
replaced without the PIN. So it is never believed until the private half has proved itself.
"""

from __future__ import annotations

import hashlib
import secrets

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from hwkm.crypto.p256 import encode_point, load_point
from hwkm.errors import AnchorTampered, InvalidKeyError
from hwkm.formats.anchor import AnchorState
from hwkm.thm.ports import CohortKey
from hwkm.tokens.token import AuditKey


def cohort_digest(public_key: bytes) -> bytes:
    """Return what the anchor holds of a cohort public key: its SHA-256."""
    return hashlib.sha256(public_key).digest()


def verify_cohort(state: AnchorState, public_key: bytes) -> None:
    """Check that the anchor was made for this cohort key.

    Raises:
        AnchorTampered: it was not.
    """
    if state.cohort != cohort_digest(public_key):
        raise AnchorTampered("the cohort key in the token is not the one its anchor was made for")


def verify_key_pairs(cohort_key: CohortKey, audit_key: AuditKey) -> None:
    """Use both keys once and check the result against their public halves.

    Raises:
        AnchorTampered: a public key in the token is not that of its private key.
        TokenError: the hardware failed.
    """
    try:
        _verify_agreement(cohort_key)
        _verify_signature(audit_key)
    except InvalidKeyError as exc:
        raise AnchorTampered("a public key in the token is not a point on P-256") from exc


def _verify_agreement(key: CohortKey) -> None:
    peer = ec.generate_private_key(ec.SECP256R1())
    expected = peer.exchange(ec.ECDH(), load_point(key.public_key()))
    (agreed,) = key.agree([encode_point(peer.public_key())])
    if not secrets.compare_digest(expected, agreed):
        raise AnchorTampered("the cohort public key in the token is not that of its private key")


def _verify_signature(key: AuditKey) -> None:
    digest = secrets.token_bytes(32)
    signature = key.sign(digest)
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    prehashed = ec.ECDSA(utils.Prehashed(SHA256()))
    try:
        load_point(key.public_key()).verify(utils.encode_dss_signature(r, s), digest, prehashed)
    except InvalidSignature as exc:
        raise AnchorTampered("the audit public key in the token is not that of its private key") from exc
