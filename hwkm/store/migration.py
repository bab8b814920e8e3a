"""Bringing the schema of the record database up to date.

The steps are Alembic migrations that lie in this package, so an installed hwkm needs no other file.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import Connection, Engine, inspect, text

from hwkm.store.engine import open_engine, translated

NEWEST_REVISION: Final = "0002"
"""The schema of this version; a test compares it with the steps."""


def upgrade(url: str) -> None:
    """Bring the database at ``url`` to the newest schema, in one transaction; may be repeated.

    Raises:
        ConfigError: the URL is wrong.
        StorageMismatch: the schema is newer than this hwkm knows, or the file is damaged.
        StorageUnavailable: the database cannot be read or written; nothing was changed.
    """
    engine = open_engine(url)
    try:
        upgrade_engine(engine)
    finally:
        engine.dispose()


def upgrade_engine(engine: Engine) -> None:
    """Do the work of :func:`upgrade` on an open engine."""
    with translated(engine.url), engine.begin() as connection:
        if not _is_current(connection):
            from hwkm.store.migration_steps import run_steps

            run_steps(connection)


def _is_current(connection: Connection) -> bool:
    """Whether there is nothing to do, asked without loading Alembic."""
    if not inspect(connection).has_table("alembic_version"):
        return False
    return list(connection.scalars(text("SELECT version_num FROM alembic_version"))) == [NEWEST_REVISION]
