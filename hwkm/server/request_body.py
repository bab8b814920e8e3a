"""Reading what a caller sent: body and query, strictly, within their limits.

Messages name the field that is wrong, never its value: a value in the wrong field may be a secret.
"""

from __future__ import annotations

import asyncio
import re
from collections.abc import Mapping
from dataclasses import dataclass
from typing import Any, Final

import msgspec
from aiohttp import hdrs, web
from aiohttp.http_exceptions import HttpProcessingError

from hwkm.errors import FormatError, LimitExceeded
from hwkm.wire.operations import OPERATIONS, Operation

_DECODERS: Final[dict[Operation, msgspec.json.Decoder[Any]]] = {
    operation: msgspec.json.Decoder(operation.request) for operation in OPERATIONS
}
_CONTINUE: Final = b"HTTP/1.1 100 Continue\r\n\r\n"
_QUOTED_VALUE: Final = re.compile(r"(Invalid (?:enum )?value) .*?( - at `[^`]*`)?$", re.DOTALL)
_UNKNOWN_FIELD: Final = re.compile(r"(unknown field) `(?![A-Za-z_]{1,40}`).*`( - at `[^`]*`)?$", re.DOTALL)


@dataclass(frozen=True, slots=True)
class RequestLimits:
    """Of one request: bytes of its body, seconds for it to arrive."""

    body_bytes: int
    timeout_s: float


async def read_body(request: web.BaseRequest, limits: RequestLimits) -> bytes:
    """Return the whole body.

    Raises:
        LimitExceeded: it is longer than allowed, or does not arrive in time.
        FormatError: it is compressed or broken.
        ConnectionError: the caller went away.
    """
    if hdrs.CONTENT_ENCODING in request.headers:
        raise FormatError("compressed bodies are not taken")
    if (request.content_length or 0) > limits.body_bytes:
        raise _too_long(limits.body_bytes)
    if request.headers.get(hdrs.EXPECT, "").lower() == "100-continue":
        await _say_continue(request)
    try:
        if request.content.is_eof():
            return await request.read()
        async with asyncio.timeout(limits.timeout_s):
            return await request.read()
    except web.HTTPRequestEntityTooLarge:
        raise _too_long(limits.body_bytes) from None
    except TimeoutError:
        raise LimitExceeded(f"the request took longer than {limits.timeout_s:g} s to arrive") from None
    except (web.RequestPayloadError, HttpProcessingError):
        raise FormatError("the body is not what the head of the request says") from None


def decode_body(operation: Operation, body: bytes) -> msgspec.Struct:
    """Return the request struct of an operation; an empty body is one without fields.

    Raises:
        FormatError: it is not strictly what the operation takes.
    """
    try:
        decoded: msgspec.Struct = _DECODERS[operation].decode(body or b"{}")
        return decoded
    except msgspec.DecodeError as exc:
        raise FormatError(_without_values(str(exc))) from None
    except (UnicodeDecodeError, RecursionError):
        raise FormatError("the body is not JSON in UTF-8") from None


def read_query(operation: Operation, request: web.BaseRequest) -> Mapping[str, str]:
    """Return the query parameters of an operation.

    Raises:
        FormatError: one is unknown, or given twice.
    """
    if not request.query_string:
        return {}
    pairs = list(request.query.items())
    for name, _ in pairs:
        if name not in operation.query:
            known = f"; known are {', '.join(operation.query)}" if operation.query else ""
            raise FormatError(f"unknown query parameter{known}")
    values = dict(pairs)
    if len(values) != len(pairs):
        raise FormatError("a query parameter is given twice")
    return values


async def _say_continue(request: web.BaseRequest) -> None:
    """The caller waits for leave to send its body (RFC 9110, 10.1.1)."""
    if request.transport is not None:
        request.transport.write(_CONTINUE)


def _too_long(bytes_max: int) -> LimitExceeded:
    return LimitExceeded(f"a request's body has at most {bytes_max} bytes")


def _without_values(message: str) -> str:
    message = _QUOTED_VALUE.sub(r"\1\2", message)
    return _UNKNOWN_FIELD.sub(r"\1\2", message)
