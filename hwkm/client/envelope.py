"""One record (a row, a message) under a data key of its own, which is wrapped beside it. Nothing is cached.

>>> with KeyClient() as client:
...     sealed = client.seal("alias/letters", b"Dear ...", {"table": "letters", "id": "17"})
...     # keep sealed.wrapped in one column, sealed.ciphertext in another
...     with client.open(sealed, {"table": "letters", "id": "17"}) as plaintext:
...         assert plaintext.expose() == b"Dear ..."

A context that names the row keeps its contents from being moved to another. The bytes are in
``docs/spec/file-format.md``, section Rows; whole files are the business of :mod:`hwkm.client.files`.
"""

from __future__ import annotations

import secrets
from dataclasses import dataclass
from typing import Final

from cryptography.exceptions import InvalidTag
from cryptography.hazmat.primitives.ciphers.aead import AESGCM

from hwkm.client.data_key import DataKey
from hwkm.client.key_procedures import Context
from hwkm.errors import DecryptionError
from hwkm.formats.context import encode_context
from hwkm.secret import SecretBytes

NONCE_BYTES: Final = 12
TAG_BYTES: Final = 16
OVERHEAD_BYTES: Final = NONCE_BYTES + TAG_BYTES


@dataclass(frozen=True, slots=True)
class Sealed:
    """The wrapped data key, which rewrapping exchanges, and the ciphertext, which it does not touch."""

    wrapped: bytes
    ciphertext: bytes


def seal(data_key: DataKey, plaintext: bytes, context: Context) -> Sealed:
    """Seal a record under a data key used for nothing else; 28 bytes longer than the plaintext."""
    nonce = secrets.token_bytes(NONCE_BYTES)
    cipher = AESGCM(data_key.plaintext.expose())
    return Sealed(data_key.wrapped, nonce + cipher.encrypt(nonce, plaintext, encode_context(context)))


def open_sealed(data_key: SecretBytes, ciphertext: bytes, context: Context) -> SecretBytes:
    """Open a record.

    Raises:
        DecryptionError: it was changed, moved or cut, or the data key is another's.
    """
    if len(ciphertext) < OVERHEAD_BYTES or len(data_key) != 32:
        raise DecryptionError("the record does not open")
    nonce, sealed = ciphertext[:NONCE_BYTES], ciphertext[NONCE_BYTES:]
    try:
        return SecretBytes(AESGCM(data_key.expose()).decrypt(nonce, sealed, encode_context(context)))
    except InvalidTag:
        raise DecryptionError("the record does not open") from None
