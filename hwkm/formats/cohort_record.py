"""What a TPM keeps about a cohort key of several members (``docs/spec/evidence.md``).

The terms of its policy, the word of the first member's TPM that it made the key, and who was invited. Nothing
in it is secret. The terms prove themselves by the key's authPolicy, the TPM's word by its signature.

========  ============================================================================
size      field
========  ============================================================================
1         format, 1
2         invited: bit k is set once member k was invited, u16 big endian; in the first
          member only
2 + n     terms (:mod:`hwkm.formats.cohort_terms`), u16 length first
2 + n     attestation key of the first member, TPMT_PUBLIC
2 + n     TPMS_CREATION_DATA of the cohort key
2 + n     TPMS_ATTEST of TPM2_CertifyCreation
64        its signature by the attestation key: r, s, 32 bytes BE each
32 * n    fingerprints of the requests of members 1, 2, ...
========  ============================================================================
"""

from __future__ import annotations

from dataclasses import dataclass, replace
from typing import Final, Self

from hwkm.errors import FormatError
from hwkm.formats.cohort_terms import CohortTerms

RECORD_BYTES_MAX: Final = 2000
FINGERPRINT_BYTES: Final = 32
SIGNATURE_BYTES: Final = 64
HEAD_BYTES: Final = 3
"""Format and invited: all that ever changes."""

_FORMAT: Final = 1
_PART_BYTES_MAX: Final = 512


@dataclass(frozen=True, slots=True)
class CohortRecord:
    """See the table above. ``fingerprints`` has one for each of ``terms.parents``, in their order."""

    terms: CohortTerms
    attestation_key: bytes
    creation_data: bytes
    attest: bytes
    signature: bytes
    fingerprints: tuple[bytes, ...]
    invited_bits: int = 0

    def __post_init__(self) -> None:
        if len(self.fingerprints) != len(self.terms.parents):
            raise FormatError("the record of a cohort has not as many fingerprints as other members")
        if not 0 <= self.invited_bits < 1 << self.terms.members or self.invited_bits & 1:
            raise FormatError("the record of a cohort says that one was invited who is not named")

    @property
    def invited(self) -> dict[int, bytes]:
        """The fingerprints of those who were invited, by their numbers."""
        numbered = enumerate(self.fingerprints, start=1)
        return {number: fingerprint for number, fingerprint in numbered if self.invited_bits >> number & 1}

    def with_invited(self, number: int) -> Self:
        """The record once that member was invited."""
        return replace(self, invited_bits=self.invited_bits | 1 << number)

    def encode(self) -> bytes:
        """Return the bytes of the table above."""
        parts = (self.terms.encode(), self.attestation_key, self.creation_data, self.attest)
        head = bytes((_FORMAT,)) + self.invited_bits.to_bytes(2, "big")
        return head + b"".join(map(_sized, parts)) + self.signature + b"".join(self.fingerprints)

    @classmethod
    def parse(cls, data: bytes) -> Self:
        """Read what :meth:`encode` wrote. Nothing is verified here.

        Raises:
            FormatError: anything is not as it must be.
        """
        if data[:1] != bytes((_FORMAT,)) or not HEAD_BYTES < len(data) <= RECORD_BYTES_MAX:
            raise FormatError("the record of a cohort has another format or length")
        rest = data[HEAD_BYTES:]
        terms, rest = _split(rest)
        attestation_key, rest = _split(rest)
        creation_data, rest = _split(rest)
        attest, rest = _split(rest)
        signature, prints = rest[:SIGNATURE_BYTES], rest[SIGNATURE_BYTES:]
        if len(signature) != SIGNATURE_BYTES or len(prints) % FINGERPRINT_BYTES:
            raise FormatError("the record of a cohort is cut short")
        fingerprints = tuple(
            prints[at : at + FINGERPRINT_BYTES] for at in range(0, len(prints), FINGERPRINT_BYTES)
        )
        invited_bits = int.from_bytes(data[1:HEAD_BYTES], "big")
        parts = attestation_key, creation_data, attest, signature
        return cls(CohortTerms.parse(terms), *parts, fingerprints, invited_bits)


def _sized(part: bytes) -> bytes:
    return len(part).to_bytes(2, "big") + part


def _split(data: bytes) -> tuple[bytes, bytes]:
    end = 2 + int.from_bytes(data[:2], "big")
    if not 2 < end <= min(len(data), 2 + _PART_BYTES_MAX):
        raise FormatError("a part of the record of a cohort is cut short, empty or too long")
    return data[2:end], data[end:]
