"""Printing: for people on a terminal or in a pipe, or as JSON for programs.

Text that comes from outside (names of vaults, messages of a daemon) is printed so that it cannot
steer the terminal.
"""

from __future__ import annotations

import sys
from collections.abc import Iterable, Mapping, Sequence
from typing import Any, Final

import msgspec
from rich.console import Console
from rich.table import Table
from rich.text import Text

_WIDE: Final = 240
"""Columns where there is no terminal: a table in a pipe is not folded."""


def stdout() -> Console:
    """For results."""
    return _console(stderr=False)


def stderr() -> Console:
    """For messages, prompts and progress."""
    return _console(stderr=True)


def _console(*, stderr: bool) -> Console:
    stream = sys.stderr if stderr else sys.stdout
    width = None if stream.isatty() else _WIDE
    return Console(stderr=stderr, highlight=False, markup=False, emoji=False, width=width)


def printable(text: str) -> str:
    """The text with everything that is not printable escaped."""
    return "".join(c if c.isprintable() else c.encode("unicode_escape").decode("ascii") for c in text)


def print_json(value: Any) -> None:
    """Print a value as JSON, two spaces deep."""
    print(msgspec.json.format(msgspec.json.encode(value), indent=2).decode())


def print_line(text: str, style: str = "") -> None:
    """Print a line of a result."""
    stdout().print(Text(printable(text), style=style), soft_wrap=True)


def say(text: str, style: str = "") -> None:
    """Print a line that is no result."""
    stderr().print(Text(printable(text), style=style), soft_wrap=True)


def print_facts(facts: Mapping[str, object]) -> None:
    """Print names and values, one a line, aligned."""
    width = max(map(len, facts))
    for name, value in facts.items():
        line = Text.assemble((f"{name:<{width}}  ", "dim"), printable(str(value)))
        stdout().print(line, soft_wrap=True)


def print_table(columns: Sequence[str], rows: Iterable[Sequence[object]]) -> None:
    """Print rows under headings."""
    table = Table(*columns, box=None, pad_edge=False, header_style="bold")
    for row in rows:
        table.add_row(*(Text(printable(str(value)), overflow="fold") for value in row))
    stdout().print(table)


def count(number: int, noun: str) -> str:
    """A number and its noun: ``1 attempt``, ``9 attempts``."""
    return f"{number} {noun}" if number == 1 else f"{number} {noun}s"


def duration(milliseconds: int) -> str:
    """A time to wait as people say it, rounded up: ``1 s``, ``2 min 5 s``, ``1 h 30 min``."""
    seconds = -(-milliseconds // 1000)
    minutes, rest = divmod(seconds, 60)
    hours, minutes_rest = divmod(minutes, 60)
    parts = [(hours, "h"), (minutes_rest, "min")] if hours else [(minutes, "min"), (rest, "s")]
    return " ".join(f"{number} {unit}" for number, unit in parts if number) or "0 s"


def size(number: int) -> str:
    """A number of bytes as people say it: ``512 B``, ``1.5 MiB``."""
    value = float(number)
    for unit in ("B", "KiB", "MiB", "GiB"):
        if value < 1024:
            return f"{value:.0f} B" if unit == "B" else f"{value:.1f} {unit}"
        value /= 1024
    return f"{value:.1f} TiB"
