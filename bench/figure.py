"""One measured figure and its goal."""

from __future__ import annotations

import operator
from dataclasses import dataclass
from typing import Final, Literal

_COMPARE: Final = {"<=": operator.le, ">=": operator.ge}


@dataclass(frozen=True, slots=True)
class Goal:
    """A bound: at most, or at least, so much."""

    relation: Literal["<=", ">="]
    bound: float

    def __str__(self) -> str:
        return f"{'≤' if self.relation == '<=' else '≥'} {self.bound:g}"


@dataclass(frozen=True, slots=True)
class Figure:
    """A name, the device it was measured on, a value with its unit, and a goal if there is one."""

    name: str
    device: str
    value: float
    unit: str
    goal: Goal | None = None

    @property
    def is_met(self) -> bool | None:
        """Whether the goal is met; None where there is none."""
        if self.goal is None:
            return None
        return bool(_COMPARE[self.goal.relation](self.value, self.goal.bound))


def at_most(bound: float) -> Goal:
    """A goal that is met by values up to ``bound``."""
    return Goal("<=", bound)


def at_least(bound: float) -> Goal:
    """A goal that is met by values from ``bound`` on."""
    return Goal(">=", bound)
