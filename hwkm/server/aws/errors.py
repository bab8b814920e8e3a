"""AWS's error names, texts and statuses, as botocore's model and recordings of the real service have them.

``docs/operations/aws-kms.md`` lists where each comes from.
"""

from __future__ import annotations

from typing import Final

from hwkm import errors

SERVER_FAULTS: Final = frozenset(
    {
        "DependencyTimeoutException",
        "KMSInternalException",
        "KeyUnavailableException",
    }
)


class AwsError(Exception):
    """What a caller is answered. ``code`` is the word of the audit log for the same outcome."""

    def __init__(self, name: str, message: str = "", *, code: str = errors.FormatError.code) -> None:
        super().__init__(message)
        self.name = name
        self.message = message
        self.code = code

    @property
    def status(self) -> int:
        """The HTTP status: AWS's JSON services know two."""
        return 500 if self.name in SERVER_FAULTS else 400


class Validation(AwsError):
    """A member is missing or impossible."""

    def __init__(self, message: str) -> None:
        super().__init__("ValidationException", message)


class Unsupported(AwsError):
    """A part of AWS KMS that hwkm does not have, or that this hardware cannot do."""

    def __init__(self, message: str = "") -> None:
        super().__init__("UnsupportedOperationException", message, code="unsupported")


class NotAuthenticated(AwsError):
    """The request is not proved to come from whom it claims; nothing was looked at beyond its signature."""

    def __init__(self, name: str, message: str) -> None:
        super().__init__(name, message, code=errors.AccessDenied.code)
