"""Decoding what a caller sent: body and query, strictly.

Messages name the field that is wrong, never its value: a value in the wrong field may be a secret.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from typing import Any, Final

import msgspec

from hwkm.errors import FormatError
from hwkm.server.http_messages import Request
from hwkm.wire.operations import OPERATIONS, Operation

_DECODERS: Final[dict[Operation, msgspec.json.Decoder[Any]]] = {
    operation: msgspec.json.Decoder(operation.request) for operation in OPERATIONS
}
_QUOTED_VALUE: Final = re.compile(r"(Invalid (?:enum )?value) .*?( - at `[^`]*`)?$", re.DOTALL)
_UNKNOWN_FIELD: Final = re.compile(r"(unknown field) `(?![A-Za-z_]{1,40}`).*`( - at `[^`]*`)?$", re.DOTALL)


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


def read_query(operation: Operation, request: Request) -> Mapping[str, str]:
    """Return the query parameters of an operation.

    Raises:
        FormatError: one is unknown, or given twice, or not UTF-8.
    """
    pairs = request.query
    for name, _ in pairs:
        if name not in operation.query:
            known = f"; known are {', '.join(operation.query)}" if operation.query else ""
            raise FormatError(f"unknown query parameter{known}")
    values = dict(pairs)
    if len(values) != len(pairs):
        raise FormatError("a query parameter is given twice")
    return values


def _without_values(message: str) -> str:
    message = _QUOTED_VALUE.sub(r"\1\2", message)
    return _UNKNOWN_FIELD.sub(r"\1\2", message)
