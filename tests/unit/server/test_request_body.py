"""Bodies are decoded strictly, and the error names the field but never a value."""

from __future__ import annotations

import json
from typing import Any

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import FormatError
from hwkm.server.request_body import decode_body
from hwkm.wire import operations
from hwkm.wire.api import Nothing

SECRET = "hunter2-correct-horse"


def refused(operation: operations.Operation, body: bytes) -> str:
    with pytest.raises(FormatError) as error:
        decode_body(operation, body)
    return str(error.value)


def test_an_empty_body_is_one_without_fields() -> None:
    assert decode_body(operations.VAULT_CHALLENGE, b"") == Nothing()
    assert decode_body(operations.VAULT_CHALLENGE, b"{}") == Nothing()


def test_unknown_fields_are_refused_and_named() -> None:
    assert "`recovery_key`" in refused(operations.VAULT_OPEN, b'{"recovery_key": 1}')
    assert "unknown" in refused(operations.VAULT_CHALLENGE, b'{"a": 1}')


def test_the_field_that_is_wrong_is_named() -> None:
    assert "$.claim" in refused(operations.VAULT_OPEN, b'{"challenge": "' + b"A" * 43 + b'=", "claim": 5}')


BODIES = [
    {"knowledge_factor": {"type": SECRET}},
    {"knowledge_factor": SECRET},
    {"name": SECRET + "\x00"},
    {"params": SECRET},
    {"vault": SECRET},
    {"application_keys": [{"alias": SECRET + "/", "wrapped": SECRET}]},
    {SECRET: 1},
    {SECRET + "`": 1},
    {"knowledge_factor": {SECRET: 1}},
    {"knowledge_factor": {"type": "pin", "algorithm": SECRET}},
]


@pytest.mark.parametrize("body", BODIES)
def test_no_value_is_echoed(body: dict[str, Any]) -> None:
    assert SECRET not in refused(operations.VAULT_CREATE, json.dumps(body).encode())


@given(st.binary(max_size=200))
def test_any_bytes_are_decoded_or_refused(body: bytes) -> None:
    for operation in operations.OPERATIONS:
        try:
            decode_body(operation, body)
        except FormatError:
            continue


@pytest.mark.parametrize("body", [b"[" * 100_000, b'{"a":' * 100_000, b"\xff\xfe", b"nul", b'"a', b"{}{}"])
def test_what_is_no_json_is_refused(body: bytes) -> None:
    refused(operations.VAULT_CREATE, body)
