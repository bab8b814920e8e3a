"""Who signed a request: everything about it that a signature must cover is covered, and it is fresh."""

from __future__ import annotations

import hashlib
import re
import time
from collections.abc import Callable, Iterable, Sequence
from dataclasses import dataclass
from datetime import UTC, datetime
from functools import lru_cache
from typing import Final

from hwkm.server.aws import sigv4
from hwkm.server.aws.credentials import SERVICE, Credential, CredentialBook
from hwkm.server.aws.errors import NotAuthenticated
from hwkm.server.aws.replay import SeenSignatures

SKEW_S: Final = 15 * 60
REVEALING_MAX: Final = 262_144
CHANGING_MAX: Final = 65_536
OWNER_SHARE: Final = 4
"""One credential has a quarter of that."""

_TIMESTAMP: Final = re.compile(rb"[0-9]{8}T[0-9]{6}Z")
_ONCE: Final = (
    b"authorization",
    b"host",
    b"x-amz-date",
    b"x-amz-target",
    b"x-amz-content-sha256",
    b"content-type",
)
_MUST_BE_SIGNED: Final = (b"host", b"x-amz-date")
_QUERY_SIGNATURE: Final = "x-amz-signature="

CHANGING_OPERATIONS: Final = frozenset(
    {
        "CancelKeyDeletion", "CreateAlias", "CreateKey", "DeleteAlias", "DisableKey", "DisableKeyRotation", "EnableKey",
        "EnableKeyRotation", "PutKeyPolicy", "RotateKeyOnDemand", "ScheduleKeyDeletion", "TagResource",
        "UntagResource", "UpdateAlias", "UpdateKeyDescription",
    }
)  # fmt: skip
REVEALING_OPERATIONS: Final = frozenset({"Decrypt", "DeriveSharedSecret", "GenerateMac", "ReEncrypt", "Sign"})


@dataclass(frozen=True, slots=True)
class Head:
    """The head of a request as it was received; names of headers in lower case."""

    method: str
    path: str
    query: str
    headers: dict[bytes, list[bytes]]

    @classmethod
    def of(cls, method: str, target: str, raw_headers: Iterable[tuple[bytes, bytes]]) -> Head:
        """From the first line and the header lines."""
        path, _, query = target.partition("?")
        headers: dict[bytes, list[bytes]] = {}
        for name, value in raw_headers:
            headers.setdefault(name.lower(), []).append(value)
        return cls(method, path, query, headers)

    def one(self, name: bytes) -> bytes | None:
        """The value of a header that is there once, or None. Twice is refused before."""
        values = self.headers.get(name)
        return values[0] if values else None

    @property
    def is_signed(self) -> bool:
        """Whether it claims to be signed, in whichever form."""
        return b"authorization" in self.headers or _QUERY_SIGNATURE in self.query.lower()


class Authenticator:
    """Verifies signatures of one region. ``book`` may be replaced while it serves."""

    def __init__(self, book: CredentialBook, region: str, clock: Callable[[], float] = time.time) -> None:
        self.book = book
        self._region = region
        self._clock = clock
        valid_s = 2 * SKEW_S
        self._revealing = _memory(REVEALING_MAX, valid_s, forget=True)
        self._changing = _memory(CHANGING_MAX, valid_s, forget=False)

    def authenticate(self, head: Head, body: bytes, operation: str) -> Credential:
        """Return the credential that signed the request.

        Raises:
            NotAuthenticated: it is not signed, not by anyone known, not for here, not now, or not whole.
            AwsError: it is a copy of an earlier request.
        """
        claim, signature = _authorization(head)
        credential = self.book.find(claim.access_key_id)
        if credential is None or b"x-amz-security-token" in head.headers:
            raise NotAuthenticated(
                "UnrecognizedClientException", "The security token included in the request is invalid."
            )
        timestamp, signed_at = _timestamp(head)
        now = int(self._clock())
        self._check_scope(claim, timestamp)
        _check_fresh(timestamp, signed_at, now)
        request = sigv4.Signed(head.method, head.path, head.query, head.headers, _payload_hash(head, body))
        canonical = sigv4.canonical_request(request, claim)
        to_sign = sigv4.string_to_sign(timestamp, claim.scope, canonical)
        sigv4.verify(credential.signing_key(claim.date, self._region), to_sign, signature)
        seen = self._seen(operation)
        if seen is not None:
            seen.check(signature, signed_at, now, credential.access_key_id)
        return credential

    def _seen(self, operation: str) -> SeenSignatures | None:
        if operation in REVEALING_OPERATIONS:
            return self._revealing
        return self._changing if operation in CHANGING_OPERATIONS else None

    def _check_scope(self, claim: sigv4.Claim, timestamp: bytes) -> None:
        date = timestamp[:8].decode()
        if claim.terminator != sigv4.TERMINATOR:
            raise _invalid("Credential should be scoped with a valid terminator: 'aws4_request'.")
        if claim.service != SERVICE:
            raise _invalid(f"Credential should be scoped to correct service: '{SERVICE}'.")
        if claim.region != self._region:
            raise _invalid(f"Credential should be scoped to a valid region: '{self._region}'.")
        if claim.date != date:
            raise _invalid(
                "Date in Credential scope does not match YYYYMMDD from ISO-8601 version of date from HTTP:"
                f" '{claim.date}' != '{date}', from '{timestamp.decode()}'."
            )


def _memory(count_max: int, valid_s: int, *, forget: bool) -> SeenSignatures:
    return SeenSignatures(
        count_max=count_max, owner_max=count_max // OWNER_SHARE, valid_s=valid_s, forget=forget
    )


def _authorization(head: Head) -> sigv4.Authorization:
    if _QUERY_SIGNATURE in head.query.lower():
        raise NotAuthenticated(
            "IncompleteSignatureException", "Presigned requests are not taken: sign in the header."
        )
    values = head.headers.get(b"authorization")
    if not values:
        raise NotAuthenticated("MissingAuthenticationTokenException", "Missing Authentication Token")
    for name in _ONCE:
        if len(head.headers.get(name, ())) > 1:
            raise _incomplete(f"The header {name.decode()} is given twice.")
    authorization = sigv4.parse_authorization(values[0])
    _check_coverage(head, authorization.claim.names)
    return authorization


def _check_coverage(head: Head, signed: Sequence[bytes]) -> None:
    """Host, date, and every x-amz header must be signed: the operation is one of them."""
    for name in (*_MUST_BE_SIGNED, *head.headers):
        if name not in signed and (name in _MUST_BE_SIGNED or name.startswith(b"x-amz-")):
            raise _invalid(f"'{name.decode('latin-1')}' must be a 'SignedHeader' in the AWS Authorization.")


def _timestamp(head: Head) -> tuple[bytes, int]:
    text = head.one(b"x-amz-date")
    if text is None:
        raise _incomplete("Authorization header requires existence of a 'X-Amz-Date' header.")
    return text, _seconds(text)


@lru_cache(64)
def _seconds(timestamp: bytes) -> int:
    """A date in ISO 8601's basic format as seconds since 1970."""
    try:
        if not _TIMESTAMP.fullmatch(timestamp):
            raise ValueError
        ends = ((0, 4), (4, 6), (6, 8), (9, 11), (11, 13), (13, 15))
        year, month, day, hour, minute, second = (int(timestamp[start:end]) for start, end in ends)
        return int(datetime(year, month, day, hour, minute, second, tzinfo=UTC).timestamp())
    except ValueError:
        raise _incomplete("Date must be in ISO-8601 'basic format': YYYYMMDD'T'HHMMSS'Z'.") from None


def _check_fresh(timestamp: bytes, signed_at: int, now: int) -> None:
    text = timestamp.decode()
    if signed_at < now - SKEW_S:
        raise _invalid(
            f"Signature expired: {text} is now earlier than {_basic(now - SKEW_S)} ({_basic(now)} - 15 min.)"
        )
    if signed_at > now + SKEW_S:
        raise _invalid(
            f"Signature not yet current: {text} is still later than {_basic(now + SKEW_S)} ({_basic(now)} + 15 min.)"
        )


def _payload_hash(head: Head, body: bytes) -> bytes:
    """The hash of the body as received; a client that states one must state this one."""
    actual = hashlib.sha256(body).hexdigest().encode()
    stated = head.one(b"x-amz-content-sha256")
    if stated is not None and stated != actual:
        raise _invalid("The provided 'x-amz-content-sha256' header does not match what was computed.")
    return actual


def _basic(seconds: int) -> str:
    return datetime.fromtimestamp(seconds, UTC).strftime("%Y%m%dT%H%M%SZ")


def _invalid(message: str) -> NotAuthenticated:
    return NotAuthenticated("InvalidSignatureException", message)


def _incomplete(message: str) -> NotAuthenticated:
    return NotAuthenticated("IncompleteSignatureException", message)
