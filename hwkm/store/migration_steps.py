"""Runs the Alembic steps; apart from :mod:`hwkm.store.migration`, since to load Alembic takes long."""

from __future__ import annotations

from typing import Final

from alembic import command
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import Connection

from hwkm.errors import StorageMismatch

_SCRIPTS: Final = "hwkm.store:migrations"


def run_steps(connection: Connection) -> None:
    """Bring the schema to its newest revision, in the transaction of ``connection``.

    Raises:
        StorageMismatch: the schema is newer than this hwkm knows.
    """
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
