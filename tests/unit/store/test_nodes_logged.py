"""The log of a node store: what is in it is there, and it is emptied into the database without a gap."""

from __future__ import annotations

import errno
import os
import sqlite3
from collections.abc import Callable
from contextlib import closing
from pathlib import Path

import pytest

from hwkm.errors import StorageMismatch, StorageUnavailable
from hwkm.store.node_log import LOG_BYTES
from hwkm.store.nodes import SqliteNodeStore
from tests.unit.store.examples import node, nodes

SMALL = 4096
"""Bytes of a log that is full after a handful of puts."""


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nodes.db"


def log_of(path: Path) -> Path:
    return path.with_name("nodes.db-log")


def in_the_database(path: Path) -> int:
    with closing(sqlite3.connect(path)) as database:
        (count,) = database.execute("SELECT count(*) FROM node").fetchone()
    return int(count)


def present(store: SqliteNodeStore, *names: str) -> list[bool]:
    return [store.get(node(name)[0]) == node(name)[1] for name in names]


def test_a_put_waits_in_the_log_and_is_taken_over_at_the_next_start(path: Path) -> None:
    with SqliteNodeStore(path) as store:
        store.put(nodes("a", "b"))
        store.put(nodes("c"), nodes("a"))
        assert present(store, "a", "b", "c") == [False, True, True]
    assert in_the_database(path) == 0
    with SqliteNodeStore(path) as store:
        assert present(store, "a", "b", "c") == [False, True, True]
    assert in_the_database(path) == 2


def test_a_log_that_is_full_is_taken_over_with_the_put_that_did_not_fit(path: Path) -> None:
    with SqliteNodeStore(path, log_bytes=SMALL) as store:
        for number in range(100):
            store.put(nodes(f"{number}"), nodes(f"{number - 3}"))
            assert present(store, *(f"{n}" for n in range(number + 1))) == [
                n > number - 3 for n in range(number + 1)
            ]
    assert log_of(path).stat().st_size == SMALL
    with SqliteNodeStore(path) as store:
        assert present(store, "96", "97", "98", "99") == [False, True, True, True]
        assert store.counters().nodes == 3


def test_a_put_larger_than_the_log_goes_past_it(path: Path) -> None:
    many = nodes(*(f"{number}" for number in range(100)))
    with SqliteNodeStore(path, log_bytes=SMALL) as store:
        store.put(nodes("first"))
        store.put(many, nodes("first"))
        store.put(nodes("last"))
    assert in_the_database(path) == len(many)
    with SqliteNodeStore(path, log_bytes=SMALL) as store:
        assert all(store.get(digest) == content for digest, content in many.items())
        assert present(store, "first", "last") == [False, True]


def test_a_log_of_another_size_is_read_whole(path: Path) -> None:
    with SqliteNodeStore(path) as store:
        for number in range(100):
            store.put(nodes(f"{number}"))
    with SqliteNodeStore(path, log_bytes=SMALL) as store:
        assert all(present(store, *(f"{number}" for number in range(100))))
    assert log_of(path).stat().st_size == LOG_BYTES


def test_a_node_that_was_removed_and_comes_again_is_there(path: Path) -> None:
    with SqliteNodeStore(path) as store:
        store.put(nodes("a"))
        store.put({}, nodes("a"))
        store.put(nodes("a"))
    for _ in range(2):
        with SqliteNodeStore(path) as store:
            assert present(store, "a") == [True]


@pytest.mark.parametrize("size", [0, 1, 100, SMALL])
def test_a_log_that_a_crash_left_short_is_filled_up(path: Path, size: int) -> None:
    with SqliteNodeStore(path) as store:
        store.put(nodes("a"))
        assert store.counters().nodes == 1
    with log_of(path).open("r+b") as file:
        file.truncate(size)
    with SqliteNodeStore(path) as store:
        assert present(store, "a") == [True]
        store.put(nodes("b"))
    assert log_of(path).stat().st_size == LOG_BYTES


def test_a_log_that_is_gone_takes_its_puts_with_it_and_nothing_else(path: Path) -> None:
    with SqliteNodeStore(path) as store:
        store.put(nodes("a"))
    with SqliteNodeStore(path) as store:
        store.put(nodes("b"))
    log_of(path).unlink()
    with SqliteNodeStore(path) as store:
        assert present(store, "a", "b") == [True, False]


def test_the_log_of_another_database_is_not_taken_for_our_own(tmp_path: Path, path: Path) -> None:
    with SqliteNodeStore(path) as store:
        store.put(nodes("a"))
    other = tmp_path / "other.db"
    with SqliteNodeStore(other):
        pass
    log_of(path).rename(tmp_path / "other.db-log")
    with SqliteNodeStore(other) as store:
        assert present(store, "a") == [False]


def test_a_file_that_is_too_large_for_a_log_is_refused(path: Path) -> None:
    with log_of(path).open("wb") as file:
        file.truncate(2**40)
    with pytest.raises(StorageMismatch, match=r"nodes\.db-log"):
        SqliteNodeStore(path)
    log_of(path).unlink()
    SqliteNodeStore(path).close()


# --- system calls that fail ------------------------------------------------------------------

os_pwrite = os.pwrite


def failing(*_arguments: object) -> None:
    raise OSError(errno.EIO, "Input/output error")


def half_written(descriptor: int, data: bytes, offset: int) -> int:
    """Write half, then fail at the next call, as a disk that runs full."""
    if len(data) < 100:
        raise OSError(errno.ENOSPC, "No space left on device")
    return os_pwrite(descriptor, data[: len(data) // 2], offset)


@pytest.mark.parametrize(
    ("call", "fault"), [("fdatasync", failing), ("pwrite", failing), ("pwrite", half_written)]
)
def test_after_a_write_that_failed_the_next_put_leaves_the_log_behind(
    path: Path, monkeypatch: pytest.MonkeyPatch, call: str, fault: Callable[..., object]
) -> None:
    """Whether the failed record is in the file nobody knows, so its generation ends."""
    with SqliteNodeStore(path) as store:
        store.put(nodes("before"))
        with monkeypatch.context() as patch:
            patch.setattr(os, call, fault)
            with pytest.raises(StorageUnavailable, match=r"nodes\.db-log"):
                store.put(nodes("failed"), nodes("before"))
            assert present(store, "before", "failed") == [True, False]
            store.put(nodes("after"))
        assert in_the_database_of(store, "before", "after")
        store.put(nodes("last"))
    with SqliteNodeStore(path) as store:
        assert present(store, "before", "failed", "after", "last") == [True, False, True, True]


def in_the_database_of(store: SqliteNodeStore, *names: str) -> bool:
    return all(store._database.get(node(name)[0]) == node(name)[1] for name in names)


def test_while_the_database_cannot_be_written_nothing_is_appended(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    """A transaction that failed may be found whole after a crash; the log would be an older one then."""
    refused: list[int] = []

    def full(*_arguments: object) -> None:
        refused.append(1)
        raise StorageUnavailable("the disk is full")

    with SqliteNodeStore(path, log_bytes=SMALL) as store:
        with monkeypatch.context() as patch:
            patch.setattr(store._database, "take_over", full)
            acknowledged = put_until_refused(store)
            content = log_of(path).read_bytes()
            for _ in range(3):
                with pytest.raises(StorageUnavailable):
                    store.put(nodes("small"))
            assert log_of(path).read_bytes() == content
            assert len(refused) == 4
        store.put(nodes("small"))
        assert all(present(store, *(f"{number}" for number in range(acknowledged)), "small"))
    with SqliteNodeStore(path) as store:
        assert all(present(store, *(f"{number}" for number in range(acknowledged)), "small"))


def put_until_refused(store: SqliteNodeStore) -> int:
    for number in range(1000):
        try:
            store.put(nodes(f"{number}"))
        except StorageUnavailable:
            return number
    raise AssertionError("never refused")


def test_opening_leaves_no_file_descriptor_behind_when_the_log_cannot_be_read(
    path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    SqliteNodeStore(path).close()
    before = len(list(Path("/proc/self/fd").iterdir()))
    with monkeypatch.context() as patch:
        patch.setattr(os, "pread", failing)
        for _ in range(5):
            with pytest.raises(StorageUnavailable):
                SqliteNodeStore(path)
    assert len(list(Path("/proc/self/fd").iterdir())) == before
