"""What a token offers the trusted core: the same for PKCS#11, TPM 2.0 and memory.

One process opens one token, and one thread uses it. Implementations translate every error of
their library into :mod:`hwkm.errors` at their own edge.
"""

from __future__ import annotations

from dataclasses import dataclass
from typing import Protocol

from hwkm.formats.evidence import Answer, Challenge, Pkcs11Module, TpmModule
from hwkm.formats.membership import Membership
from hwkm.thm.ports import RANDOM_BYTES_MAX, Anchor, CohortKey, Domain

__all__ = ["RANDOM_BYTES_MAX", "AuditKey", "Token", "TokenDescription"]


class AuditKey(Protocol):
    """The P-256 key pair that signs checkpoints of the audit log."""

    def public_key(self) -> bytes:
        """Return the public point, 65 bytes uncompressed (SEC 1, 2.3.3). Cached, no I/O."""
        ...

    def sign(self, digest: bytes) -> bytes:
        """Return the ECDSA signature of a SHA-256 ``digest`` (32 bytes): r and s, 32 bytes each.

        Raises:
            TokenError: the hardware failed; nothing was changed.
        """
        ...


@dataclass(frozen=True, slots=True)
class TokenDescription:
    """What the token says about itself, for ``hwkm status`` and ``hwkm doctor``.

    ``nv_bytes_free`` (room for data objects) and ``persistent_keys_free`` (a TPM's own estimate
    of how many more keys fit) are None where the token does not tell. ``domain_trusted`` says whether the
    newest domain key is marked by the security officer; None where there is no such thing.
    """

    kind: str
    manufacturer: str
    model: str
    label: str
    serial: str
    firmware: str
    nv_bytes_free: int | None = None
    persistent_keys_free: int | None = None
    domain_trusted: bool | None = None


class Token(Protocol):
    """An opened token with its keys and its anchor. Close it when done."""

    @property
    def cohort_key(self) -> CohortKey:
        """The key pair of the cohort."""
        ...

    @property
    def anchor(self) -> Anchor:
        """The anchor of the attempt state."""
        ...

    @property
    def membership(self) -> Membership:
        """Which member of its cohort this module is, as its anchor says. Cached, no I/O."""
        ...

    @property
    def audit_key(self) -> AuditKey:
        """The key pair of the audit log."""
        ...

    @property
    def domain(self) -> Domain | None:
        """The domain keys of the key service; None where the token holds none."""
        ...

    def random(self, length: int) -> bytes:
        """Return ``length`` bytes (0 to RANDOM_BYTES_MAX) of the hardware's random generator.

        Raises:
            TokenError: the hardware failed.
        """
        ...

    def verify_key_policy(self) -> None:
        """Check that both keys can never leave the hardware and do only their own job.

        Raises:
            KeyExposedError: the message names the key and the attribute.
            TokenError: the hardware failed.
        """
        ...

    def describe(self) -> TokenDescription:
        """Return what the token says about itself.

        Raises:
            TokenError: the hardware failed.
        """
        ...

    def evidence(self, nonce: bytes, intermediates: tuple[bytes, ...] = ()) -> TpmModule | Pkcs11Module:
        """Return what the hardware says of both keys, for others to check, about a nonce of 32 bytes.

        ``intermediates`` are certificates (DER) that belong between a TPM's and its maker's root.

        Raises:
            EvidenceUnavailable: it says nothing of them, or not now.
            TokenError: the hardware failed.
        """
        ...

    def answer(self, challenge: Challenge) -> Answer:
        """Let the hardware read what only it can read.

        Raises:
            EvidenceUnavailable: it is for another module, or this kind of hardware cannot do it.
            TokenError: the hardware failed.
        """
        ...

    def close(self) -> None:
        """Log out and let go of the hardware. May be called again. Never raises a TokenError."""
        ...
