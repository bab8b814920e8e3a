"""Writes ``docs/cli.md`` from the command itself: ``python -m hwkm.cli.reference``.

A test compares the two, so the document is never out of date.
"""

from __future__ import annotations

import typer
from typer.cli import get_docs_for_click

from hwkm.cli.main import app

_NOTE = "<!-- Written by `make docs` from the command itself. Do not edit. -->"


def reference() -> str:
    """Every command, argument and option, as Markdown."""
    command = typer.main.get_command(app)
    context = typer.Context(command, info_name="hwkm")
    text = get_docs_for_click(obj=command, ctx=context, name="hwkm", title="The `hwkm` command")
    return f"{_NOTE}\n\n{text.strip()}\n"


if __name__ == "__main__":
    print(reference(), end="")
