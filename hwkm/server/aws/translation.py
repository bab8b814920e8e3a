"""From an error of hwkm to AWS's name and text for it: one table."""

from __future__ import annotations

from typing import Final

import msgspec

from hwkm import errors
from hwkm.errors import HwkmError
from hwkm.server.aws.authentication import CHANGING_OPERATIONS
from hwkm.server.aws.errors import AwsError

ARN_PREFIX: Final = "arn:aws:kms:"
ROTATING_OPERATIONS: Final = frozenset(
    {"DisableKeyRotation", "EnableKeyRotation", "ListKeyRotations", "RotateKeyOnDemand"}
)

_NAMES: Final[dict[type[HwkmError], str]] = {
    HwkmError: "KMSInternalException",
    errors.FormatError: "ValidationException",
    errors.InvalidKeyError: "ValidationException",
    errors.AccessDenied: "AccessDeniedException",
    errors.RateLimited: "ThrottlingException",
    errors.KeyNotFound: "NotFoundException",
    errors.InvalidArn: "InvalidArnException",
    errors.KeyDisabled: "DisabledException",
    errors.KeyStateInvalid: "KMSInvalidStateException",
    errors.KeyUsageInvalid: "InvalidKeyUsageException",
    errors.CiphertextInvalid: "InvalidCiphertextException",
    errors.DecryptionError: "InvalidCiphertextException",
    errors.IncorrectKey: "IncorrectKeyException",
    errors.MacInvalid: "KMSInvalidMacException",
    errors.SignatureInvalid: "KMSInvalidSignatureException",
    errors.AliasExists: "AlreadyExistsException",
    errors.TagInvalid: "TagException",
    errors.MarkerInvalid: "InvalidMarkerException",
    errors.DryRunSucceeded: "DryRunOperationException",
    errors.UnsupportedKind: "UnsupportedOperationException",
    errors.LimitExceeded: "ValidationException",
    errors.Unavailable: "KeyUnavailableException",
    errors.TokenUnavailable: "KeyUnavailableException",
    errors.TokenPinIncorrect: "KeyUnavailableException",
    errors.TokenPinLocked: "KeyUnavailableException",
    errors.TokenBusy: "DependencyTimeoutException",
}
_TEXTS: Final[dict[str, str]] = {
    "InvalidCiphertextException": "",
    "KMSInvalidMacException": "",
    "KMSInvalidSignatureException": "",
    "IncorrectKeyException": (
        "The key ID in the request does not identify a CMK that can perform this operation."
    ),
    "DryRunOperationException": "The request would have succeeded, but the DryRun option is set.",
}


def aws_error(error: HwkmError, operation: str, request: msgspec.Struct | None, native: str = "") -> AwsError:
    """How AWS KMS would say it; ``native`` is the operation's name in the messages of the key service."""
    name = next(_NAMES[cls] for cls in type(error).__mro__ if cls in _NAMES)
    text = str(error)
    if isinstance(error, errors.KeyUsageInvalid):
        name, text = _usage_name(operation), text.replace(native, operation) if native else text
    elif isinstance(error, errors.LimitExceeded) and operation in CHANGING_OPERATIONS:
        name = "LimitExceededException"
    elif isinstance(error, errors.InvalidArn):
        region = _other_region(request)
        name, text = ("NotFoundException", f"Invalid arn {region}") if region else (name, text)
    return AwsError(name, _TEXTS.get(name, text), code=error.code)


def _usage_name(operation: str) -> str:
    """A key of another usage: the wrong one to decrypt with, and one that cannot be rotated."""
    if operation == "Decrypt":
        return "IncorrectKeyException"
    return "UnsupportedOperationException" if operation in ROTATING_OPERATIONS else "InvalidKeyUsageException"


def _other_region(request: msgspec.Struct | None) -> str:
    """The region of the first ARN in the request that is one of KMS, or nothing."""
    for member in ("key_id", "source_key_id", "destination_key_id", "target_key_id"):
        text = getattr(request, member, None) or ""
        fields = text.split(":")
        if text.startswith(ARN_PREFIX) and len(fields) == 6 and fields[5].startswith(("key/", "alias/")):
            return str(fields[3])
    return ""
