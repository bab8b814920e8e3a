"""Progress bars on a terminal; nothing at all where there is none."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager

from rich.progress import (
    BarColumn,
    DownloadColumn,
    MofNCompleteColumn,
    Progress,
    ProgressColumn,
    TextColumn,
    TimeRemainingColumn,
    TransferSpeedColumn,
)

from hwkm.cli.printing import stderr

Advance = Callable[[int], None]
"""Called with how much more is done."""


@contextmanager
def bytes_bar(what: str, total: int | None) -> Iterator[Advance]:
    """A bar for so many bytes, or for an unknown number of them."""
    with _bar(what, total, DownloadColumn(), TransferSpeedColumn()) as advance:
        yield advance


@contextmanager
def items_bar(what: str, total: int | None) -> Iterator[Advance]:
    """A bar for so many files or rows."""
    with _bar(what, total, MofNCompleteColumn()) as advance:
        yield advance


@contextmanager
def _bar(what: str, total: int | None, *amounts: ProgressColumn) -> Iterator[Advance]:
    console = stderr()
    columns = (TextColumn(what), BarColumn(), *amounts, TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task(what, total=total)
        yield lambda done: bar.advance(task, done)
