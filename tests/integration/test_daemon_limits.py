"""Every size, count and time that a caller could stretch has an end, and lets go again."""

from __future__ import annotations

import os
import signal
import socket
import threading
import time
from collections.abc import Iterator
from contextlib import ExitStack, contextmanager, suppress
from typing import Any

import pytest

from hwkm.errors import HwkmError, LimitExceeded, RateLimited, Unavailable
from hwkm.wire import api
from tests.core_process import MemoryToken
from tests.daemon import Daemon, Settings
from tests.vault_clients import seal
from tests.vault_http import VaultHttp

LIMITS: dict[str, Any] = {
    "connections": 6,
    "connections_per_uid": 4,
    "requests_in_flight": 2,
    "open_challenges": 4,
    "open_challenges_per_uid": 3,
    "vaults_per_uid": 3,
    "request_timeout": "500ms",
    "response_timeout": "500ms",
    "idle_timeout": "1s",
}


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    settings: Settings = {"limits": LIMITS, "attempts": {"challenge_lifetime": "1s"}}
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token")), settings=settings) as running:
        yield running


@contextmanager
def connected(daemon: Daemon) -> Iterator[socket.socket]:
    with socket.socket(socket.AF_UNIX) as raw:
        raw.settimeout(30)
        raw.connect(str(daemon.socket_path))
        yield raw


def read_all(raw: socket.socket) -> bytes:
    """Read until the daemon closes; an abort counts as the end."""
    received = b""
    try:
        while part := raw.recv(65536):
            received += part
    except ConnectionResetError:
        pass
    return received


@contextmanager
def frozen_core(daemon: Daemon) -> Iterator[None]:
    """Stop the core's process, so that requests stay in flight."""
    pid = daemon.status().core_pid
    os.kill(pid, signal.SIGSTOP)
    try:
        yield
    finally:
        os.kill(pid, signal.SIGCONT)


def wait_until_idle(daemon: Daemon) -> None:
    """Wait until the connections of the test before are gone."""
    deadline = time.monotonic() + 30
    while daemon.metrics()["hwkm_connections"] > 1:
        assert time.monotonic() < deadline
        time.sleep(0.05)


def test_connections_of_one_user(daemon: Daemon) -> None:
    wait_until_idle(daemon)
    with ExitStack() as stack:
        for _ in range(LIMITS["connections_per_uid"]):
            stack.enter_context(connected(daemon))
        with connected(daemon) as refused:
            answer = read_all(refused)
    assert answer.startswith(b"HTTP/1.1 429 ")
    assert b'"code":"rate_limited"' in answer
    assert b'"retry_after_ms":' in answer
    wait_until_idle(daemon)
    assert daemon.metrics()["hwkm_refused_connections_total"] == 1


def test_requests_in_flight(daemon: Daemon) -> None:
    wait_until_idle(daemon)
    results: list[HwkmError | None] = []

    def ask() -> None:
        with daemon.http() as http:
            try:
                VaultHttp(http).create(seal(cohort), "in flight")
                results.append(None)
            except HwkmError as exc:
                results.append(exc)

    with daemon.http() as http:
        cohort = VaultHttp(http).cohort()
        with frozen_core(daemon):
            threads = [threading.Thread(target=ask) for _ in range(3)]
            for thread in threads:
                thread.start()
            while not results:
                time.sleep(0.01)
            assert http.get("/metrics").status_code == 200
        for thread in threads:
            thread.join()
    refused = [result for result in results if isinstance(result, Unavailable)]
    assert len(refused) == 1
    assert "being worked on" in str(refused[0])


def test_open_challenges_of_one_user(daemon: Daemon) -> None:
    wait_until_idle(daemon)
    with daemon.http() as http:
        vaults = VaultHttp(http)
        vault = seal(vaults.cohort())
        vaults.create(vault)
        guesses = [vaults.claim(vault, vault.kf_hash) for _ in range(3)]
        with pytest.raises(RateLimited) as refused:
            vaults.challenge(vault)
        assert 0 < refused.value.retry_after_ms <= 1_000
        vaults.present(vault, guesses[0])
        vaults.challenge(vault)
        deadline = time.monotonic() + 30
        while time.monotonic() < deadline:  # until the first of them expires
            try:
                vaults.challenge(vault)
                break
            except RateLimited as exc:
                time.sleep(exc.retry_after)
        vaults.delete(vault)


def test_vaults_of_one_user(daemon: Daemon) -> None:
    wait_until_idle(daemon)
    with daemon.http() as http:
        vaults = VaultHttp(http)
        cohort = vaults.cohort()
        for left_over in vaults.call("GET", "/v1/vaults", api.VaultList).vaults:
            vaults.call("DELETE", f"/v1/vaults/{left_over.handle}", api.Nothing)
        made = [seal(cohort) for _ in range(3)]
        for vault in made:
            vaults.create(vault)
        with pytest.raises(LimitExceeded):
            vaults.create(seal(cohort))
        vaults.delete(made[0])
        vaults.create(seal(cohort))


# --- time ------------------------------------------------------------------------------------


def test_a_connection_that_says_nothing_is_closed(daemon: Daemon) -> None:
    with connected(daemon) as raw:
        assert read_all(raw) == b""


@pytest.mark.parametrize("sent", [b"G", b"GET /v1/status HTTP/1.1\r\nHost: x\r\nX-Slow"])
def test_a_head_that_does_not_come_to_an_end_is_cut_off(daemon: Daemon, sent: bytes) -> None:
    with connected(daemon) as raw:
        raw.sendall(sent)
        assert read_all(raw) == b""


def test_a_body_that_does_not_come_to_an_end_is_refused(daemon: Daemon) -> None:
    with connected(daemon) as raw:
        raw.sendall(b"POST /v1/vaults HTTP/1.1\r\nHost: x\r\nContent-Length: 10\r\n\r\n{")
        answer = read_all(raw)
    assert answer == b"" or b'"code":"limit_exceeded"' in answer


def test_a_caller_who_does_not_read_is_cut_off(daemon: Daemon) -> None:
    wait_until_idle(daemon)
    with connected(daemon) as raw:
        raw.setsockopt(socket.SOL_SOCKET, socket.SO_RCVBUF, 2048)
        raw.settimeout(0.2)
        request = b"GET /v1/openapi.json HTTP/1.1\r\nHost: x\r\n\r\n"
        with suppress(TimeoutError, ConnectionError):  # until nothing more goes in
            while True:
                raw.sendall(request * 100)
        deadline = time.monotonic() + 30
        with daemon.http() as http:
            while "hwkm_connections 1.0" not in http.get("/metrics").text:
                assert time.monotonic() < deadline
                time.sleep(0.05)


def test_none_of_it_has_harmed_the_daemon(daemon: Daemon) -> None:
    assert daemon.status().state == "ready"
    assert "unexpected error" not in daemon.log
