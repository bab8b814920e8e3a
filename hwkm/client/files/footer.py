"""The signature at the end of a file of suite 0x0578, which hwkm reads and does not write.

ECDSA on P-384 with SHA-384 over every byte before the footer. Its public key is a compressed
point, in base64, in the encryption context, and so authenticated by whoever wrapped the data key.
"""

from __future__ import annotations

import base64
import binascii
from typing import Final

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec
from cryptography.hazmat.primitives.asymmetric.utils import Prehashed
from cryptography.hazmat.primitives.hashes import SHA384, Hash

from hwkm.client.files.errors import FileDamaged
from hwkm.client.files.frames import Source
from hwkm.formats.message import MessageHeader

PUBLIC_KEY_PAIR: Final = "aws-crypto-public-key"
"""Key of the pair that holds the public key."""

_SIGNATURE_BYTES_MAX: Final = 128


class HashedSource:
    """A source that hashes what is read from it."""

    def __init__(self, source: Source) -> None:
        self._source = source
        self._hash = Hash(SHA384())

    def read(self, size: int) -> bytes:
        """As the source, remembered in the digest."""
        data = self._source.read(size)
        self._hash.update(data)
        return data

    def update(self, data: bytes) -> None:
        """Take in what was read before."""
        self._hash.update(data)

    def verify_footer(self, header: MessageHeader) -> None:
        """Read the footer and verify its signature over all that was read so far.

        Raises:
            FileDamaged: it is missing or wrong.
        """
        key = _public_key(header)
        length = self._source.read(2)
        size = int.from_bytes(length, "big")
        if len(length) < 2 or size > _SIGNATURE_BYTES_MAX:
            raise FileDamaged("the file's signature is missing or too long")
        try:
            key.verify(self._source.read(size), self._hash.finalize(), ec.ECDSA(Prehashed(SHA384())))
        except InvalidSignature:
            raise FileDamaged("the file's signature is wrong") from None


def _public_key(header: MessageHeader) -> ec.EllipticCurvePublicKey:
    text = header.context.get(PUBLIC_KEY_PAIR, "")
    try:
        point = base64.b64decode(text, validate=True)
        return ec.EllipticCurvePublicKey.from_encoded_point(ec.SECP384R1(), point)
    except (binascii.Error, ValueError):
        raise FileDamaged(f"the file is signed and its context holds no {PUBLIC_KEY_PAIR}") from None
