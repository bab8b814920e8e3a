"""How a TPM's secrets are protected on their way to it (TPM 2.0 library, part 1; annexes B and C).

The seed of a protection is told to the holder of a storage or endorsement key, by ECDH on P-256 or by
RSAES-OAEP; keys come from it by KDFa. Hash SHA-256, cipher AES-128-CFB.
"""

from __future__ import annotations

import hashlib
import hmac
from typing import Final

from cryptography.hazmat.decrepit.ciphers.modes import CFB
from cryptography.hazmat.primitives.asymmetric import ec, padding, rsa
from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES
from cryptography.hazmat.primitives.hashes import SHA256

from hwkm.crypto.p256 import encode_point, load_point
from hwkm.secret import SecretBytes

IDENTITY: Final = b"IDENTITY\0"
"""The label of credentials."""


def kdfa(key: bytes, label: bytes, context: bytes, length: int) -> bytes:
    """Return KDFa (SP 800-108 counter mode, HMAC-SHA-256), at most one block of 32 bytes."""
    block = b"\0\0\0\1" + label + context + (8 * length).to_bytes(4, "big")
    return hmac.digest(key, block, "sha256")[:length]


def share_secret(point: bytes, label: bytes) -> tuple[SecretBytes, bytes]:
    """Return a fresh secret (32 bytes) and what tells it to the holder of a P-256 key (part 1, annex C)."""
    ephemeral = ec.generate_private_key(ec.SECP256R1())
    shared = ephemeral.exchange(ec.ECDH(), load_point(point))
    ephemeral_point = encode_point(ephemeral.public_key())
    ephemeral_x, ephemeral_y, x = ephemeral_point[1:33], ephemeral_point[33:], point[1:33]
    # KDFe: one block of SHA-256 is all that is asked for.
    secret = hashlib.sha256(b"\0\0\0\1" + shared + label + ephemeral_x + x).digest()
    return SecretBytes(secret), _sized(ephemeral_x) + _sized(ephemeral_y)


def encrypt_seed(modulus: int, seed: bytes, label: bytes) -> bytes:
    """Return what tells a seed to the holder of an RSA key with the exponent 65537 (part 1, annex B)."""
    key = rsa.RSAPublicNumbers(65537, modulus).public_key()
    return key.encrypt(seed, padding.OAEP(padding.MGF1(SHA256()), SHA256(), label))


def protect_credential(seed: bytes, name: bytes, secret: bytes) -> bytes:
    """Return the content of TPM2B_ID_OBJECT: a secret for who has the seed and the object ``name``."""
    cipher = Cipher(AES(kdfa(seed, b"STORAGE\0", name, 16)), CFB(bytes(16)))
    identity = cipher.encryptor().update(_sized(secret))
    integrity = hmac.digest(kdfa(seed, b"INTEGRITY\0", b"", 32), identity + name, "sha256")
    return _sized(integrity) + identity


def _sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data
