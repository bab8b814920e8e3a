"""Times in the audit log: RFC 3339, UTC, milliseconds, always 24 characters.

Of one width, so that comparing two as text compares them as times.
"""

from __future__ import annotations

import time
from datetime import UTC, datetime

from hwkm.errors import FormatError


def now_ms() -> int:
    """Return the wall clock in milliseconds since 1970."""
    return time.time_ns() // 1_000_000


def format_time(ms: int) -> str:
    """Return ``2026-01-31T23:59:59.999Z`` for milliseconds since 1970.

    Raises:
        FormatError: before 1970 or after the year 9999.
    """
    try:
        whole = datetime.fromtimestamp(ms // 1000, UTC)
    except (ValueError, OverflowError, OSError) as exc:
        raise FormatError("a time is not between the years 1970 and 9999") from exc
    return f"{whole:%Y-%m-%dT%H:%M:%S}.{ms % 1000:03d}Z"


def check_time(text: str) -> None:
    """Refuse a date or time of day that does not exist; the shape was checked before.

    Raises:
        FormatError: there is no such time.
    """
    try:
        datetime.fromisoformat(text)
    except ValueError:
        raise FormatError("an audit record has a time that does not exist") from None
