"""A cohort key on its way into the module of another member (``docs/spec/cohort.md``).

The *membership request* is what the joining module says of the key that it will unwrap with; the
*invitation* holds the cohort key wrapped to it, for one member number. Nothing in either is secret.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final, Self

from hwkm.crypto.labels import COHORT_INVITATION
from hwkm.errors import FormatError
from hwkm.formats.domain_token import (
    DIGEST_BYTES,
    POINT_BYTES,
    SIGNATURE_BYTES,
    STATEMENT_PART_BYTES_MAX,
    ExchangeStatement,
)
from hwkm.formats.exchange_bytes import Reader, head, sized
from hwkm.formats.membership import MEMBERS_MAX
from hwkm.formats.wrapped_key import BLOB_BYTES_MAX, Backend

MEMBERS_MIN: Final = 2
PROOF_BYTES_MAX: Final = 4096
REQUEST_BYTES_MAX: Final = 12 * 1024
"""More than any request or invitation has."""

_STATEMENT_BYTES_MAX: Final = 2 + 3 * (2 + STATEMENT_PART_BYTES_MAX) + SIGNATURE_BYTES


@dataclass(frozen=True, slots=True)
class MembershipRequest:
    """The statement about the key to wrap to, and the backend's own ``proof`` of more (0 to 4,096 bytes).

    What the proof must show, and how it is bound to the statement, is the backend's to check.
    """

    statement: ExchangeStatement
    proof: bytes = b""

    @property
    def backend(self) -> Backend:
        """What kind of module asks."""
        return self.statement.backend

    def fingerprint(self) -> bytes:
        """What the first member's operator compares, 32 bytes: that of the statement."""
        return self.statement.fingerprint()

    def encode(self) -> bytes:
        """The bytes of the file."""
        return head(self.backend) + sized(self.statement.encode()) + sized(self.proof)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote. Nothing is verified here.

        Raises:
            FormatError: anything is not as it must be.
        """
        reader = Reader(data)
        backend = reader.head()
        statement = ExchangeStatement.parse(reader.sized(_STATEMENT_BYTES_MAX))
        if statement.backend != backend:
            raise FormatError("request and statement are of two kinds of modules")
        proof = reader.sized(PROOF_BYTES_MAX, least=0)
        reader.end()
        return cls(statement, proof)


@dataclass(frozen=True, slots=True)
class CohortInvitation:
    """The cohort key for the receiver with that fingerprint, as member ``number`` (1 to ``members`` - 1).

    ``transport`` is what the receiver needs to unwrap ``blob`` (both the backend's own); ``sender`` is
    the point of the first member's audit key, which signs.
    """

    backend: Backend
    sender: bytes
    receiver: bytes
    cohort_public_key: bytes
    number: int
    members: int
    transport: bytes
    blob: bytes
    signature: bytes

    def body(self) -> bytes:
        """Every byte before the signature."""
        place = bytes((self.number, self.members))
        keys = self.sender + self.receiver + self.cohort_public_key
        return head(self.backend) + keys + place + sized(self.transport) + sized(self.blob)

    def signed_digest(self) -> bytes:
        """SHA-256 that the sender's audit key signs."""
        return hashlib.sha256(COHORT_INVITATION + b"\0" + self.body()).digest()

    def encode(self) -> bytes:
        """The bytes of the file."""
        return self.body() + self.signature

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote. Nothing is verified here.

        Raises:
            FormatError: anything is not as it must be.
        """
        reader = Reader(data)
        backend = reader.head()
        sender, receiver, key = reader.take(POINT_BYTES), reader.take(DIGEST_BYTES), reader.take(POINT_BYTES)
        number, members = reader.take(2)
        if not (MEMBERS_MIN <= members <= MEMBERS_MAX and 1 <= number < members):
            raise FormatError(f"nobody is invited as member {number} of {members}")
        transport, blob = reader.sized(STATEMENT_PART_BYTES_MAX), reader.sized(BLOB_BYTES_MAX)
        signature = reader.take(SIGNATURE_BYTES)
        reader.end()
        return cls(backend, sender, receiver, key, number, members, transport, blob, signature)
