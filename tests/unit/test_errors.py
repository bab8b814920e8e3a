"""Every error has a code of its own and a row in the table of the wire, both ways."""

from __future__ import annotations

import inspect
from collections import Counter

import pytest

from hwkm import errors
from hwkm.errors import HwkmError, RateLimited, WrongKnowledgeFactor
from hwkm.wire.problems import ERROR_BY_CODE, HTTP_STATUS, Problem, error_of, problem_of, status_of

CLASSES = [cls for _, cls in inspect.getmembers(errors, inspect.isclass) if issubclass(cls, HwkmError)]
every_error = pytest.mark.parametrize("cls", CLASSES, ids=lambda cls: str(cls.__name__))


def example(cls: type[HwkmError]) -> HwkmError:
    if issubclass(cls, WrongKnowledgeFactor):
        return cls(7, 30_000)
    if issubclass(cls, RateLimited):
        return cls("later", 1_500)
    return cls("what happened")


def test_codes_are_unique() -> None:
    counts = Counter(cls.code for cls in CLASSES)
    assert {code for code, count in counts.items() if count > 1} == set()


@every_error
def test_every_error_names_its_own_code(cls: type[HwkmError]) -> None:
    assert "code" in vars(cls)
    assert cls.code.isidentifier()
    assert cls.code == cls.code.lower()
    assert cls.__doc__


@every_error
def test_every_error_has_a_row(cls: type[HwkmError]) -> None:
    assert ERROR_BY_CODE[cls.code] is cls
    assert 400 <= HTTP_STATUS[cls] < 600
    assert status_of(example(cls)) == HTTP_STATUS[cls]


def test_the_table_has_no_other_rows() -> None:
    assert set(HTTP_STATUS) == set(CLASSES)
    assert len(ERROR_BY_CODE) == len(HTTP_STATUS)


@every_error
def test_every_error_survives_the_wire_with_its_facts(cls: type[HwkmError]) -> None:
    sent = example(cls)
    received = error_of(problem_of(sent))
    assert type(received) is cls
    assert str(received) == str(sent)
    for fact in ("attempts_remaining", "retry_after_ms"):
        assert getattr(received, fact, None) == getattr(sent, fact, None)


def test_code_of_a_newer_daemon_is_an_internal_error() -> None:
    received = error_of(Problem(code="not_invented_yet", message="something"))
    assert type(received) is HwkmError
    assert str(received) == "something"


def test_error_without_a_row_has_the_status_of_its_nearest_class() -> None:
    class NewTokenError(errors.TokenError):
        """Made by this test."""

    assert status_of(NewTokenError("x")) == HTTP_STATUS[errors.TokenError]


def test_retry_after_is_in_seconds() -> None:
    assert RateLimited("later", 1_500).retry_after == 1.5
