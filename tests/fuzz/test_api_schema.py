"""What the OpenAPI document describes, right and wrong, sent to a real daemon (Schemathesis).

Whatever is sent, the daemon answers with a status and a body that the document allows, never
with an unexpected error, and refuses what the document forbids.
"""

from __future__ import annotations

import json
import socket
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import pytest
import requests
import schemathesis
from hypothesis import HealthCheck, settings
from requests.adapters import HTTPAdapter
from schemathesis.checks import CHECKS, load_all_checks
from urllib3 import HTTPConnectionPool
from urllib3.connection import HTTPConnection

from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.vault_clients import seal
from tests.vault_http import VaultHttp, handle_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
BASE_URL = "http://hwkmd"

load_all_checks()
# Random bytes of the right length are no vault: that they are well described does not make them right.
EXCLUDED = [CHECKS.get_one("positive_data_acceptance")]

schema = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_bytes()))


class _UnixConnection(HTTPConnection):
    def __init__(self, path: str) -> None:
        super().__init__("hwkmd")
        self._path = path

    def connect(self) -> None:
        self.sock = socket.socket(socket.AF_UNIX)
        self.sock.settimeout(60)
        self.sock.connect(self._path)


class _UnixPool(HTTPConnectionPool):
    def __init__(self, path: str) -> None:
        super().__init__("hwkmd")
        self._path = path

    def _new_conn(self) -> Any:
        return _UnixConnection(self._path)


class _UnixAdapter(HTTPAdapter):
    """Sends everything to one Unix socket."""

    def __init__(self, path: Path) -> None:
        super().__init__()
        self._pool = _UnixPool(str(path))

    def get_connection_with_tls_context(self, *_: Any, **__: Any) -> Any:
        return self._pool


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        yield running


@pytest.fixture(scope="module")
def session(daemon: Daemon) -> Iterator[requests.Session]:
    with requests.Session() as opened:
        opened.trust_env = False
        opened.mount(BASE_URL, _UnixAdapter(daemon.socket_path))
        yield opened


@pytest.fixture(scope="module")
def handle(daemon: Daemon) -> str:
    """A vault that is there, so that some requests get further than its absence."""
    with daemon.http() as http:
        vault = seal(VaultHttp(http).cohort())
        VaultHttp(http).create(vault)
    return handle_of(vault)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_allows(
    case: schemathesis.Case, session: requests.Session, handle: str
) -> None:
    case.call_and_validate(base_url=BASE_URL, session=session, excluded_checks=EXCLUDED)
    if "handle" in case.path_parameters and case.operation.label.startswith(("GET", "POST", "PUT")):
        case.path_parameters["handle"] = handle
        case.call_and_validate(base_url=BASE_URL, session=session, excluded_checks=EXCLUDED)


def test_none_of_it_was_unexpected(daemon: Daemon) -> None:
    assert daemon.status().state == "ready"
    assert "unexpected error" not in daemon.log
