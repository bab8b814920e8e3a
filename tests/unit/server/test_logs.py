"""The log tells where an error came from, and never what it was about."""

from __future__ import annotations

import json
import logging
import os
from collections.abc import Callable, Iterator
from pathlib import Path
from typing import Any

import pytest
import structlog

from hwkm.server.logs import get_log, set_up_logs

SECRET = "hunter2"


@pytest.fixture
def lines() -> Iterator[Callable[[], list[dict[str, Any]]]]:
    read_end, write_end = os.pipe()
    handlers, level = logging.root.handlers[:], logging.root.level
    set_up_logs("info", "json", write_end)

    def written() -> list[dict[str, Any]]:
        os.close(write_end)
        with os.fdopen(read_end) as stream:
            return [json.loads(line) for line in stream]

    yield written
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
        logging.getLogger("library").exception("Error handling request from %s", SECRET)
    (entry,) = lines()
    assert entry["template"] == "Error handling request from %s"
    assert entry["error"] == "ValueError"
    assert SECRET not in json.dumps(entry)


def test_less_than_the_level_is_left_out(lines: Callable[[], list[dict[str, Any]]]) -> None:
    get_log().debug("noise")
    logging.getLogger("asyncio").info("noise")
    assert lines() == []


def test_a_log_that_cannot_be_written_stops_nothing() -> None:
    with Path("/dev/full").open("wb") as full:
        set_up_logs("info", "json", full.fileno())
        get_log().error("nobody will read this")
    structlog.reset_defaults()
