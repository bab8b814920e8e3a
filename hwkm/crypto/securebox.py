"""SecureBox version 2: authenticated encryption to a public key, a shared secret, or both.

P-256 ECDH, HKDF-SHA-256 (RFC 5869), AES-128-GCM (NIST SP 800-38D), the caller's header as
associated data. Byte-compatible with AOSP ``SecureBox.java``; the bytes are in
``docs/spec/securebox.md``. The format does not say which mode it is in: the receiver decides by
whether it has a private key.

:func:`decrypt` takes the private key as a scalar. For a private key that never leaves its hardware the
same is done in three steps: :func:`sender_point`, ECDH elsewhere, :func:`decrypt_agreed`.
"""

from __future__ import annotations

import os
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA256
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hwkm.crypto import p256
from hwkm.errors import DecryptionError, InvalidKeyError

VERSION: Final = b"\x02\x00"
NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
KEY_BYTES: Final = 16

SHARED_OVERHEAD_BYTES: Final = len(VERSION) + NONCE_BYTES + TAG_BYTES
PUBLIC_OVERHEAD_BYTES: Final = SHARED_OVERHEAD_BYTES + p256.POINT_BYTES

_SALT: Final = b"SECUREBOX" + VERSION
_INFO_PUBLIC: Final = b"P256 HKDF-SHA-256 AES-128-GCM"
_INFO_SHARED: Final = b"SHARED HKDF-SHA-256 AES-128-GCM"


def encrypt(their_public_key: bytes | None, shared_secret: bytes, header: bytes, payload: bytes) -> bytes:
    """Seal ``payload`` to a public key (65-byte point), a shared secret, or both.

    Returns ``len(payload)`` plus 95 bytes with a public key, plus 30 without.

    Raises:
        InvalidKeyError: the point is not on P-256, or there is neither key nor secret.
    """
    _require_key_material(their_public_key, shared_secret)
    nonce = os.urandom(NONCE_BYTES)
    if not their_public_key:
        key = _derive_key(b"", shared_secret, _INFO_SHARED)
        return VERSION + nonce + AESGCM(key).encrypt(nonce, payload, header)
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    agreed = ephemeral.exchange(ec.ECDH(), p256.load_point(their_public_key))
    key = _derive_key(agreed, shared_secret, _INFO_PUBLIC)
    sender = p256.encode_point(ephemeral.public_key())
    return VERSION + sender + nonce + AESGCM(key).encrypt(nonce, payload, header)


def decrypt(our_private_key: bytes | None, shared_secret: bytes, header: bytes, ciphertext: bytes) -> bytes:
    """Open a box with a private key (32-byte big-endian scalar), a shared secret, or both.

    Raises:
        DecryptionError: anything at all is wrong with the ciphertext, header or secret.
        InvalidKeyError: the scalar is not a P-256 private key, or neither key nor secret given.
    """
    _require_key_material(our_private_key, shared_secret)
    if not our_private_key:
        rest = _strip_version(ciphertext, SHARED_OVERHEAD_BYTES)
        return _open(_derive_key(b"", shared_secret, _INFO_SHARED), header, rest)
    private_key = p256.load_scalar(our_private_key)
    agreed = private_key.exchange(ec.ECDH(), p256.load_point(sender_point(ciphertext)))
    return decrypt_agreed(agreed, shared_secret, header, ciphertext)


def sender_point(ciphertext: bytes) -> bytes:
    """Return the sender's point (65 bytes) of a box to a public key.

    It is on the curve: any other would leak the private key (invalid-curve attack).

    Raises:
        DecryptionError: as :func:`decrypt`.
    """
    point = _strip_version(ciphertext, PUBLIC_OVERHEAD_BYTES)[: p256.POINT_BYTES]
    try:
        p256.load_point(point)
    except InvalidKeyError:
        raise DecryptionError("the box does not open") from None
    return point


def decrypt_agreed(agreed: bytes, shared_secret: bytes, header: bytes, ciphertext: bytes) -> bytes:
    """Open a box to a public key; ``agreed`` is the x coordinate of private key times sender's point.

    Raises:
        DecryptionError: as :func:`decrypt`.
    """
    rest = _strip_version(ciphertext, PUBLIC_OVERHEAD_BYTES)[p256.POINT_BYTES :]
    return _open(_derive_key(agreed, shared_secret, _INFO_PUBLIC), header, rest)


def _require_key_material(key: object, shared_secret: bytes) -> None:
    if not key and not shared_secret:
        raise InvalidKeyError("a SecureBox needs a key, a shared secret, or both")


def _strip_version(ciphertext: bytes, overhead: int) -> bytes:
    if len(ciphertext) < overhead or ciphertext[: len(VERSION)] != VERSION:
        raise DecryptionError("the box does not open")
    return ciphertext[len(VERSION) :]


def _open(key: bytes, header: bytes, rest: bytes) -> bytes:
    try:
        return AESGCM(key).decrypt(rest[:NONCE_BYTES], rest[NONCE_BYTES:], header)
    except InvalidTag:
        raise DecryptionError("the box does not open") from None


def _derive_key(agreed: bytes, shared_secret: bytes, info: bytes) -> bytes:
    return HKDF(SHA256(), KEY_BYTES, _SALT, info).derive(agreed + shared_secret)
