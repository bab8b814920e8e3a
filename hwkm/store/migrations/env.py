"""Run by Alembic for every migration command; the connection comes from hwkm.store.migration."""

from alembic import context
from sqlalchemy import Connection

from hwkm.store.tables import metadata


def run(connection: Connection) -> None:
    """Migrate inside the transaction that the caller opened, so that it is all or nothing."""
    context.configure(connection=connection, target_metadata=metadata, transactional_ddl=True)
    context.run_migrations()


run(context.config.attributes["connection"])
