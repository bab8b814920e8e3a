"""From options to a database. Loaded only where it is asked for: SQLAlchemy takes a while."""

from __future__ import annotations

from pathlib import Path
from typing import Any, Final

import sqlalchemy as sa
import typer
from sqlalchemy.exc import ArgumentError, NoSuchModuleError

from hwkm.cli.pin import read_private_text
from hwkm.client.rewrap_rows import WrappedColumn
from hwkm.errors import ConfigError

_URL_BYTES_MAX: Final = 4096


def engine_of(url: str | None, file: Path | None) -> sa.Engine:
    """A database by its URL, or by the URL in a private file.

    Raises:
        ConfigError: the URL is not valid, or its driver is not installed.
        PinFileRefused: others can read the file.
    """
    if (url is None) == (file is None):
        raise typer.BadParameter("give one of --database and --database-file")
    text = url if file is None else read_private_text(file, "database file", _URL_BYTES_MAX)
    try:
        parsed = sa.make_url(text or "")
        if url is not None and parsed.password is not None:
            raise typer.BadParameter(
                "other users can see a password on a command line: write the URL to a private file and use --database-file"
            )
        return sa.create_engine(parsed)
    except ArgumentError:
        raise ConfigError("the database URL is not one that SQLAlchemy reads") from None
    except (NoSuchModuleError, ModuleNotFoundError) as exc:
        raise ConfigError(f"no driver for this database is installed: {exc}") from None


def typed_id(engine: sa.Engine, column: WrappedColumn, after: str | None) -> Any:
    """An id as the database has it: its column may hold numbers."""
    if after is None:
        return None
    columns = sa.inspect(engine).get_columns(column.table, column.schema)
    kind = next((c["type"].python_type for c in columns if c["name"] == column.id), str)
    try:
        return kind(after)
    except ValueError:
        raise typer.BadParameter(f"--after {after!r} cannot be a value of column {column.id}") from None
