"""The database of a node store: one SQLite table, SHA-256 digest to node bytes.

It holds everything but the latest puts, which wait in the :mod:`~hwkm.store.node_log` and are
taken over many at a time, in one transaction that also begins a new generation of the log. What a
transaction made durable is there after a crash of the process or of the machine (WAL,
``synchronous=FULL``: SQLite's log is fsynced before a commit returns).

The file is held under an exclusive lock for the life of the process: a second core on the
same store is refused, and no shared-memory file is needed. Why SQLite: ``docs/adr/0005``.
"""

from __future__ import annotations

import sqlite3
from collections.abc import Iterable, Iterator, Mapping
from contextlib import contextmanager
from dataclasses import dataclass
from pathlib import Path
from typing import Any, Final, Self

from hwkm.errors import StorageMismatch, StorageUnavailable
from hwkm.formats.node_log import Changes
from hwkm.store.faults import storage_fault
from hwkm.store.private_file import create_private

_APPLICATION_ID: Final = 0x68776B6E  # "hwkn", in the file's header
_SCHEMA_VERSION: Final = 2
_LOCK_WAIT_S: Final = 1.0
_GENERATION_MAX: Final = 2**62
_SWEPT_AT_ONCE: Final = 4096

_SCHEMA: Final = (
    "CREATE TABLE node (digest BLOB PRIMARY KEY, bytes BLOB NOT NULL) STRICT, WITHOUT ROWID",
    "CREATE TABLE tally (nodes INTEGER NOT NULL, log_generation INTEGER NOT NULL) STRICT",
    # Generations begin anywhere, so that the log of another database is never taken for our own.
    "INSERT INTO tally VALUES (0, abs(random() % 1000000000000) + 1)",
    f"PRAGMA application_id = {_APPLICATION_ID}",
    f"PRAGMA user_version = {_SCHEMA_VERSION}",
)


@dataclass(frozen=True, slots=True)
class NodeCounters:
    """How full a node store is."""

    nodes: int
    bytes_used: int
    """Database pages in use times the page size; the write-ahead log is not counted."""


class NodeDatabase:
    """Nodes in one file, used by one thread."""

    def __init__(self, path: Path | str) -> None:
        """Open the database at ``path``; an absent file is made, mode 0600.

        Raises:
            StorageMismatch: the file is damaged, or is not a node store of this version.
            StorageUnavailable: the file cannot be opened, or another process holds it.
        """
        self._path = Path(path)
        with _translated(self._path):
            create_private(self._path)
            self._database = sqlite3.connect(self._path, timeout=_LOCK_WAIT_S, isolation_level=None)
            try:
                _prepare(self._database, self._path)
                self._log_generation = _check_schema(self._database, self._path)
                _make_marks(self._database)
            except BaseException:
                self._database.close()
                raise

    def get(self, digest: bytes) -> bytes | None:
        """Return what is stored under ``digest`` (32 bytes), unchecked, or None.

        Raises:
            StorageMismatch: the file is damaged.
            StorageUnavailable: storage failed.
        """
        with _translated(self._path):
            row = self._database.execute("SELECT bytes FROM node WHERE digest = ?", (digest,)).fetchone()
        if row is None:
            return None
        return _node_bytes(row[0], self._path)

    @property
    def log_generation(self) -> int:
        """The generation of the log whose puts are not in here yet."""
        return self._log_generation

    def take_over(self, changes: Changes) -> None:
        """Make all changes of the log's generation and begin the next, in one transaction, fsynced.

        Raises:
            StorageMismatch: the file is damaged.
            StorageUnavailable: storage failed (disk full); nothing was applied, or a crash now may
                leave all of it. The same changes, and any later ones, have to be handed over again.
        """
        with self._transaction() as database:
            added = _insert(database, {digest: node for digest, node in changes.items() if node is not None})
            gone = [(digest,) for digest, node in changes.items() if node is None]
            removed = database.executemany("DELETE FROM node WHERE digest = ?", gone).rowcount
            _count(database, added - max(removed, 0))
            database.execute("UPDATE tally SET log_generation = ?", (self._log_generation + 1,))
        self._log_generation += 1

    def sweep(self, reachable: Iterable[bytes]) -> int:
        """Delete every node whose digest is not in ``reachable``; return how many went.

        Nothing is deleted unless ``reachable`` ends normally,
        so a walk that raises on a missing node costs nothing. Keeps about 50 bytes of memory a
        reachable node; deletes in up to 256 transactions, a crash between them does no harm.

        Raises:
            StorageMismatch: the file is damaged.
            StorageUnavailable: storage failed; some orphans may be gone.
        """
        with _translated(self._path):
            _mark(self._database, reachable)
        try:
            # Several transactions, so that the log of one stays small; each is harmless by itself.
            width = max(1, min(256, 256 * _SWEPT_AT_ONCE // (self.counters().nodes or 1)))
            return sum(self._sweep_range(first, first + width - 1) for first in range(0, 256, width))
        finally:
            with _translated(self._path):
                self._database.execute("DELETE FROM temp.marked")

    def counters(self) -> NodeCounters:
        """Return the counters, without a scan.

        Raises:
            StorageMismatch: the file is damaged.
            StorageUnavailable: storage failed.
        """
        with _translated(self._path):
            pages = _pragma(self._database, "page_count") - _pragma(self._database, "freelist_count")
            page_bytes = _pragma(self._database, "page_size")
            (nodes,) = self._database.execute("SELECT nodes FROM tally").fetchone()
        return NodeCounters(nodes=nodes, bytes_used=pages * page_bytes)

    def close(self) -> None:
        """Close the file and let go of its lock. May be called again."""
        with _translated(self._path):
            self._database.close()

    def __enter__(self) -> Self:
        return self

    def __exit__(self, *_: object) -> None:
        self.close()

    def _sweep_range(self, first: int, last: int) -> int:
        """Delete the unmarked nodes whose digest begins with a byte from ``first`` to ``last``."""
        bounds = (bytes([first]), bytes([min(last, 255)]) + b"\xff" * 32)
        with self._transaction() as database:
            removed = database.execute(
                "DELETE FROM node WHERE digest BETWEEN ? AND ?"
                " AND digest NOT IN (SELECT digest FROM temp.marked)",
                bounds,
            ).rowcount
            _count(database, -removed)
        return removed

    @contextmanager
    def _transaction(self) -> Iterator[sqlite3.Connection]:
        """Commit at the end, or roll back and leave the store usable."""
        with _translated(self._path):
            self._database.execute("BEGIN IMMEDIATE")
            try:
                yield self._database
                self._database.execute("COMMIT")
            except BaseException:
                # SQLite has rolled back by itself after some errors (disk full), not after others.
                if self._database.in_transaction:
                    self._database.execute("ROLLBACK")
                raise


@contextmanager
def _translated(path: Path) -> Iterator[None]:
    """Let no error of SQLite or of the operating system out under its own name."""
    try:
        yield
    except (sqlite3.Error, OSError, UnicodeDecodeError) as exc:
        raise storage_fault(exc, path) from exc


def _prepare(database: sqlite3.Connection, path: Path) -> None:
    """Take the lock, set the durability and check or make the schema."""
    database.execute("PRAGMA locking_mode = EXCLUSIVE")
    if database.execute("PRAGMA journal_mode = WAL").fetchone() != ("wal",):
        raise StorageUnavailable(f"{path} cannot be put into write-ahead mode")
    database.execute("PRAGMA synchronous = FULL")
    # A damaged or hostile file must not run code through its schema, nor fault through a mapping.
    database.execute("PRAGMA trusted_schema = OFF")
    database.execute("PRAGMA mmap_size = 0")
    database.execute("PRAGMA temp_store = MEMORY")


def _check_schema(database: sqlite3.Connection, path: Path) -> int:
    """Make the schema, or check that it is ours; return the generation of the log."""
    identity = (_pragma(database, "application_id"), _pragma(database, "user_version"))
    if identity == (0, 0) and not database.execute("SELECT 1 FROM sqlite_schema").fetchone():
        _create_schema(database)
        identity = (_APPLICATION_ID, _SCHEMA_VERSION)
    if identity != (_APPLICATION_ID, _SCHEMA_VERSION):
        raise StorageMismatch(f"{path} is not a node store of version {_SCHEMA_VERSION}")
    nodes, generation = database.execute("SELECT nodes, log_generation FROM tally").fetchone() or (None, None)
    if not isinstance(nodes, int) or not isinstance(generation, int) or not 0 < generation < _GENERATION_MAX:
        raise StorageMismatch(f"{path} has lost its tally of nodes")
    return generation


def _create_schema(database: sqlite3.Connection) -> None:
    """Make the tables in one transaction, so that a crash leaves an empty file or a whole store."""
    database.execute("BEGIN IMMEDIATE")
    for statement in _SCHEMA:
        database.execute(statement)
    database.execute("COMMIT")


def _insert(database: sqlite3.Connection, nodes: Mapping[bytes, bytes]) -> int:
    """Return how many digests are new; what lies wrongly under a known digest is replaced."""
    added = database.executemany("INSERT OR IGNORE INTO node VALUES (?, ?)", nodes.items()).rowcount
    if added < len(nodes):
        database.executemany(
            "UPDATE node SET bytes = :bytes WHERE digest = :digest AND bytes IS NOT :bytes",
            ({"digest": digest, "bytes": stored} for digest, stored in nodes.items()),
        )
    return max(added, 0)


def _make_marks(database: sqlite3.Connection) -> None:
    database.execute("CREATE TEMP TABLE marked (digest BLOB PRIMARY KEY) STRICT, WITHOUT ROWID")


def _mark(database: sqlite3.Connection, reachable: Iterable[bytes]) -> None:
    database.execute("DELETE FROM temp.marked")
    database.executemany("INSERT OR IGNORE INTO temp.marked VALUES (?)", ((digest,) for digest in reachable))


def _count(database: sqlite3.Connection, change: int) -> None:
    if change:
        database.execute("UPDATE tally SET nodes = nodes + ?", (change,))


def _pragma(database: sqlite3.Connection, name: str) -> int:
    (value,) = database.execute(f"PRAGMA {name}").fetchone()
    return int(value)


def _node_bytes(value: Any, path: Path) -> bytes:
    if not isinstance(value, bytes):
        raise StorageMismatch(f"{path} holds something that is not bytes under a digest")
    return value
