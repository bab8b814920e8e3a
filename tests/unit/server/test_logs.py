"""The log tells where an error came from, and never what it was about."""

from __future__ import annotations

import io
import json
import logging
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import structlog

from hwkm.server.logs import get_log, set_up_logs

SECRET = "hunter2"


@pytest.fixture
def lines(monkeypatch: pytest.MonkeyPatch) -> Iterator[Callable[[], list[dict[str, Any]]]]:
    stream = io.StringIO()
    monkeypatch.setattr("sys.stderr", stream)
    handlers, level = logging.root.handlers[:], logging.root.level
    set_up_logs("info", "json")
    yield lambda: [json.loads(line) for line in stream.getvalue().splitlines()]
    structlog.reset_defaults()
    logging.root.handlers[:], logging.root.level = handlers, level


def fail() -> None:
    raise ValueError(f"could not decode {SECRET}")


def test_an_error_is_its_type_and_its_places(lines: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        fail()
    except ValueError as exc:
        get_log().error("unexpected error", exc_info=exc)
    (entry,) = lines()
    assert entry["error"] == "ValueError"
    assert entry["places"][-1].startswith("test_logs.fail:")
    assert SECRET not in json.dumps(entry)


def test_what_libraries_log_goes_without_its_arguments(lines: Callable[[], list[dict[str, Any]]]) -> None:
    try:
        fail()
    except ValueError:
        logging.getLogger("aiohttp.server").exception("Error handling request from %s", SECRET)
    (entry,) = lines()
    assert entry["template"] == "Error handling request from %s"
    assert entry["error"] == "ValueError"
    assert SECRET not in json.dumps(entry)


def test_less_than_the_level_is_left_out(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_log().debug("noise")
    logging.getLogger("asyncio").info("noise")
    assert lines() == []
