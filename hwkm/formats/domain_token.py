"""Customer master keys on their way to another module (``docs/spec/domain-token.md``).

The *exchange statement* is what the receiving module says of the key that it will unwrap with; the
*domain token* holds keys wrapped to it. Both are signed; nothing in either is secret.
"""

from __future__ import annotations

import hashlib
import struct
from dataclasses import dataclass
from typing import Final, Self

from hwkm.crypto.labels import DOMAIN_TOKEN, EXCHANGE_FINGERPRINT, EXCHANGE_STATEMENT
from hwkm.errors import FormatError
from hwkm.formats.exchange_bytes import Reader, head, sized, u16
from hwkm.formats.key_kind import KEY_ID_BYTES, KeyKind, KeyName
from hwkm.formats.wrapped_key import BLOB_BYTES_MAX, Backend

EXPORTED_KEYS_MAX: Final = 64
STATEMENT_PART_BYTES_MAX: Final = 2048
DIGEST_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
POINT_BYTES: Final = 65

_ENTRY: Final = struct.Struct(">B16sI")  # kind, key id, version
_PARTS: Final = 3


@dataclass(frozen=True, slots=True)
class ExchangeStatement:
    """A module's word about its exchange key, signed by its identity key.

    ``exchange_key`` and ``identity_key`` are the backend's own encoding of the public halves, ``claims``
    what is said of the exchange key; ``signature`` is r and s. See the specification for each backend.
    """

    backend: Backend
    exchange_key: bytes
    identity_key: bytes
    claims: bytes
    signature: bytes

    def body(self) -> bytes:
        """Every byte before the signature."""
        parts = (self.exchange_key, self.identity_key, self.claims)
        return head(self.backend) + b"".join(sized(part) for part in parts)

    def signed_digest(self) -> bytes:
        """SHA-256 that the identity key signs, where it signs the statement itself."""
        return hashlib.sha256(EXCHANGE_STATEMENT + b"\0" + self.body()).digest()

    def fingerprint(self) -> bytes:
        """What the exporting operator compares: SHA-256 over backend and both public keys, 32 bytes."""
        keys = sized(self.exchange_key) + sized(self.identity_key)
        return hashlib.sha256(EXCHANGE_FINGERPRINT + b"\0" + bytes((self.backend,)) + keys).digest()

    def encode(self) -> bytes:
        """The bytes of the file that the receiving operator hands over."""
        return self.body() + self.signature

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote. Nothing is verified here.

        Raises:
            FormatError: anything is not as it must be.
        """
        reader = Reader(data)
        backend = reader.head()
        exchange_key, identity_key, claims = (reader.sized(STATEMENT_PART_BYTES_MAX) for _ in range(_PARTS))
        signature = reader.take(SIGNATURE_BYTES)
        reader.end()
        return cls(backend, exchange_key, identity_key, claims, signature)


@dataclass(frozen=True, slots=True)
class ExportedKey:
    """One version of a CMK, wrapped to the receiver; ``blob`` (1 to 6,144 bytes) is the backend's own."""

    name: KeyName
    kind: KeyKind
    blob: bytes


@dataclass(frozen=True, slots=True)
class DomainToken:
    """Up to 64 keys for the receiver with that fingerprint, signed by the sender's audit key.

    ``transport`` is what the receiver needs to unwrap all of them (the backend's own).
    """

    backend: Backend
    sender: bytes
    receiver: bytes
    transport: bytes
    keys: tuple[ExportedKey, ...]
    signature: bytes

    def body(self) -> bytes:
        """Every byte before the signature."""
        entries = b"".join(
            _ENTRY.pack(key.kind.code, key.name.key_id, key.name.version) + sized(key.blob)
            for key in self.keys
        )
        start = head(self.backend) + self.sender + self.receiver + sized(self.transport)
        return start + u16(len(self.keys)) + entries

    def signed_digest(self) -> bytes:
        """SHA-256 that the sender's audit key signs."""
        return hashlib.sha256(DOMAIN_TOKEN + b"\0" + self.body()).digest()

    def encode(self) -> bytes:
        """The bytes that are handed over."""
        return self.body() + self.signature

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote. Nothing is verified here.

        Raises:
            FormatError: anything is not as it must be.
        """
        reader = Reader(data)
        backend = reader.head()
        sender, receiver = reader.take(POINT_BYTES), reader.take(DIGEST_BYTES)
        transport = reader.sized(STATEMENT_PART_BYTES_MAX)
        count = reader.u16()
        if not 1 <= count <= EXPORTED_KEYS_MAX:
            raise FormatError(f"a domain token holds 1 to {EXPORTED_KEYS_MAX} keys")
        keys = tuple(_exported(reader) for _ in range(count))
        signature = reader.take(SIGNATURE_BYTES)
        reader.end()
        return cls(backend, sender, receiver, transport, keys, signature)


def _exported(reader: Reader) -> ExportedKey:
    code, key_id, version = _ENTRY.unpack(reader.take(1 + KEY_ID_BYTES + 4))
    return ExportedKey(KeyName(key_id, version), KeyKind.of_code(code), reader.sized(BLOB_BYTES_MAX))
