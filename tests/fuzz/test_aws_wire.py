"""Any members for any operation, any bytes for a request: the answer is AWS's JSON, typed, and never a fault of the server."""

from __future__ import annotations

import json
import re
import socket
from collections.abc import Iterator
from typing import Any

import botocore.session
import httpx
import pytest
from botocore.model import Shape
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwkm.server.aws.operations.table import OPERATIONS, UNSUPPORTED
from tests.aws_daemon import AwsDaemon, check_value
from tests.aws_signing import Signer
from tests.core_process import MemoryToken

pytestmark = pytest.mark.slow

MODEL = botocore.session.get_session().get_service_model("kms")
CONTENT_TYPE = "application/x-amz-json-1.1"
# Creating keys and pairs is slow and needs no other input than these; the rest is tried with everything.
QUICK = sorted(set(OPERATIONS) - {"GenerateDataKeyPair", "GenerateDataKeyPairWithoutPlaintext", "CreateKey"})


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[AwsDaemon]:
    with AwsDaemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        yield running


@pytest.fixture(scope="module")
def http(daemon: AwsDaemon) -> Iterator[httpx.Client]:
    with daemon.http() as client:
        yield client


@pytest.fixture(scope="module")
def keys(http: httpx.Client) -> list[str]:
    """One key of each kind that is quickly made; the fuzzer may do to them what it likes."""
    return [
        ask(http, "CreateKey", {"KeySpec": spec, "KeyUsage": usage}).json()["KeyMetadata"]["Arn"]
        for spec, usage in (
            ("SYMMETRIC_DEFAULT", "ENCRYPT_DECRYPT"),
            ("HMAC_256", "GENERATE_VERIFY_MAC"),
            ("ECC_NIST_P256", "SIGN_VERIFY"),
            ("ECC_NIST_P384", "KEY_AGREEMENT"),
        )
    ]


def ask(http: httpx.Client, operation: str, members: Any) -> httpx.Response:
    headers = {"X-Amz-Target": f"TrentService.{operation}", "Content-Type": CONTENT_TYPE}
    return http.post("/", headers=headers, content=json.dumps(members).encode())


def check_answer(operation: str, answer: httpx.Response) -> None:
    assert answer.headers["Content-Type"] == CONTENT_TYPE
    shape = MODEL.operation_model(operation).output_shape
    if answer.status_code != 200:
        assert answer.status_code == 400, answer.text
        assert set(answer.json()) <= {"__type", "message"}
    elif shape is None:
        assert answer.content == b""
    else:
        check_value(answer.json(), shape, operation)


def value_of(shape: Shape, keys: list[str]) -> st.SearchStrategy[Any]:
    """Values of JSON for a member: mostly of its type, some of them real."""
    match shape.type_name:
        case "string" if shape.enum:
            return st.sampled_from(shape.enum)
        case "string":
            return st.sampled_from([*keys, "default", "alias/x"]) | st.text(max_size=20)
        case "blob":
            return st.sampled_from(["", "QQ==", "AAAA" * 50, "AAAA" * 3000, "no base64!"])
        case "integer":
            return st.integers(-1, 3000)
        case "boolean":
            return st.booleans()
        case "list":
            return st.lists(value_of(shape.member, keys), max_size=3)
        case "map":
            return st.dictionaries(st.text(max_size=10), st.text(max_size=10), max_size=3)
        case "structure":
            return st.fixed_dictionaries(
                {}, optional={name: value_of(member, keys) for name, member in shape.members.items()}
            )
        case _:
            return st.just("x")


ODD = st.none() | st.integers() | st.floats(allow_nan=False) | st.lists(st.text(max_size=3), max_size=2)


@settings(max_examples=150, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.sampled_from(QUICK), st.data())
def test_any_members_are_answered_in_form_and_never_by_a_fault(
    http: httpx.Client, keys: list[str], operation: str, data: st.DataObject
) -> None:
    shape = MODEL.operation_model(operation).input_shape
    likely = {name: value_of(member, keys) for name, member in shape.members.items()}
    required = {name: likely[name] for name in shape.required_members}
    optional = {name: value | ODD for name, value in likely.items() if name not in required}
    members = data.draw(st.fixed_dictionaries(required, optional=optional))
    check_answer(operation, ask(http, operation, members))


@settings(max_examples=50, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.text(st.characters(min_codepoint=33, max_codepoint=126), max_size=40))
def test_any_target_is_an_operation_or_refused(http: httpx.Client, target: str) -> None:
    headers = {"X-Amz-Target": f"TrentService.{target}", "Content-Type": CONTENT_TYPE}
    answer = http.post("/", headers=headers, content=b"{}")
    if target not in (*OPERATIONS, *UNSUPPORTED):
        assert (answer.status_code, answer.json()) == (400, {"__type": "UnknownOperationException"})


@settings(max_examples=60, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.data())
def test_any_bytes_near_a_signed_request_are_answered_or_closed(
    daemon: AwsDaemon, data: st.DataObject
) -> None:
    signer = Signer(daemon.a.access_key_id, daemon.a.secret_access_key, host=daemon.address)
    body = b'{"Limit": 1}'
    headers = {**signer.headers(body, operation="ListKeys"), "Content-Length": str(len(body))}
    lines = "".join(f"{name}: {value}\r\n" for name, value in headers.items())
    request = f"POST / HTTP/1.1\r\n{lines}\r\n".encode() + body
    for _ in range(data.draw(st.integers(0, 3))):
        start = data.draw(st.integers(0, len(request)))
        end = min(len(request), start + data.draw(st.integers(0, 8)))
        request = request[:start] + data.draw(st.binary(max_size=8)) + request[end:]
    host, _, port = daemon.address.rpartition(":")
    with socket.create_connection((host, int(port)), timeout=60) as connection:
        connection.sendall(request)
        connection.shutdown(socket.SHUT_WR)
        answer = b""
        while chunk := connection.recv(65536):
            answer += chunk
    assert not answer or re.match(rb"HTTP/[0-9]\.[0-9] (200|4[0-9][0-9]) ", answer)


def test_the_daemon_is_well_after_all_that(daemon: AwsDaemon, http: httpx.Client) -> None:
    assert daemon.status().state == "ready"
    assert daemon.status().core_restarts == 0
    assert "unexpected error" not in daemon.log
    key = ask(http, "CreateKey", {}).json()["KeyMetadata"]["Arn"]
    assert ask(http, "GenerateDataKey", {"KeyId": key, "KeySpec": "AES_256"}).status_code == 200
