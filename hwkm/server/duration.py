"""Durations as people write them in the configuration: ``"250ms"``, ``"5m"``, ``"1h"``."""

from __future__ import annotations

import re
from typing import Final

_UNITS_MS: Final = {"ms": 1, "s": 1_000, "m": 60_000, "h": 3_600_000, "d": 86_400_000}
_DURATION: Final = re.compile(r"([0-9]{1,9})(ms|s|m|h|d)")


class Duration(int):
    """A span of time in milliseconds."""

    __slots__ = ()

    @property
    def seconds(self) -> float:
        """The span in seconds."""
        return self / 1000

    @classmethod
    def parse(cls, text: str) -> Duration:
        """Read a whole number and its unit: ms, s, m, h or d.

        Raises:
            ValueError: it is written otherwise.
        """
        found = _DURATION.fullmatch(text)
        if found is None:
            raise ValueError('expected a duration such as "250ms", "30s", "5m" or "1h"')
        return cls(int(found[1]) * _UNITS_MS[found[2]])

    def __str__(self) -> str:
        """The shortest way to write it."""
        for unit, size in reversed(_UNITS_MS.items()):
            if self % size == 0 and (self or unit == "s"):
                return f"{self // size}{unit}"
        raise AssertionError("every number is a multiple of 1 ms")
