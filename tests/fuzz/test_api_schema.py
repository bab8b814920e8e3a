"""What the OpenAPI document describes, right and wrong, sent to a real daemon (Schemathesis).

Whatever is sent, the daemon answers with a status and a body that the document allows, never
with an unexpected error, and refuses what the document forbids.
"""

from __future__ import annotations

import json
from collections.abc import Iterator
from pathlib import Path
from typing import Any

import httpx
import pytest
import schemathesis
from hypothesis import HealthCheck, settings
from schemathesis.checks import CHECKS, load_all_checks

from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.key_http import KeyHttp
from tests.vault_clients import seal
from tests.vault_http import VaultHttp, handle_of

DOCUMENT = Path(__file__).resolve().parents[2] / "docs" / "openapi.json"
_PASSED_ON = frozenset({"method", "url", "headers", "params", "json"})

# What would leave nothing to go on with.
_FINAL = frozenset({"/v1/keys/disable", "/v1/keys/schedule-deletion"})

load_all_checks()
# Random bytes of the right length are no vault: that they are well described does not make them right.
EXCLUDED: list[Any] = [CHECKS.get_one("positive_data_acceptance")]

schema = schemathesis.openapi.from_dict(json.loads(DOCUMENT.read_bytes()))


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    # Long lists are to be refused for what is wrong in them, not for their length.
    limits = {"limits": {"body_bytes": 16 * 1024 * 1024}}
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token")), settings=limits) as running:
        yield running


@pytest.fixture(scope="module")
def http(daemon: Daemon) -> Iterator[httpx.Client]:
    with daemon.http() as client:
        yield client


@pytest.fixture(scope="module")
def handle(daemon: Daemon) -> str:
    """A vault that is there, so that some requests get further than its absence."""
    with daemon.http() as http:
        vault = seal(VaultHttp(http).cohort())
        VaultHttp(http).create(vault)
    return handle_of(vault)


@pytest.fixture(scope="module")
def key(daemon: Daemon) -> str:
    """A key that is there, for the same reason."""
    with daemon.http() as http:
        return KeyHttp(http).create(alias="alias/schema").arn


def send(http: httpx.Client, case: schemathesis.Case[Any]) -> None:
    """Send a case and check the answer against the document."""
    request: dict[str, Any] = case.as_transport_kwargs(base_url="http://hwkmd")
    body = request.pop("data", None)
    sent = {name: value for name, value in request.items() if name in _PASSED_ON}
    case.validate_response(http.request(**sent, content=body), excluded_checks=EXCLUDED)


@pytest.mark.slow
@schema.parametrize()
@settings(max_examples=50, suppress_health_check=list(HealthCheck))
def test_every_answer_is_one_that_the_document_allows(
    case: schemathesis.Case[Any], http: httpx.Client, handle: str, key: str
) -> None:
    send(http, case)
    if isinstance(case.body, dict) and "key" in case.body and case.path not in _FINAL:
        case.body["key"] = key
        send(http, case)
    if "handle" in case.path_parameters and case.method != "DELETE":
        case.path_parameters["handle"] = handle
        send(http, case)


def test_none_of_it_was_unexpected(daemon: Daemon) -> None:
    assert daemon.status().state == "ready"
    assert "unexpected error" not in daemon.log
