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
from typing import Final
from urllib.parse import quote, unquote_to_bytes

from hwkm.server.aws.errors import NotAuthenticated

ALGORITHM: Final = b"AWS4-HMAC-SHA256"
TERMINATOR: Final = "aws4_request"
AUTHORIZATION_BYTES_MAX: Final = 2048
SIGNED_HEADERS_MAX: Final = 64

_UNRESERVED: Final = "-_.~"
_ACCESS_KEY_ID: Final = re.compile(r"[A-Za-z0-9_]{1,128}")
_DATE: Final = re.compile(r"[0-9]{8}")
_SCOPE_WORD: Final = re.compile(r"[A-Za-z0-9_-]{1,64}")
_SIGNED_HEADERS: Final = re.compile(rb"[a-z0-9_-]+(?:;[a-z0-9_-]+)*")
_SIGNATURE: Final = re.compile(rb"[0-9a-f]{64}")
_PARAMETERS: Final = (b"Credential", b"Signature", b"SignedHeaders")

RawHeaders = Iterable[tuple[bytes, bytes]]


@dataclass(frozen=True, slots=True)
class Authorization:
    """The Authorization header, taken apart. ``signature`` is 64 hex digits."""

    access_key_id: str
    date: str
    region: str
    service: str
    terminator: str
    signed_headers: bytes
    signature: bytes

    @property
    def scope(self) -> str:
        """The scope that the signing key was made for."""
        return f"{self.date}/{self.region}/{self.service}/{self.terminator}"


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
    algorithm, _, rest = value.partition(b" ")
    if algorithm != ALGORITHM or len(value) > AUTHORIZATION_BYTES_MAX:
        raise _incomplete("Authorization header is not of the form AWS4-HMAC-SHA256.")
    parameters = _parameters(rest)
    missing = [name for name in _PARAMETERS if not parameters.get(name)]
    if missing:
        raise _incomplete(
            " ".join(f"Authorization header requires '{name.decode()}' parameter." for name in missing)
        )
    signed_headers, signature = parameters[b"SignedHeaders"], parameters[b"Signature"]
    _check_signed_headers(signed_headers)
    if not _SIGNATURE.fullmatch(signature):
        raise _incomplete("Signature must be 64 lower-case hex digits.")
    return Authorization(*_credential(parameters[b"Credential"]), signed_headers, signature)


def canonical_request(request: Signed, signed_headers: bytes) -> bytes:
    """The text whose hash is signed.

    Raises:
        NotAuthenticated: a header that is said to be signed is not there.
    """
    try:
        headers = [
            b"%s:%s\n" % (name, b",".join(_trimmed(value) for value in request.headers[name]))
            for name in signed_headers.split(b";")
        ]
    except KeyError:
        raise _mismatch() from None
    return b"\n".join(
        (
            request.method.encode("utf-8", "surrogateescape"),
            canonical_path(request.path).encode(),
            canonical_query(request.query).encode() if request.query else b"",
            b"".join(headers),
            signed_headers,
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


def _parameters(text: bytes) -> dict[bytes, bytes]:
    parameters: dict[bytes, bytes] = {}
    for part in text.split(b","):
        name, _, value = part.strip(b" ").partition(b"=")
        if name not in _PARAMETERS or name in parameters:
            raise _incomplete("Authorization header has an unknown parameter, or one twice.")
        parameters[name] = value
    return parameters


def _credential(text: bytes) -> tuple[str, str, str, str, str]:
    parts = text.decode("latin-1").split("/")
    if len(parts) != 5:
        raise _incomplete(
            "Credential must have exactly 5 slash-delimited elements: keyid/date/region/service/term."
        )
    access_key_id, date, *words = parts
    if not (_ACCESS_KEY_ID.fullmatch(access_key_id) and _DATE.fullmatch(date)):
        raise _incomplete("Credential has an impossible access key id or date.")
    if not all(map(_SCOPE_WORD.fullmatch, words)):
        raise _incomplete("Credential has an impossible region, service or terminator.")
    region, service, terminator = words
    return access_key_id, date, region, service, terminator


def _check_signed_headers(text: bytes) -> None:
    names = text.split(b";")
    if not _SIGNED_HEADERS.fullmatch(text) or len(names) > SIGNED_HEADERS_MAX:
        raise _incomplete("SignedHeaders must be header names in lower case, with semicolons between them.")
    if any(first >= second for first, second in itertools.pairwise(names)):
        raise _incomplete("SignedHeaders must be in order and must not repeat.")


def _trimmed(value: bytes) -> bytes:
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
