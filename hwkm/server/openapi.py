"""The OpenAPI 3.1 document, generated from the table of operations and its types.

``python -m hwkm.server.openapi`` prints it; ``docs/openapi.json`` is what it prints.
"""

from __future__ import annotations

import json
import re
import sys
from typing import Any, Final

import msgspec

from hwkm.wire.api import ALIAS_PATTERN, HANDLE_PATTERN, LIST_LIMIT_MAX, NAME_PATTERN, Nothing
from hwkm.wire.operations import OPERATIONS, Operation
from hwkm.wire.problems import HTTP_STATUS, ProblemBody

_REF: Final = "#/components/schemas/{name}"

_PARAMETERS: Final[dict[str, dict[str, Any]]] = {
    "handle": {"type": "string", "pattern": HANDLE_PATTERN},
    "alias": {"type": "string", "pattern": ALIAS_PATTERN},
    "after": {"type": "string", "pattern": HANDLE_PATTERN},
    "name": {"type": "string", "pattern": NAME_PATTERN},
    "limit": {"type": "integer", "minimum": 1, "maximum": LIST_LIMIT_MAX},
}
_UNMATCHED_STATUSES: Final = (404, 405, 431)


def openapi_document() -> bytes:
    """The document, as UTF-8 JSON with a newline at its end."""
    return json.dumps(_document(), indent=1, ensure_ascii=False).encode() + b"\n"


def _document() -> dict[str, Any]:
    types = [operation.request for operation in OPERATIONS]
    types += [operation.response for operation in OPERATIONS]
    _, components = msgspec.json.schema_components(dict.fromkeys((*types, ProblemBody)), ref_template=_REF)
    paths: dict[str, dict[str, Any]] = {}
    for operation in OPERATIONS:
        paths.setdefault(operation.path, {})[operation.method.lower()] = _operation(operation)
    return {
        "openapi": "3.1.0",
        "info": {
            "title": "hwkmd",
            "version": "1",
            "description": "Vaults for recovery keys, customer master keys and data keys, over a Unix socket.",
        },
        "servers": [{"url": "/"}],
        "paths": paths,
        "components": {"schemas": components},
    }


def _operation(operation: Operation) -> dict[str, Any]:
    described: dict[str, Any] = {
        "operationId": operation.name,
        "summary": operation.summary,
        "parameters": _parameters(operation),
        "responses": _responses(operation),
    }
    if operation.request is not Nothing:
        described["requestBody"] = {
            "required": any(field.required for field in msgspec.structs.fields(operation.request)),
            "content": _content(operation.request),
        }
    return described


def _parameters(operation: Operation) -> list[dict[str, Any]]:
    in_path = re.findall(r"\{([a-z_]+)\}", operation.path)
    return [
        {"name": name, "in": "path", "required": True, "schema": _PARAMETERS[name]} for name in in_path
    ] + [
        {"name": name, "in": "query", "required": False, "schema": _PARAMETERS[name]}
        for name in operation.query
    ]


def _responses(operation: Operation) -> dict[str, Any]:
    statuses = sorted({*HTTP_STATUS.values(), *_UNMATCHED_STATUSES})
    problem = {"description": "a typed error", "content": _content(ProblemBody)}
    return {
        "200": {"description": "done", "content": _content(operation.response)},
        **{str(status): problem for status in statuses},
    }


def _content(struct: type[msgspec.Struct]) -> dict[str, Any]:
    return {"application/json": {"schema": {"$ref": _REF.format(name=struct.__name__)}}}


if __name__ == "__main__":
    sys.stdout.buffer.write(openapi_document())
