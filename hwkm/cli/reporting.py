"""What a command does with a typed error: say it, say what to do about it, exit with its code."""

from __future__ import annotations

import functools
from collections.abc import Callable
from typing import Final, ParamSpec, TypeVar

import typer

from hwkm.cli.exits import exit_code_of
from hwkm.cli.printing import count, duration, print_json, say
from hwkm.errors import (
    AccessDenied,
    AliasExists,
    ChallengeRefused,
    CohortMismatch,
    HwkmError,
    KeyDisabled,
    KeyNotFound,
    KeyStateInvalid,
    RateLimited,
    TokenError,
    Unavailable,
    VaultSuspended,
    WrongKnowledgeFactor,
)
from hwkm.wire.problems import ProblemBody, problem_of

P = ParamSpec("P")
R = TypeVar("R")

_ADVICE: Final[dict[type[HwkmError], str]] = {
    VaultSuspended: "Hardware faults ate attempts without a verdict. An operator can run: hwkm vault resume",
    CohortMismatch: "If the operator told you of a new cohort key, compare it by `hwkm cohort show` and "
    "accept it by `hwkm cohort trust`. If not, do not enter your PIN.",
    AccessDenied: "Ask the operator: the socket's group and the policy file say who may do what.",
    KeyNotFound: "`hwkm key list` shows the keys that you may see.",
    KeyDisabled: "`hwkm key enable` lets it be used again.",
    KeyStateInvalid: "`hwkm key show` says in which state it is; `hwkm key cancel-deletion` keeps one that is pending.",
    AliasExists: "`hwkm key alias --move` lets it name another key.",
    ChallengeRefused: "Nothing was charged. Try again.",
    Unavailable: "`hwkm doctor` finds out why.",
    TokenError: "`hwkm doctor` finds out why.",
}


def reporting(command: Callable[P, R]) -> Callable[P, R]:
    """Make a command report errors; in JSON if it has an ``as_json`` that is set."""

    @functools.wraps(command)
    def reported(*args: P.args, **kwargs: P.kwargs) -> R:
        try:
            return command(*args, **kwargs)
        except HwkmError as exc:
            report(exc, as_json=bool(kwargs.get("as_json")))
            raise typer.Exit(exit_code_of(exc)) from None

    return reported


def report(error: HwkmError, *, as_json: bool) -> None:
    """Print an error: as JSON in the form it has on the wire, or for people."""
    if as_json:
        print_json(ProblemBody(error=problem_of(error)))
        return
    say(f"hwkm: {error}", style="red")
    advice = _advice(error)
    if advice:
        say(advice)


def _advice(error: HwkmError) -> str:
    match error:
        case WrongKnowledgeFactor(attempts_remaining=0):
            return "That was the last attempt: the recovery key is gone for good."
        case WrongKnowledgeFactor(retry_after_ms=pause) if pause:
            return f"The next attempt is possible in {duration(pause)}."
        case RateLimited(retry_after_ms=pause):
            return f"Try again in {duration(pause)}."
        case _:
            return next((_ADVICE[cls] for cls in type(error).__mro__ if cls in _ADVICE), "")


def attempts(number: int) -> str:
    """How many attempts remain."""
    return f"{count(number, 'attempt')} remaining"
