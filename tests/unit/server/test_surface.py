"""The table of operations, the handlers, the routes and the published documents say the same."""

from __future__ import annotations

import json
import re
from pathlib import Path
from typing import Any

import pytest

from hwkm import errors
from hwkm.errors import HwkmError
from hwkm.server.error_table import error_table
from hwkm.server.exit_codes import EXIT_CONFIG, EXIT_FAILED, EXIT_PIN, EXIT_TRY_AGAIN, exit_code_of
from hwkm.server.handlers.table import HANDLERS
from hwkm.server.openapi import openapi_document
from hwkm.server.routes import find_route
from hwkm.wire.operations import OPERATIONS, Operation
from hwkm.wire.problems import HTTP_STATUS

DOCS = Path(__file__).resolve().parents[3] / "docs"
HANDLE = "01" * 17


def test_every_operation_has_a_handler_and_nothing_else_has() -> None:
    assert set(HANDLERS) == set(OPERATIONS)


@pytest.mark.parametrize("operation", OPERATIONS, ids=lambda operation: operation.name)
def test_every_operation_is_found_by_its_path(operation: Operation) -> None:
    found = find_route(operation.path.format(handle=HANDLE, alias="photos"))
    assert found is not None
    assert found.by_method[operation.method] is operation
    assert set(found.path) == set(re.findall(r"\{(\w+)\}", operation.path))


@pytest.mark.parametrize(
    "path", ["", "/", "/v1", "/v1/vaults/", "/v1/vaults/a/b/c", "/v1/status/x", "/v1xstatus"]
)
def test_other_paths_are_not_found(path: str) -> None:
    assert find_route(path) is None


def test_the_committed_openapi_document_is_the_generated_one() -> None:
    assert (DOCS / "openapi.json").read_bytes() == openapi_document()


def test_the_committed_error_table_is_the_generated_one() -> None:
    assert (DOCS / "errors.md").read_text() == error_table()


def test_every_reference_in_the_openapi_document_leads_somewhere() -> None:
    document = json.loads(openapi_document())

    def references(node: Any) -> list[str]:
        if isinstance(node, dict):
            own = [node["$ref"]] if "$ref" in node else []
            return own + [found for value in node.values() for found in references(value)]
        return [found for value in node for found in references(value)] if isinstance(node, list) else []

    for reference in references(document):
        assert reference.removeprefix("#/components/schemas/") in document["components"]["schemas"]
    assert len(document["paths"]) == len({operation.path for operation in OPERATIONS})


def test_every_error_has_a_documented_exit_code() -> None:
    for error in HTTP_STATUS:
        instance = error.__new__(error)
        assert 64 <= exit_code_of(instance) <= 78
    assert exit_code_of(errors.TokenPinIncorrect("")) == EXIT_PIN
    assert exit_code_of(errors.ConfigError("")) == EXIT_CONFIG
    assert exit_code_of(errors.TokenUnavailable("")) == EXIT_TRY_AGAIN
    assert exit_code_of(HwkmError("")) == EXIT_FAILED
