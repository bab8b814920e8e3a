"""A node store that was damaged or swapped is refused with a typed error, never with SQLite's own."""

from __future__ import annotations

import sqlite3
from collections.abc import Callable
from contextlib import suppress
from pathlib import Path

import pytest
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st

from hwkm.errors import StorageMismatch, StorageUnavailable
from hwkm.store.nodes import SqliteNodeStore
from tests.unit.store.examples import nodes

EVERYTHING = nodes(*(f"node {number}" for number in range(200)))


@pytest.fixture
def path(tmp_path: Path) -> Path:
    """A closed store of 200 nodes, all of it in the database file: to be counted they leave the log."""
    path = tmp_path / "nodes.db"
    with SqliteNodeStore(path) as store:
        store.put(EVERYTHING, [])
        assert store.counters().nodes == len(EVERYTHING)
    return path


def use(path: Path) -> None:
    """Do with the store all that can be done."""
    with SqliteNodeStore(path) as store:
        for digest in EVERYTHING:
            store.get(digest)
        store.counters()
        store.put(nodes("one more"), list(EVERYTHING)[:50])
        store.sweep(list(EVERYTHING)[:100])


def alter(path: Path, *statements: str) -> None:
    database = sqlite3.connect(path)
    for statement in statements:
        database.execute(statement)
    database.commit()
    database.close()


def test_a_file_that_is_not_a_database_is_refused(tmp_path: Path) -> None:
    (tmp_path / "nodes.db").write_bytes(b"this is not a database " * 500)
    with pytest.raises(StorageMismatch, match=r"nodes\.db"):
        use(tmp_path / "nodes.db")


def test_another_sqlite_database_is_refused_and_left_alone(tmp_path: Path) -> None:
    alter(tmp_path / "nodes.db", "CREATE TABLE other (a)")
    with pytest.raises(StorageMismatch, match="not a node store"):
        use(tmp_path / "nodes.db")
    database = sqlite3.connect(tmp_path / "nodes.db")
    assert database.execute("SELECT name FROM sqlite_schema").fetchall() == [("other",)]


def test_a_store_of_a_newer_version_is_refused(path: Path) -> None:
    alter(path, "PRAGMA user_version = 3")
    with pytest.raises(StorageMismatch, match="version 2"):
        use(path)


@pytest.mark.parametrize(
    "statement",
    ["DROP TABLE tally", "DELETE FROM tally", "DROP TABLE node"],
)
def test_a_store_that_lost_a_table_is_refused(path: Path, statement: str) -> None:
    alter(path, statement)
    with pytest.raises((StorageMismatch, StorageUnavailable)):
        use(path)


def test_a_value_that_is_not_bytes_is_refused(path: Path) -> None:
    alter(
        path,
        "ALTER TABLE node RENAME TO node_before",
        "CREATE TABLE node (digest BLOB PRIMARY KEY, bytes)",
        "INSERT INTO node SELECT digest, 'text' FROM node_before",
    )
    with pytest.raises(StorageMismatch, match="not bytes"):
        use(path)


@pytest.mark.parametrize("share", [0.02, 0.3, 0.5, 0.9])
def test_a_truncated_file_is_refused(path: Path, share: float) -> None:
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((StorageMismatch, StorageUnavailable)):
        use(path)


def test_a_file_cut_to_nothing_is_an_empty_store_and_the_tree_sees_that_its_root_is_gone(path: Path) -> None:
    path.write_bytes(b"")
    with SqliteNodeStore(path) as store:
        assert store.get(next(iter(EVERYTHING))) is None


def _overwrite(data: bytearray, offset: int, filling: bytes) -> None:
    data[offset : offset + len(filling)] = filling


def _flip(data: bytearray, offset: int, filling: bytes) -> None:
    for index in range(offset, min(offset + len(filling), len(data))):
        data[index] ^= 0xFF


@settings(max_examples=80, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    place=st.floats(min_value=0, max_value=1, exclude_max=True),
    filling=st.binary(min_size=1, max_size=200),
    damage=st.sampled_from([_overwrite, _flip]),
)
def test_damage_anywhere_is_passed_over_or_a_typed_error(
    path: Path, place: float, filling: bytes, damage: Callable[[bytearray, int, bytes], None]
) -> None:
    data = bytearray(path.read_bytes())
    damage(data, int(len(data) * place), filling)
    damaged = path.with_name("damaged.db")
    for left_over in path.parent.glob("damaged.db*"):
        left_over.unlink()
    damaged.write_bytes(data)
    with suppress(StorageMismatch, StorageUnavailable):
        use(damaged)
