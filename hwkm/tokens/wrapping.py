"""What every kind of token does with a wrapped key before the hardware sees its blob."""

from __future__ import annotations

import hmac

from hwkm.errors import FormatError, KeyUsageInvalid, WrappedKeyRefused
from hwkm.formats.key_kind import KeyKind, KeyName, KeyUsage, SigningAlgorithm
from hwkm.formats.wrapped_key import Backend, WrappedKey


def parse_wrapped(name: KeyName, kind: KeyKind, wrapped: bytes, backend: Backend) -> WrappedKey:
    """Read a wrapped key that should be of this name, kind and backend.

    Raises:
        WrappedKeyRefused: it is not.
    """
    try:
        parsed = WrappedKey.parse(wrapped)
    except FormatError as exc:
        raise refusal(name, kind) from exc
    if (parsed.name, parsed.kind, parsed.backend) != (name, kind, backend):
        raise refusal(name, kind)
    return parsed


def verify_binding(wrapped: WrappedKey, expected: bytes) -> None:
    """Compare the binding with what the hardware computed.

    Raises:
        WrappedKeyRefused: it is another one.
    """
    if not hmac.compare_digest(wrapped.binding, expected):
        raise refusal(wrapped.name, wrapped.kind, wrapped.generation)


def refusal(name: KeyName, kind: KeyKind, generation: int | None = None) -> WrappedKeyRefused:
    """Return the one error for whatever is wrong with a wrapped key."""
    where = "" if generation is None else f", domain key generation {generation}"
    return WrappedKeyRefused(
        f"the stored key {name.key_id.hex()} version {name.version} ({kind}{where}) does not load:"
        " it is damaged, another key's, or its domain key is gone"
    )


def verify_secret_key(kind: KeyKind) -> None:
    """Check that a key of this kind computes HMACs.

    Raises:
        KeyUsageInvalid: it does not.
    """
    if not kind.is_secret_key:
        raise computes_no_hmac(kind)


def verify_signs(kind: KeyKind, algorithm: SigningAlgorithm) -> None:
    """Check that a key of this kind signs by this algorithm.

    Raises:
        KeyUsageInvalid: it does not.
    """
    if algorithm not in kind.signing_algorithms:
        raise does_not_sign(kind, algorithm)


def verify_agrees(kind: KeyKind) -> None:
    """Check that a key of this kind agrees on secrets.

    Raises:
        KeyUsageInvalid: it does not.
    """
    if kind.usage != KeyUsage.KEY_AGREEMENT:
        raise does_not_agree(kind)


def computes_no_hmac(kind: KeyKind) -> KeyUsageInvalid:
    """Return the error for an HMAC asked of a key pair."""
    return KeyUsageInvalid(f"a key of kind {kind} computes no HMAC")


def does_not_sign(kind: KeyKind, algorithm: SigningAlgorithm) -> KeyUsageInvalid:
    """Return the error for a signature that this kind does not make."""
    return KeyUsageInvalid(f"a key of kind {kind} does not sign by {algorithm}")


def does_not_agree(kind: KeyKind) -> KeyUsageInvalid:
    """Return the error for an agreement asked of another kind."""
    return KeyUsageInvalid(f"a key of kind {kind} agrees on no secrets")
