"""What checking evidence has found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum

from cryptography import x509

from hwkm.tlog.note_keys import NoteKey


class Proof(StrEnum):
    """Who vouches for a finding."""

    HARDWARE = "hardware"
    OPERATOR = "operator"


@dataclass(frozen=True, slots=True)
class Finding:
    """Something that was found: proved by hardware, or the operator's word; ``by`` says by which keys."""

    what: str
    proof: Proof
    by: str


@dataclass(frozen=True, slots=True)
class Trust:
    """What the reader of evidence trusts: roots of TPM makers, and people who challenged a TPM.

    ``at_s`` is the time at which certificates must be valid, in seconds since 1970.
    """

    at_s: int
    ek_roots: tuple[x509.Certificate, ...] = ()
    challengers: tuple[NoteKey, ...] = ()


OPERATORS_WORD = "the operator's word"
