"""HTTP answers: JSON always, also for what never reached a handler."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Final

import msgspec

from hwkm.errors import HwkmError
from hwkm.server.http_messages import Response
from hwkm.wire.problems import Problem, ProblemBody, problem_of, status_of

REQUEST_ID_HEADER: Final = "x-request-id"

_JSON: Final = "application/json"
_encode: Final = msgspec.json.Encoder().encode


def success(body: msgspec.Struct) -> Response:
    """An operation's response."""
    return answer(200, _encode(body))


def problem(error: HwkmError, status: int | None = None) -> Response:
    """A typed error; ``status`` is given where HTTP has a more exact one than the table."""
    response = answer(status_of(error) if status is None else status, problem_body(error))
    retry_after_ms = getattr(error, "retry_after_ms", 0)
    if retry_after_ms:
        response.headers.append(("Retry-After", str(-(-retry_after_ms // 1000))))
    return response


def problem_body(error: HwkmError) -> bytes:
    """The JSON of a typed error."""
    return _encode(ProblemBody(error=problem_of(error)))


def unmatched(status: int, code: str, message: str) -> Response:
    """What belongs to no operation: an unknown path or method, or no HTTP at all."""
    return answer(status, _encode(ProblemBody(error=Problem(code=code, message=message))))


def not_http() -> Response:
    """What cannot be read as HTTP/1.1. What comes after it cannot be relied on: close."""
    response = unmatched(400, "bad_format", "this is not a valid HTTP/1.1 request")
    response.close = True
    return response


def method_not_allowed(methods: Iterable[str]) -> Response:
    """A path that is there, by a method that is not."""
    response = unmatched(405, "method_not_allowed", "this path is not used with this method")
    response.headers.append(("Allow", ", ".join(methods)))
    return response


def answer(status: int, body: bytes, content_type: str = _JSON) -> Response:
    """Any answer."""
    return Response(status, body, content_type)
