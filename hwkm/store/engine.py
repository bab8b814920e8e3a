"""Opening the record database, and what its errors are called outside this package."""

from __future__ import annotations

import sqlite3
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Any, Final

from sqlalchemy import URL, Connection, Engine, create_engine, event
from sqlalchemy.engine import make_url
from sqlalchemy.exc import ArgumentError, DBAPIError, NoSuchModuleError, SQLAlchemyError

from hwkm.errors import ConfigError, StorageUnavailable
from hwkm.store.faults import storage_fault
from hwkm.store.private_file import create_private

_LOCK_WAIT_S: Final = 5.0
_SQLITE_SETTINGS: Final = (
    "PRAGMA journal_mode = WAL",
    "PRAGMA synchronous = FULL",
    "PRAGMA foreign_keys = ON",
    # Deleted bytes are overwritten with zeros: a destroyed vault leaves the file.
    "PRAGMA secure_delete = ON",
    "PRAGMA trusted_schema = OFF",
    "PRAGMA mmap_size = 0",
)


def open_engine(url: str) -> Engine:
    """Return an engine for ``url`` (``sqlite:////absolute/path`` or another SQLAlchemy URL).

    A SQLite file that is absent is made, mode 0600. Errors never carry parameters of statements.

    Raises:
        ConfigError: the URL is wrong, or names a database in memory.
        StorageUnavailable: the SQLite file cannot be made.
    """
    parsed = _parse(url)
    if parsed.get_backend_name() != "sqlite":
        return _create(parsed)
    with translated(parsed):
        create_private(_sqlite_path(parsed))
    engine = _create(parsed, connect_args={"timeout": _LOCK_WAIT_S})
    event.listen(engine, "connect", _set_up_sqlite)
    event.listen(engine, "begin", _begin_sqlite)
    return engine


@contextmanager
def translated(url: URL) -> Iterator[None]:
    """Let no error of SQLAlchemy, its driver or the operating system out under its own name."""
    try:
        yield
    except DBAPIError as exc:
        if isinstance(exc.orig, sqlite3.Error):
            raise storage_fault(exc.orig, url.database or "the record database") from exc
        # What a server says may quote a row; its class is enough.
        raise StorageUnavailable(f"{_shown(url)} failed ({type(exc.orig).__name__})") from exc
    except SQLAlchemyError as exc:
        raise StorageUnavailable(f"{_shown(url)} failed ({type(exc).__name__})") from exc
    except (sqlite3.Error, OSError, UnicodeDecodeError) as exc:
        raise storage_fault(exc, url.database or "the record database") from exc


def erase_log(connection: Connection) -> None:
    """Empty SQLite's write-ahead log, where deleted bytes live on; elsewhere do nothing.

    A reader in another process that is in the middle of a query can put this off to the next call.
    """
    if connection.dialect.name == "sqlite":
        connection.exec_driver_sql("PRAGMA wal_checkpoint(TRUNCATE)").close()


def _parse(url: str) -> URL:
    try:
        return make_url(url)
    except ArgumentError:
        raise ConfigError("the URL of the record database is not a SQLAlchemy URL") from None


def _create(url: URL, **options: Any) -> Engine:
    try:
        return create_engine(url, hide_parameters=True, **options)
    except (NoSuchModuleError, ModuleNotFoundError, ArgumentError) as exc:
        raise ConfigError(f"{_shown(url)}: no driver for this kind of database ({exc})") from None


def _sqlite_path(url: URL) -> Path:
    if not url.database or url.database == ":memory:" or url.database.startswith("file:"):
        raise ConfigError("the record database must be a file: sqlite:////absolute/path")
    return Path(url.database)


def _shown(url: URL) -> str:
    return url.render_as_string(hide_password=True)


def _set_up_sqlite(connection: sqlite3.Connection, _record: object) -> None:
    # The driver must not open transactions by itself: see _begin_sqlite.
    connection.isolation_level = None
    for setting in _SQLITE_SETTINGS:
        connection.execute(setting).close()


def _begin_sqlite(connection: Connection) -> None:
    """Take the write lock at once: a transaction that starts by reading could not be upgraded."""
    if connection.get_execution_options().get("isolation_level") != "AUTOCOMMIT":
        connection.exec_driver_sql("BEGIN IMMEDIATE")
