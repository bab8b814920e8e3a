"""Checks and signatures of an exchange between two modules, the same for every backend."""

from __future__ import annotations

import hashlib
import hmac
from collections.abc import Sequence
from dataclasses import replace
from typing import Final, TypeVar

from cryptography.exceptions import InvalidSignature
from cryptography.hazmat.primitives.asymmetric import ec, utils
from cryptography.hazmat.primitives.hashes import SHA256

from hwkm.crypto.p256 import load_point
from hwkm.errors import ExchangeRefused, ExchangeUnsupported, FormatError, InvalidKeyError
from hwkm.formats.cohort_invitation import CohortInvitation
from hwkm.formats.domain_token import (
    EXPORTED_KEYS_MAX,
    SIGNATURE_BYTES,
    DomainToken,
    ExchangeStatement,
    ExportedKey,
)
from hwkm.formats.wrapped_key import Backend
from hwkm.tokens.token import AuditKey

_PREHASHED: Final = ec.ECDSA(utils.Prehashed(SHA256()))
_UNSIGNED: Final = bytes(SIGNATURE_BYTES)

_Signed = TypeVar("_Signed", ExchangeStatement, DomainToken, CohortInvitation)


def parse_statement(data: bytes, fingerprint: bytes, backend: Backend) -> ExchangeStatement:
    """Read the statement of another module of this kind and compare its fingerprint.

    Its signature is the caller's to verify: what is signed depends on the backend.

    Raises:
        ExchangeRefused: it is damaged, or another module's than the operator named.
        ExchangeUnsupported: it is of another kind of module.
    """
    try:
        statement = ExchangeStatement.parse(data)
    except FormatError as exc:
        raise ExchangeRefused(f"this is not an exchange statement: {exc}") from exc
    _verify_backend(statement.backend, backend)
    if not hmac.compare_digest(statement.fingerprint(), fingerprint):
        raise ExchangeRefused(
            f"the exchange statement has the fingerprint {statement.fingerprint().hex()}, not the one given"
        )
    return statement


def signed(unsigned: _Signed, audit_key: AuditKey) -> bytes:
    """Sign what one module hands to another by its audit key, and return the bytes."""
    return replace(unsigned, signature=audit_key.sign(unsigned.signed_digest())).encode()


def unsigned_statement(
    backend: Backend, exchange_key: bytes, identity: bytes, claims: bytes
) -> ExchangeStatement:
    """Return a statement whose signature is zeros."""
    return ExchangeStatement(backend, exchange_key, identity, claims, _UNSIGNED)


def verify_own_signature(statement: ExchangeStatement) -> None:
    """Check a statement that its identity key (a P-256 point) signed itself.

    Raises:
        ExchangeRefused: it did not.
    """
    verify_signature(statement.identity_key, statement.signature, statement.signed_digest())


def seal_token(
    backend: Backend,
    statement: ExchangeStatement,
    transport: bytes,
    keys: Sequence[ExportedKey],
    audit_key: AuditKey,
) -> bytes:
    """Return the domain token, signed by the sender's audit key."""
    unsigned = DomainToken(
        backend, audit_key.public_key(), statement.fingerprint(), transport, tuple(keys), _UNSIGNED
    )
    return signed(unsigned, audit_key)


def verify_count(keys: Sequence[object]) -> None:
    """Check how many keys go into one domain token.

    Raises:
        ExchangeRefused: none, or too many.
    """
    if not 1 <= len(keys) <= EXPORTED_KEYS_MAX:
        raise ExchangeRefused(f"a domain token holds 1 to {EXPORTED_KEYS_MAX} keys, not {len(keys)}")


def open_token(data: bytes, sender: bytes, receivers: Sequence[bytes], backend: Backend) -> DomainToken:
    """Read a domain token for one of our fingerprints, signed by the named sender.

    Raises:
        ExchangeRefused: it is damaged, another sender's, or for another module.
        ExchangeUnsupported: it is from another kind of module.
    """
    try:
        token = DomainToken.parse(data)
    except FormatError as exc:
        raise ExchangeRefused(f"this is not a domain token: {exc}") from exc
    _verify_backend(token.backend, backend)
    verify_sender(token, sender, "domain token")
    if token.receiver not in receivers:
        raise ExchangeRefused("the domain token is for another module, or for an exchange key that is gone")
    return token


def verify_sender(sent: DomainToken | CohortInvitation, sender: bytes, what: str) -> None:
    """Check that the module whose audit key has the SHA-256 ``sender`` made and signed it.

    Raises:
        ExchangeRefused: it did not; the message names it as ``what``.
    """
    if not hmac.compare_digest(hashlib.sha256(sent.sender).digest(), sender):
        raise ExchangeRefused(f"the {what} was made by another module than the one given")
    verify_signature(sent.sender, sent.signature, sent.signed_digest())


def verify_signature(point: bytes, signature: bytes, digest: bytes) -> None:
    """Check r and s (32 bytes each) of a SHA-256 digest by a P-256 point.

    Raises:
        ExchangeRefused: it is not that key's signature, or not a key.
    """
    r, s = int.from_bytes(signature[:32], "big"), int.from_bytes(signature[32:], "big")
    try:
        load_point(point).verify(utils.encode_dss_signature(r, s), digest, _PREHASHED)
    except (InvalidSignature, InvalidKeyError) as exc:
        raise ExchangeRefused("a signature of the exchange is wrong") from exc


def _verify_backend(found: Backend, wanted: Backend) -> None:
    if found != wanted:
        raise ExchangeUnsupported(
            f"keys go only between modules of one kind; this is of {found.name}, we are {wanted.name}"
        )
