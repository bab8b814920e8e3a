"""Errors on the wire: one table from error class to code and HTTP status, both ways.

The body of an error answer is ``{"error": {"code": …, "message": …, …facts}}``. Codes are
stable; messages are for people and are never parsed. ``docs/errors.md`` is generated from here.
"""

from __future__ import annotations

from typing import Final

import msgspec

from hwkm import errors
from hwkm.errors import HwkmError, RateLimited, VaultElsewhere, WrongKnowledgeFactor


class Problem(msgspec.Struct, frozen=True, omit_defaults=True, kw_only=True):
    """An error as the client sees it. Unknown facts from a newer daemon are ignored."""

    code: str
    message: str
    attempts_remaining: int | None = None
    retry_after_ms: int | None = None
    member: int | None = None
    members: int | None = None


class ProblemBody(msgspec.Struct, frozen=True):
    """The JSON body of every answer that is not a success."""

    error: Problem


HTTP_STATUS: Final[dict[type[HwkmError], int]] = {
    HwkmError: 500,
    errors.FormatError: 400,
    errors.InvalidKeyError: 400,
    errors.ParamsRefused: 400,
    errors.CohortMismatch: 409,
    errors.VaultElsewhere: 421,
    errors.ChallengeRefused: 409,
    errors.ClaimRefused: 400,
    errors.WrongKnowledgeFactor: 403,
    errors.VaultLocked: 410,
    errors.VaultSuspended: 503,
    errors.RateLimited: 429,
    errors.VaultNotFound: 404,
    errors.VaultExists: 409,
    errors.SnapshotConflict: 409,
    errors.KeyNotFound: 404,
    errors.InvalidArn: 400,
    errors.KeyDisabled: 409,
    errors.KeyStateInvalid: 409,
    errors.CiphertextInvalid: 400,
    errors.IncorrectKey: 400,
    errors.MacInvalid: 400,
    errors.SignatureInvalid: 400,
    errors.AliasExists: 409,
    errors.TagInvalid: 400,
    errors.MarkerInvalid: 400,
    errors.DryRunSucceeded: 412,
    errors.DomainRotating: 409,
    errors.AccessDenied: 403,
    errors.LimitExceeded: 413,
    errors.Unavailable: 503,
    errors.StorageMismatch: 503,
    errors.StorageUnavailable: 503,
    errors.AuditError: 503,
    errors.LogError: 503,
    errors.NoteUnverified: 400,
    errors.NotIncluded: 409,
    errors.NotConsistent: 409,
    errors.RolledBack: 409,
    errors.TokenError: 503,
    errors.TokenUnavailable: 503,
    errors.EvidenceUnavailable: 409,
    errors.TokenBusy: 503,
    errors.TokenFull: 503,
    errors.TokenPinIncorrect: 503,
    errors.TokenPinLocked: 503,
    errors.TokenNotProvisioned: 503,
    errors.TokenAlreadyProvisioned: 409,
    errors.TokenInUse: 503,
    errors.KeyExposedError: 503,
    errors.DomainNotProvisioned: 503,
    errors.GenerationRefused: 409,
    errors.WrappedKeyRefused: 503,
    errors.ExchangeRefused: 400,
    errors.ExchangeUnsupported: 409,
    errors.CohortUnsealed: 503,
    errors.CohortSealed: 409,
    errors.CodeChanged: 503,
    errors.UnsupportedKind: 400,
    errors.KeyUsageInvalid: 400,
    errors.AnchorUncertain: 503,
    errors.AnchorTampered: 503,
    errors.HardwareFault: 503,
    errors.ConfigError: 500,
    errors.DecryptionError: 400,
    errors.FleetError: 400,
    errors.CertificateInvalid: 400,
    errors.ListSignatureInvalid: 400,
    errors.ListDowngrade: 409,
    errors.ListConflict: 409,
    errors.WeakKey: 400,
    errors.FleetRulesBroken: 400,
    errors.SignatureMissing: 400,
    errors.SignatureRefused: 409,
    errors.ListExpired: 409,
    errors.ListNotLogged: 409,
    errors.EpochReused: 409,
    errors.LogForked: 409,
    errors.LogRolledBack: 409,
    errors.ListMalformed: 400,
    errors.ListTooLarge: 413,
    errors.ListUnavailable: 503,
    errors.EvidenceRefused: 400,
}

ERROR_BY_CODE: Final[dict[str, type[HwkmError]]] = {cls.code: cls for cls in HTTP_STATUS}


def problem_of(error: HwkmError) -> Problem:
    """Describe an error for the wire."""
    return Problem(
        code=error.code,
        message=str(error),
        attempts_remaining=getattr(error, "attempts_remaining", None),
        retry_after_ms=getattr(error, "retry_after_ms", None),
        member=getattr(error, "member", None),
        members=getattr(error, "members", None),
    )


def status_of(error: HwkmError) -> int:
    """The HTTP status of an error: that of the nearest class in the table."""
    return next(HTTP_STATUS[cls] for cls in type(error).__mro__ if cls in HTTP_STATUS)


def error_of(problem: Problem) -> HwkmError:
    """Rebuild the exception. A code this version does not know becomes a plain HwkmError."""
    cls = ERROR_BY_CODE.get(problem.code, HwkmError)
    if issubclass(cls, WrongKnowledgeFactor):
        return cls(problem.attempts_remaining or 0, problem.retry_after_ms or 0)
    if issubclass(cls, RateLimited):
        return cls(problem.message, problem.retry_after_ms or 0)
    if issubclass(cls, VaultElsewhere):
        return cls(problem.message, problem.member, problem.members)
    return cls(problem.message)
