"""How a command ends that did the same to many things: each failure when it happens, then the counts."""

from __future__ import annotations

from collections.abc import Iterator, Mapping
from contextlib import contextmanager
from typing import Any, Final

import typer

from hwkm.cli.exits import ExitCode, exit_code_of
from hwkm.cli.printing import count, print_json, print_line, say
from hwkm.cli.reporting import report
from hwkm.errors import HwkmError
from hwkm.wire.problems import problem_of

FAILURES_LISTED_MAX: Final = 1000

REWRAPPED: Final = "rewrapped"
FAILED: Final = "failed"

_WORDS: Final = {
    "current": "up to date already",
    "left": "left alone",
    "recovered": "finished after an interruption",
    "changed": "changed by somebody else meanwhile",
    FAILED: "failed",
}
"""By the values of Outcome and RowOutcome."""


class Failures:
    """Says each failure when it happens, and remembers the first of them for JSON."""

    def __init__(self, *, as_json: bool) -> None:
        self._as_json = as_json
        self.listed: list[dict[str, Any]] = []

    def add(self, what: str, error: HwkmError) -> None:
        """Note a failure."""
        if not self._as_json:
            say(f"{what}: {error}", style="red")
        if len(self.listed) < FAILURES_LISTED_MAX:
            problem = problem_of(error)
            self.listed.append({"what": what, "code": problem.code, "message": problem.message})


@contextmanager
def resumable() -> Iterator[None]:
    """Say to whoever interrupts what becomes of what was done."""
    try:
        yield
    except KeyboardInterrupt:
        say("Interrupted. What is done stays done; run it again to go on.")
        raise


def summary_of(counts: Mapping[str, int], noun: str, *, dry_run: bool) -> str:
    """A sentence of the counts."""
    rewrapped = count(counts[REWRAPPED], noun)
    parts = [f"Would rewrap {rewrapped}" if dry_run else f"Rewrapped {rewrapped}"]
    parts += [f"{counts[outcome]} {words}" for outcome, words in _WORDS.items() if counts.get(outcome)]
    return "; ".join(parts) + "."


def finish(facts: dict[str, Any], summary: str, stopped: HwkmError | None, *, as_json: bool) -> None:
    """Print how it ended; exit with the code of what stopped it, or of some failures."""
    if as_json:
        print_json({**facts, "stopped": problem_of(stopped) if stopped else None})
    else:
        print_line(summary)
    if stopped:
        if not as_json:
            report(stopped, as_json=False)
        raise typer.Exit(exit_code_of(stopped))
    if facts[FAILED]:
        raise typer.Exit(ExitCode.SOME_FAILED)
