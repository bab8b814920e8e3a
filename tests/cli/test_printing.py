"""What people see."""

from __future__ import annotations

import json

import pytest

from hwkm.cli import printing
from hwkm.cli.reporting import report
from hwkm.errors import (
    AccessDenied,
    HwkmError,
    RateLimited,
    Unavailable,
    VaultLocked,
    WrongKnowledgeFactor,
)


@pytest.mark.parametrize(
    ("milliseconds", "text"),
    [
        (0, "0 s"),
        (1, "1 s"),
        (1000, "1 s"),
        (1001, "2 s"),
        (59_999, "1 min"),
        (125_000, "2 min 5 s"),
        (3_600_000, "1 h"),
        (5_400_000, "1 h 30 min"),
        (7_200_500, "2 h"),
    ],
)
def test_waiting_times_are_rounded_up(milliseconds: int, text: str) -> None:
    assert printing.duration(milliseconds) == text


@pytest.mark.parametrize(
    ("number", "text"),
    [(0, "0 B"), (1023, "1023 B"), (1536, "1.5 KiB"), (2**30, "1.0 GiB"), (2**41, "2.0 TiB")],
)
def test_sizes(number: int, text: str) -> None:
    assert printing.size(number) == text


def test_names_cannot_steer_the_terminal(capsys: pytest.CaptureFixture[str]) -> None:
    evil = "a\x1b[2J\x9b31m\u202ereversed\r\n[bold]not markup[/bold]"
    printing.print_line(evil)
    printing.print_facts({"name": evil})
    printing.print_table(("name",), [(evil,)])
    printing.say(evil)
    captured = capsys.readouterr()
    for text in (captured.out, captured.err):
        assert not set("\x1b\x9b\u202e\r") & set(text)
        assert "[bold]not markup[/bold]" in text


def test_a_long_line_in_a_pipe_is_not_folded(capsys: pytest.CaptureFixture[str]) -> None:
    printing.print_line("x" * 1000)
    printing.print_facts({"key": "y" * 1000})
    assert capsys.readouterr().out == "x" * 1000 + "\n" + "key  " + "y" * 1000 + "\n"


@pytest.mark.parametrize(
    ("error", "expected"),
    [
        (WrongKnowledgeFactor(9), ["attempts remaining: 9"]),
        (WrongKnowledgeFactor(4, 30_000), ["attempts remaining: 4", "possible in 30 s"]),
        (WrongKnowledgeFactor(0), ["gone for good"]),
        (RateLimited("too soon", 90_000), ["too soon", "again in 1 min 30 s"]),
        (VaultLocked("the attempt limit was reached"), ["attempt limit"]),
        (Unavailable("no socket"), ["no socket", "hwkm doctor"]),
        (AccessDenied("no"), ["policy"]),
    ],
)
def test_errors_say_what_to_do(
    error: HwkmError, expected: list[str], capsys: pytest.CaptureFixture[str]
) -> None:
    report(error, as_json=False)
    captured = capsys.readouterr()
    assert captured.out == ""
    for text in expected:
        assert text in captured.err


def test_errors_in_json_are_those_of_the_wire(capsys: pytest.CaptureFixture[str]) -> None:
    report(WrongKnowledgeFactor(4, 30_000), as_json=True)
    error = json.loads(capsys.readouterr().out)["error"]
    assert error["code"] == "wrong_knowledge_factor"
    assert (error["attempts_remaining"], error["retry_after_ms"]) == (4, 30_000)
