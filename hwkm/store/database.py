"""One open database: a connection that writes in transactions, and one that reads without."""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from contextlib import contextmanager
from typing import Any, Self

from sqlalchemy import Connection, Engine
from sqlalchemy.exc import IntegrityError

from hwkm.errors import HwkmError
from hwkm.store.engine import erase_log, open_engine, translated
from hwkm.store.migration import upgrade_engine


class Database:
    """Used by one thread at a time. No error of SQLAlchemy or of the driver leaves it.

    All methods raise StorageMismatch where the database is damaged and StorageUnavailable where it fails.
    """

    def __init__(self, engine: Engine) -> None:
        """Keep two connections of ``engine`` open; its schema is up to date already."""
        self._engine = engine
        with translated(engine.url):
            self._writer = engine.connect()
            # A read is one statement and a snapshot by itself: no BEGIN and ROLLBACK around it.
            self._reader = engine.execution_options(isolation_level="AUTOCOMMIT").connect()

    @classmethod
    def open(cls, url: str) -> Self:
        """Open the database at ``url``, its schema brought up to date.

        Raises:
            ConfigError: the URL is wrong.
            StorageMismatch: the schema is newer than this hwkm knows, or the file is damaged.
        """
        engine = open_engine(url)
        try:
            upgrade_engine(engine)
            return cls(engine)
        except HwkmError:
            engine.dispose()
            raise

    def close(self) -> None:
        """Let go of the database. May be called again."""
        with translated(self._engine.url):
            self._reader.close()
            self._writer.close()
            self._engine.dispose()

    def read(self, statement: Any, **parameters: Any) -> Sequence[Any]:
        """Return all rows of a SELECT."""
        with translated(self._engine.url):
            try:
                return self._reader.execute(statement, parameters).all()
            except BaseException:
                self._reader.rollback()  # a lost connection is made anew after this
                raise

    @contextmanager
    def transaction(self, conflict: HwkmError) -> Iterator[Connection]:
        """Do what is inside as a whole or not at all; durable when it ends.

        Raises:
            ``conflict``: it broke a constraint of the schema.
        """
        with translated(self._engine.url):
            try:
                with self._writer.begin():
                    yield self._writer
            except IntegrityError as exc:
                raise conflict from exc

    def erase_log(self) -> None:
        """Empty SQLite's write-ahead log, where deleted bytes live on."""
        with translated(self._engine.url):
            erase_log(self._reader)
