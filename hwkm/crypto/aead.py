"""AES-256-GCM (NIST SP 800-38D) with a key that encrypts one message only.

Such a key never meets a second nonce, so the nonce is fixed: 12 zero bytes.
"""

from __future__ import annotations

from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hwkm.errors import DecryptionError, InvalidKeyError

MESSAGE_KEY_BYTES: Final = 32
TAG_BYTES: Final = 16

_NONCE: Final = bytes(12)
_WRONG_LENGTH: Final = f"a message key has {MESSAGE_KEY_BYTES} bytes"


def encrypt_once(message_key: bytes, plaintext: bytes, associated_data: bytes) -> bytes:
    """Encrypt the one message of ``message_key`` (32 bytes); returns it 16 bytes longer.

    Raises:
        InvalidKeyError: the key has another length.
    """
    if len(message_key) != MESSAGE_KEY_BYTES:
        raise InvalidKeyError(_WRONG_LENGTH)
    return AESGCM(message_key).encrypt(_NONCE, plaintext, associated_data)


def decrypt_once(message_key: bytes, sealed: bytes, associated_data: bytes) -> bytes:
    """Decrypt what :func:`encrypt_once` made.

    Raises:
        DecryptionError: wrong key, wrong associated data, or damage.
        InvalidKeyError: the key has another length.
    """
    if len(message_key) != MESSAGE_KEY_BYTES:
        raise InvalidKeyError(_WRONG_LENGTH)
    try:
        return AESGCM(message_key).decrypt(_NONCE, sealed, associated_data)
    except InvalidTag:
        raise DecryptionError("the ciphertext does not decrypt") from None
