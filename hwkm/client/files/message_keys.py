"""From a data key to the keys of one encrypted file (``docs/spec/file-format.md``, section Keys).

HKDF-SHA-512 over the data key (32 bytes), salted with the message id, gives the key of header and
frames and a commitment to the data key. The commitment comes first: GCM alone would let one file
open under two keys.
"""

from __future__ import annotations

import hmac
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM
from cryptography.hazmat.primitives.hashes import SHA512
from cryptography.hazmat.primitives.kdf.hkdf import HKDF

from hwkm.client.files.errors import FileDamaged
from hwkm.formats.message import COMMITMENT_BYTES, HEADER_IV, MessageHeader, Suite
from hwkm.secret import SecretBytes

DATA_KEY_BYTES: Final = 32

_DERIVE: Final = b"DERIVEKEY"
_COMMIT: Final = b"COMMITKEY"


def frame_key_of(suite: Suite, message_id: bytes, data_key: SecretBytes) -> SecretBytes:
    """Return the AES-256 key (32 bytes) of a file's header and frames."""
    info = suite.to_bytes(2, "big") + _DERIVE
    return SecretBytes(HKDF(SHA512(), DATA_KEY_BYTES, message_id, info).derive(data_key.expose()))


def commitment_of(message_id: bytes, data_key: SecretBytes) -> bytes:
    """Return the commitment to a data key (32 bytes, public)."""
    return HKDF(SHA512(), COMMITMENT_BYTES, message_id, _COMMIT).derive(data_key.expose())


def header_tag(frame_key: SecretBytes, header: bytes) -> bytes:
    """Return the tag (16 bytes) over every byte of a header before it."""
    return AESGCM(frame_key.expose()).encrypt(HEADER_IV, b"", header)


def verified_frame_key(
    header: MessageHeader, encoded: bytes, tag: bytes, data_key: SecretBytes
) -> SecretBytes:
    """Return the key of a file's frames after checking commitment and header.

    Raises:
        FileDamaged: the header was changed, or the data key is not this file's.
    """
    if len(data_key) != DATA_KEY_BYTES:
        raise FileDamaged("the data key of the file has not 32 bytes")
    if not hmac.compare_digest(commitment_of(header.message_id, data_key), header.commitment):
        raise FileDamaged("the file's header does not belong to its data key")
    frame_key = frame_key_of(header.suite, header.message_id, data_key)
    try:
        AESGCM(frame_key.expose()).decrypt(HEADER_IV, tag, encoded)
    except InvalidTag:
        frame_key.wipe()
        raise FileDamaged("the file's header was changed") from None
    return frame_key
