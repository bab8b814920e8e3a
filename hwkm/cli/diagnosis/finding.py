"""One thing that was looked at, and what was found."""

from __future__ import annotations

from dataclasses import dataclass
from enum import StrEnum


class Level(StrEnum):
    """How bad it is."""

    OK = "ok"
    SKIPPED = "skipped"
    WARNING = "warning"
    PROBLEM = "problem"


@dataclass(frozen=True, slots=True)
class Finding:
    """What was found, why it matters, what to do about it."""

    check: str
    level: Level
    what: str
    why: str = ""
    action: str = ""


def ok(check: str, what: str) -> Finding:
    """All is well."""
    return Finding(check, Level.OK, what)


def skipped(check: str, what: str) -> Finding:
    """It could not, or need not, be looked at."""
    return Finding(check, Level.SKIPPED, what)


def warning(check: str, what: str, why: str, action: str) -> Finding:
    """It works, and could be better."""
    return Finding(check, Level.WARNING, what, why, action)


def problem(check: str, what: str, why: str, action: str) -> Finding:
    """It does not work."""
    return Finding(check, Level.PROBLEM, what, why, action)
