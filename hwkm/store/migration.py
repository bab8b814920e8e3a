"""Bringing the schema of the record database up to date.

The steps are Alembic migrations that lie in this package, so an installed hwkm needs no other file.
"""

from __future__ import annotations

from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection, Engine

from hwkm.errors import StorageMismatch
from hwkm.store.engine import open_engine, translated

_SCRIPTS: Final = "hwkm.store:migrations"


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
        config = _config(connection)
        _refuse_unknown(connection, config)
        command.upgrade(config, "head")


def _config(connection: Connection) -> Config:
    config = Config()
    config.set_main_option("script_location", _SCRIPTS)
    config.attributes["connection"] = connection
    return config


def _refuse_unknown(connection: Connection, config: Config) -> None:
    """An older hwkm must not write into a database whose rules it does not know."""
    current = MigrationContext.configure(connection).get_current_revision()
    known = {script.revision for script in ScriptDirectory.from_config(config).walk_revisions()}
    if current is not None and current not in known:
        raise StorageMismatch(f"the record database has schema {current}, made by a newer hwkm; upgrade hwkm")
