"""The daemon's HTTP edge: whatever is sent, the answer is typed JSON and the daemon lives on."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import msgspec
import pytest

from hwkm.server.openapi import openapi_document
from hwkm.wire import api
from hwkm.wire.problems import ProblemBody
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.vault_clients import seal
from tests.vault_http import VaultHttp, create_body

BODY_BYTES = 32 * 1024


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    token = MemoryToken(tmp_path_factory.mktemp("token"))
    limits = {"body_bytes": BODY_BYTES, "header_bytes": 2048}
    with Daemon(token, settings={"limits": limits}) as running:
        yield running


@pytest.fixture
def http(daemon: Daemon) -> Iterator[httpx.Client]:
    with daemon.http() as client:
        yield client


def code_of(answer: httpx.Response) -> str:
    """The code of a typed error."""
    assert answer.headers["content-type"] == "application/json"
    return msgspec.json.decode(answer.content, type=ProblemBody).error.code


def exchange(daemon: Daemon, sent: bytes) -> bytes:
    """Send raw bytes and read until the daemon closes."""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(daemon.socket_path))
        raw.sendall(sent)
        received = b""
        while part := raw.recv(65536):
            received += part
        return received


# --- what is not an operation ----------------------------------------------------------------


def test_every_answer_has_a_request_id_of_its_own(http: httpx.Client) -> None:
    ids = [http.get(path).headers["x-request-id"] for path in ("/v1/status", "/nope", "/healthz")]
    assert len(set(ids)) == 3


@pytest.mark.parametrize(
    "path", ["/", "/v1", "/v1/vault", "/v1/vaults/", "/favicon.ico", "/v1/status/..", "/%00"]
)
def test_unknown_paths_are_json(http: httpx.Client, path: str) -> None:
    answer = http.get(path)
    assert (answer.status_code, code_of(answer)) == (404, "not_found")


@pytest.mark.parametrize(
    ("method", "path"), [("DELETE", "/v1/status"), ("PATCH", "/v1/vaults"), ("POST", "/healthz")]
)
def test_wrong_methods_are_json_and_name_the_right_ones(http: httpx.Client, method: str, path: str) -> None:
    answer = http.request(method, path)
    assert (answer.status_code, code_of(answer)) == (405, "method_not_allowed")
    assert answer.headers["allow"]


def test_health_metrics_and_the_openapi_document_are_served(http: httpx.Client) -> None:
    health = http.get("/healthz")
    assert (health.status_code, health.json()) == (200, {"ready": True, "detail": ""})
    assert http.get("/v1/openapi.json").content == openapi_document()
    metrics = http.get("/metrics")
    assert metrics.headers["content-type"].startswith("text/plain")
    assert "hwkm_core_ready 1.0" in metrics.text


# --- what is not HTTP ------------------------------------------------------------------------


@pytest.mark.parametrize(
    "sent",
    [
        b"GARBAGE\r\n\r\n",
        b"\x16\x03\x01\x02\x00\x01\x00\x01\xfc\x03\x03",
        b"GET /v1/status HTTP/9.9\r\n\r\n",
        b"GET /v1/status HTTP/1.1\r\nHost : x\r\n\r\n",
        b"POST /v1/vaults HTTP/1.1\r\nHost: x\r\nContent-Length: -1\r\n\r\n",
        b"POST /v1/vaults HTTP/1.1\r\nHost: x\r\nContent-Length: 1\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n",
        b"POST /v1/vaults HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\nzz\r\n\r\n",
        b"\x00" * 100 + b"\r\n\r\n",
    ],
)
def test_what_is_not_http_is_answered_in_json_and_closed(daemon: Daemon, sent: bytes) -> None:
    answer = exchange(daemon, sent)
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.split(b" ")[1] == b"400"
    assert b"<html" not in answer.lower()
    assert json.loads(body)["error"]["code"] == "bad_format"
    assert daemon.status().state == "ready"


def test_a_line_of_the_head_that_is_too_long(daemon: Daemon) -> None:
    for request in (b"GET /" + b"a" * 5000, b"GET /v1/status HTTP/1.1\r\nX-Long: " + b"a" * 5000):
        answer = exchange(daemon, request + b" HTTP/1.1\r\n\r\n")
        assert answer.split(b" ")[1] == b"431"
        assert b'"code":"limit_exceeded"' in answer


def test_too_many_header_fields(daemon: Daemon) -> None:
    fields = b"".join(b"X-%d: 1\r\n" % number for number in range(200))
    answer = exchange(daemon, b"GET /v1/status HTTP/1.1\r\n" + fields + b"\r\n")
    assert answer.split(b" ")[1].startswith(b"4")
    assert json.loads(answer.partition(b"\r\n\r\n")[2])["error"]["code"]


def test_pipelined_requests_are_answered_in_order(daemon: Daemon) -> None:
    sent = b"GET /v1/cohort HTTP/1.1\r\nHost: x\r\n\r\nGET /nope HTTP/1.1\r\nHost: x\r\nConnection: close\r\n\r\n"
    answer = exchange(daemon, sent)
    assert answer.index(b"HTTP/1.1 200") < answer.index(b"HTTP/1.1 404")


# --- bodies ----------------------------------------------------------------------------------


@pytest.mark.parametrize(
    "body",
    [
        b"",
        b"{",
        b"[]",
        b"null",
        b'"x"',
        b"{}",
        b"\xff",
        b"[" * 20_000,
        b'{"name": "a", "name": 1}',
        b"1e999999",
    ],
)
def test_malformed_json_is_refused(http: httpx.Client, body: bytes) -> None:
    answer = http.post("/v1/vaults", content=body)
    assert (answer.status_code, code_of(answer)) == (400, "bad_format")


def test_unknown_fields_are_refused(daemon: Daemon, http: httpx.Client) -> None:
    body = msgspec.to_builtins(create_body(seal(VaultHttp(http).cohort()), "unknown field"))
    for changed in (
        {**body, "pin": "1234"},
        {**body, "knowledge_factor": {**body["knowledge_factor"], "x": 1}},
    ):
        answer = http.post("/v1/vaults", json=changed)
        assert (answer.status_code, code_of(answer)) == (400, "bad_format")
        assert "1234" not in answer.text
    assert http.get("/v1/vaults", params={"name": "unknown field"}).json()["vaults"] == []


@pytest.mark.parametrize("chunked", [False, True])
def test_a_body_that_is_too_large_is_refused(http: httpx.Client, chunked: bool) -> None:
    data = b" " * (BODY_BYTES + 1)
    answer = http.post("/v1/vaults", content=iter([data]) if chunked else data)
    assert (answer.status_code, code_of(answer)) == (413, "limit_exceeded")


def test_the_largest_body_is_taken(http: httpx.Client) -> None:
    answer = http.post("/v1/vaults", content=b" " * BODY_BYTES)
    assert (answer.status_code, code_of(answer)) == (400, "bad_format")


def test_a_compressed_body_is_refused(http: httpx.Client) -> None:
    answer = http.post("/v1/vaults", content=b"{}", headers={"Content-Encoding": "gzip"})
    assert (answer.status_code, code_of(answer)) == (400, "bad_format")


def test_a_body_where_none_belongs_is_refused(http: httpx.Client) -> None:
    answer = http.request("GET", "/v1/status", content=b'{"x": 1}')
    assert (answer.status_code, code_of(answer)) == (400, "bad_format")


def test_a_client_that_waits_for_leave_to_send_its_body(daemon: Daemon) -> None:
    head = b"POST /v1/vaults HTTP/1.1\r\nHost: x\r\nExpect: 100-continue\r\nContent-Length: 2\r\n\r\n"
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(20)
        raw.connect(str(daemon.socket_path))
        raw.sendall(head)
        assert raw.recv(1024) == b"HTTP/1.1 100 Continue\r\n\r\n"
        raw.sendall(b"{}")
        assert raw.recv(1024).startswith(b"HTTP/1.1 400 ")


@pytest.mark.parametrize(
    "query",
    ["x=1", "limit=0", "limit=501", "limit=-1", "limit=1&limit=2", "limit=%D9%A1", "after=zz", "limit="],
)
def test_queries_are_strict(http: httpx.Client, query: str) -> None:
    answer = http.get(f"/v1/vaults?{query}")
    assert (answer.status_code, code_of(answer)) == (400, "bad_format")


@pytest.mark.parametrize("handle", ["00", "0" * 35, "G" * 34, "0" * 33 + "A", "%20" * 34, "é" * 34])
def test_handles_of_a_wrong_form_are_refused(http: httpx.Client, handle: str) -> None:
    answer = http.post(f"/v1/vaults/{handle}/challenge")
    assert (answer.status_code, code_of(answer)) == (400, "bad_format")


def test_a_handle_that_nobody_has_is_not_found(http: httpx.Client) -> None:
    handle = "01" + "0" * 32
    for method, path in (
        ("GET", ""),
        ("DELETE", ""),
        ("POST", "/challenge"),
        ("POST", "/resume"),
        ("GET", "/application-keys"),
        ("DELETE", "/application-keys/a"),
    ):
        answer = http.request(method, f"/v1/vaults/{handle}{path}")
        assert (answer.status_code, code_of(answer)) == (404, "vault_not_found")


def test_vaults_are_listed_by_page_and_by_name(daemon: Daemon, http: httpx.Client) -> None:
    vaults = VaultHttp(http)
    cohort = vaults.cohort()
    made = sorted(vaults.create(seal(cohort), f"page {number}").handle for number in range(5))
    seen: list[str] = []
    after: dict[str, Any] = {}
    while True:
        page = vaults.call("GET", "/v1/vaults", api.VaultList, None, limit=2, **after)
        seen += [vault.handle for vault in page.vaults]
        if page.next is None:
            break
        after = {"after": page.next}
    assert [handle for handle in seen if handle in made] == made
    (named,) = vaults.call("GET", "/v1/vaults", api.VaultList, name="page 3").vaults
    assert named.name == "page 3"
    assert vaults.call("GET", "/v1/vaults", api.VaultList, name="no such").vaults == ()


def test_nothing_unexpected_was_logged(daemon: Daemon) -> None:
    assert "unexpected error" not in daemon.log
    assert '"event": "library"' not in daemon.log
    assert Path(daemon.log_path).exists()
