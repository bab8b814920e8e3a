"""Times in the audit log: RFC 3339, UTC, milliseconds, always 24 characters.

Of one width, so that comparing two as text compares them as times.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime
from functools import lru_cache

from hwkm.errors import FormatError


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


@lru_cache(maxsize=4)  # the records of a batch have few different times
def format_time(ms: int) -> str:
    """Return ``2026-01-31T23:59:59.999Z`` for milliseconds since 1970.

    Raises:
        FormatError: before 1970 or after the year 9999.
    """
    return f"{_format_second(ms // 1000)}.{ms % 1000:03d}Z"


@lru_cache(maxsize=4)
def _format_second(second: int) -> str:
    if second < 0:
        raise FormatError("a time is not between the years 1970 and 9999")
    try:
        return f"{datetime.fromtimestamp(second, UTC):%Y-%m-%dT%H:%M:%S}"
    except (ValueError, OverflowError, OSError) as exc:
        raise FormatError("a time is not between the years 1970 and 9999") from exc


def check_time(text: str) -> None:
    """Refuse a date or time of day that does not exist; the shape was checked before.

    Raises:
        FormatError: there is no such time.
    """
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise FormatError("an audit record has a time that does not exist") from None
