"""AWS Signature Version 4, the header form, as a verifier needs it. Pure: no clock, no secrets kept.

The algorithm is the one of "Create a signed AWS API request" in the IAM User Guide; AWS's own test suite for it is in
``tests/vectors/aws_sigv4_suite.json``. What is signed is taken as it was received: the Host header
above all, which some clients send without the port.
"""

from __future__ import annotations

import hashlib
import hmac
import itertools
import re
from collections.abc import Iterable, Mapping, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final, NamedTuple
from urllib.parse import quote, unquote_to_bytes

from hwkm.server.aws.errors import NotAuthenticated

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
AUTHORIZATION_BYTES_MAX: Final = 2048
SIGNATURE_DIGITS: Final = 64
CLAIMS_KEPT: Final = 1024
SIGNED_HEADERS_MAX: Final = 64

_UNRESERVED: Final = "-_.~"
_HEAD: Final = re.compile(
    rb"AWS4-HMAC-SHA256 +Credential=([A-Za-z0-9_]{1,128})/([0-9]{8})/([A-Za-z0-9_-]{1,64})/([A-Za-z0-9_-]{1,64})"
    rb"/([A-Za-z0-9_-]{1,64}), *SignedHeaders=([a-z0-9_-]+(?:;[a-z0-9_-]+)*), *Signature="
)
_SIGNATURE: Final = re.compile(rb"[0-9a-f]{64}")

RawHeaders = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Claim:
    """Who claims to have signed what: an Authorization header but for its signature.

    A client sends the same one with every request of a day.
    """

    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: bytes
    names: tuple[bytes, ...]
    """The names in ``signed_headers``."""
    scope: str
    """What the signing key was made for."""


class Authorization(NamedTuple):
    """The Authorization header, taken apart. ``signature`` is 64 hex digits."""

    claim: Claim
    signature: bytes


@dataclass(frozen=True, slots=True)
class Signed:
    """The parts of a request that a signature covers; ``path`` and ``query`` as received."""

    method: str
    path: str
    query: str
    headers: Mapping[bytes, Sequence[bytes]]
    payload_hash: bytes


def parse_authorization(value: bytes) -> Authorization:
    """Read the value of an Authorization header.

    Raises:
        NotAuthenticated: it is not strictly of this form, or too long. Nothing of it is quoted.
    """
    if len(value) > AUTHORIZATION_BYTES_MAX:
        raise _incomplete("Authorization header is too long.")
    head, signature = value[:-SIGNATURE_DIGITS], value[-SIGNATURE_DIGITS:]
    if not head.endswith(b"Signature=") or not _SIGNATURE.fullmatch(signature):
        raise _explained(value)
    return Authorization(_claim(head), signature)


@lru_cache(CLAIMS_KEPT)
def _claim(head: bytes) -> Claim:
    """What stands before the signature."""
    found = _HEAD.fullmatch(head)
    if found is None:
        raise _explained(head)
    access_key_id, date, region, service, terminator = (
        found[number].decode("ascii") for number in range(1, 6)
    )
    names = tuple(found[6].split(b";"))
    if len(names) > SIGNED_HEADERS_MAX or any(first >= second for first, second in itertools.pairwise(names)):
        raise _incomplete("SignedHeaders must be in order, without repetition, and not too many.")
    scope = f"{date}/{region}/{service}/{terminator}"
    return Claim(access_key_id, date, region, service, terminator, found[6], names, scope)


def canonical_request(request: Signed, claim: Claim) -> bytes:
    """The text whose hash is signed.

    Raises:
        NotAuthenticated: a header that is said to be signed is not there.
    """
    try:
        headers = [
            b"%s:%s\n" % (name, b",".join([_trimmed(value) for value in request.headers[name]]))
            for name in claim.names
        ]
    except KeyError:
        raise _mismatch() from None
    return b"\n".join(
        (
            request.method.encode("utf-8", "surrogateescape"),
            canonical_path(request.path).encode(),
            canonical_query(request.query).encode() if request.query else b"",
            b"".join(headers),
            claim.signed_headers,
            request.payload_hash,
        )
    )


def canonical_path(path: str) -> str:
    """The path, with dot segments and empty ones removed, each character encoded once more."""
    if path == "/":
        return path
    kept: list[str] = []
    for segment in path.split("/"):
        if segment == "..":
            del kept[-1:]
        elif segment not in ("", "."):
            kept.append(segment)
    normal = "/" + "/".join(kept) + ("/" if kept and path.endswith("/") else "")
    return quote(normal, safe="/" + _UNRESERVED, errors="surrogateescape")


def canonical_query(query: str) -> str:
    """The parameters, encoded in one way, in order."""
    pairs = (part.partition("=") for part in query.split("&") if part)
    return "&".join(
        "=".join(pair) for pair in sorted((_encoded(name), _encoded(value)) for name, _, value in pairs)
    )


def string_to_sign(timestamp: bytes, scope: str, canonical: bytes) -> bytes:
    """What the signing key signs."""
    return b"\n".join((ALGORITHM, timestamp, scope.encode(), hashlib.sha256(canonical).hexdigest().encode()))


def signing_key(secret_access_key: bytes, date: str, region: str, service: str) -> bytes:
    """The key of one day, region and service."""
    key = b"AWS4" + secret_access_key
    for part in (date, region, service, TERMINATOR):
        key = hmac.digest(key, part.encode(), "sha256")
    return key


def verify(key: bytes, to_sign: bytes, signature: bytes) -> None:
    """Check a signature, in constant time.

    Raises:
        NotAuthenticated: it is not the one of this key over this text.
    """
    if not hmac.compare_digest(hmac.digest(key, to_sign, "sha256").hex().encode(), signature):
        raise _mismatch()


# --- parts -----------------------------------------------------------------------------------


def _explained(value: bytes) -> NotAuthenticated:
    """Why a header is none: what is missing, in AWS's words, or that it is malformed."""
    if not value.startswith(ALGORITHM + b" "):
        return _incomplete("Authorization header is not of the form AWS4-HMAC-SHA256.")
    missing = [
        name for name in ("Credential", "SignedHeaders", "Signature") if name.encode() + b"=" not in value
    ]
    if missing:
        return _incomplete(" ".join(f"Authorization header requires '{name}' parameter." for name in missing))
    return _incomplete(
        "Authorization header must be AWS4-HMAC-SHA256 Credential=keyid/date/region/service/term,"
        " SignedHeaders=names in lower case with semicolons, Signature=64 hex digits."
    )


def _trimmed(value: bytes) -> bytes:
    if value.isalnum():
        return value
    return b" ".join(value.split())


def _encoded(text: str) -> str:
    return quote(unquote_to_bytes(text.encode("utf-8", "surrogateescape")), safe=_UNRESERVED)


def _incomplete(message: str) -> NotAuthenticated:
    return NotAuthenticated("IncompleteSignatureException", message)


def _mismatch() -> NotAuthenticated:
    return NotAuthenticated(
        "InvalidSignatureException",
        "The request signature we calculated does not match the signature you provided. Check your AWS Secret Access"
        " Key and signing method. Consult the service documentation for details.",
    )
