"""Any bytes on the daemon's socket: an answer, if there is one, is HTTP with typed JSON, and the daemon lives."""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator

import pytest
from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from tests.core_process import MemoryToken
from tests.daemon import Daemon

REQUESTS = (
    b"GET /v1/status HTTP/1.1\r\nHost: x\r\n\r\n",
    b"GET /v1/vaults?limit=1&name=x HTTP/1.1\r\nHost: x\r\nAccept: */*\r\n\r\n",
    b'POST /v1/vaults HTTP/1.1\r\nHost: x\r\nContent-Length: 12\r\n\r\n{"name": "a"}',
    b"POST /v1/vaults HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n2\r\n{}\r\n0\r\n\r\n",
    b"PUT /v1/vaults/"
    + b"01" * 17
    + b"/application-keys/a HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\n{}",
)


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        yield running


@st.composite
def damaged_requests(draw: st.DrawFn) -> bytes:
    """A request with a few pieces cut out, put in or changed."""
    data = draw(st.sampled_from(REQUESTS))
    for _ in range(draw(st.integers(0, 4))):
        start = draw(st.integers(0, len(data)))
        end = draw(st.integers(start, min(len(data), start + 8)))
        data = data[:start] + draw(st.binary(max_size=8)) + data[end:]
    return data


def exchange(daemon: Daemon, sent: bytes) -> bytes:
    """Send bytes, then the end, and read what comes."""
    received = b""
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(60)
        raw.connect(str(daemon.socket_path))
        try:
            raw.sendall(sent)
            if sent.endswith(b"\r\n\r\n"):
                raw.settimeout(0.05)  # the answer may be on its way; if not, there is none
                received += raw.recv(65536)
                raw.settimeout(60)
            raw.shutdown(socket.SHUT_WR)
            while part := raw.recv(65536):
                received += part
        except (BrokenPipeError, ConnectionResetError, TimeoutError):
            pass
    return received


@given(st.one_of(damaged_requests(), st.binary(max_size=300)))
@example(b"GET / HTTP/1.1\r\nUpgrade: websocket\r\nConnection: upgrade\r\n\r\nGARBAGE\r\n\r\n")
@example(b"PRI * HTTP/2.0\r\n\r\nSM\r\n\r\n")
@example(b"GET http://[::1 HTTP/1.1\r\n\r\n")
@example(b"GET //// HTTP/1.1\r\n\r\n")
@example(b"CONNECT x:1 HTTP/1.1\r\n\r\n")
@example(b"OPTIONS * HTTP/1.1\r\n\r\n")
@example(b"GET /v1/vaults?\xff\xfe=%ff HTTP/1.1\r\nHost: x\r\n\r\n")
@example(b"GET /v1HTTP/1.1\r\nHost: x\r\n\r\n")
@settings(max_examples=150, suppress_health_check=[HealthCheck.function_scoped_fixture])
def test_any_bytes_are_answered_in_json_or_not_at_all(daemon: Daemon, sent: bytes) -> None:
    answer = exchange(daemon, sent)
    if not answer:
        return
    head, _, body = answer.partition(b"\r\n\r\n")
    assert head.startswith(b"HTTP/")
    status = int(head.split()[1])
    assert status != 500, head
    first, _ = json.JSONDecoder().raw_decode(body.decode())
    assert status == 200 or first["error"]["code"]


def test_the_daemon_is_as_it_was(daemon: Daemon) -> None:
    assert daemon.status().state == "ready"
    assert "unexpected error" not in daemon.log
    assert '"level": "error"' not in daemon.log
