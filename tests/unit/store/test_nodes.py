"""The node store keeps what was put, forgets what is obsolete, and sweeps what nobody reaches."""

from __future__ import annotations

import stat
import subprocess
import sys
from collections.abc import Iterator
from pathlib import Path

import pytest

from hwkm.errors import FormatError, StorageMismatch, StorageUnavailable
from hwkm.store.nodes import SqliteNodeStore
from tests.unit.store.examples import node, nodes


@pytest.fixture
def path(tmp_path: Path) -> Path:
    return tmp_path / "nodes.db"


@pytest.fixture
def store(path: Path) -> Iterator[SqliteNodeStore]:
    with SqliteNodeStore(path) as opened:
        yield opened


def test_a_node_that_was_put_is_there_and_another_is_not(store: SqliteNodeStore) -> None:
    digest, content = node("a")
    store.put({digest: content}, [])
    assert store.get(digest) == content
    assert store.get(node("b")[0]) is None


def test_nodes_are_there_after_closing_and_opening(path: Path) -> None:
    with SqliteNodeStore(path) as store:
        store.put(nodes("a", "b"), [])
    with SqliteNodeStore(path) as store:
        assert {digest: store.get(digest) for digest in nodes("a", "b")} == nodes("a", "b")


def test_obsolete_nodes_go_with_the_same_put(store: SqliteNodeStore) -> None:
    store.put(nodes("old 1", "old 2", "kept"), [])
    store.put(nodes("new"), nodes("old 1", "old 2"))
    assert [store.get(digest) is None for digest in nodes("old 1", "old 2", "kept", "new")] == [
        True, True, False, False,
    ]  # fmt: skip


def test_a_digest_both_put_and_obsolete_is_kept(store: SqliteNodeStore) -> None:
    store.put(nodes("again"), [])
    store.put(nodes("again"), nodes("again"))
    assert store.get(node("again")[0]) == node("again")[1]


def test_an_obsolete_digest_that_is_absent_is_passed_over(store: SqliteNodeStore) -> None:
    store.put(nodes("a"), nodes("never there"))
    assert store.counters().nodes == 1


def test_a_put_of_nothing_is_allowed(store: SqliteNodeStore) -> None:
    store.put({}, [])
    store.put({}, iter(()))
    assert store.counters().nodes == 0


def test_wrong_bytes_under_a_digest_are_replaced_by_the_next_put(store: SqliteNodeStore) -> None:
    digest, content = node("a")
    store.put({digest: b"damaged"}, [])
    store.put({digest: content, **nodes("b")}, [])
    assert store.get(digest) == content
    assert store.counters().nodes == 2


def test_counters_follow_puts_deletions_and_sweeps(store: SqliteNodeStore) -> None:
    store.put(nodes("a", "b", "c"), [])
    store.put(nodes("c", "d"), nodes("a"))
    assert store.counters().nodes == 3
    assert store.sweep(nodes("d")) == 2
    assert store.counters().nodes == 1
    assert store.counters().bytes_used > 0


def test_sweep_removes_only_what_is_not_reachable(store: SqliteNodeStore) -> None:
    reachable = nodes(*(f"tree {number}" for number in range(600)))
    store.put(reachable, [])
    store.put(nodes(*(f"orphan {number}" for number in range(400))), [])
    assert store.sweep(iter(reachable)) == 400
    assert all(store.get(digest) == content for digest, content in reachable.items())
    assert store.sweep(reachable) == 0


def test_a_large_store_is_swept_in_parts_to_its_edges(store: SqliteNodeStore) -> None:
    reachable = {bytes([first]) + bytes(31): b"kept" for first in range(256)}
    edges = {bytes([first]) + b"\xff" * 31: b"orphan" for first in range(256)}
    filling = {first.to_bytes(2, "big") + b"\x01" * 30: b"orphan" for first in range(0, 65536, 2)}
    store.put(reachable | edges | filling, [])
    assert store.sweep(reachable) == len(edges) + len(filling)
    assert all(store.get(digest) == b"kept" for digest in reachable)
    assert store.counters().nodes == 256


def test_sweep_may_read_the_store_while_it_walks(store: SqliteNodeStore) -> None:
    everything = nodes("root", "leaf", "orphan")
    store.put(everything, [])

    def walk() -> Iterator[bytes]:
        for digest in nodes("root", "leaf"):
            assert store.get(digest) is not None
            yield digest

    assert store.sweep(walk()) == 1


def test_a_walk_that_fails_on_a_missing_node_deletes_nothing(store: SqliteNodeStore) -> None:
    store.put(nodes("root", "orphan"), [])

    def walk() -> Iterator[bytes]:
        yield node("root")[0]
        raise StorageMismatch("a node is missing")

    with pytest.raises(StorageMismatch, match="missing"):
        store.sweep(walk())
    assert store.counters().nodes == 2
    assert store.sweep(nodes("root")) == 1


def test_a_failed_put_changes_nothing_and_the_store_can_be_used(store: SqliteNodeStore) -> None:
    store.put(nodes("old"), [])
    with pytest.raises(FormatError):
        store.put({**nodes("new"), node("bad")[0]: bytes(8193)}, nodes("old"))
    assert store.get(node("new")[0]) is None
    assert store.get(node("old")[0]) is not None
    store.put(nodes("new"), [])
    assert store.counters().nodes == 2


def test_a_second_process_is_refused(store: SqliteNodeStore, path: Path) -> None:
    program = "import sys; from hwkm.store.nodes import SqliteNodeStore; SqliteNodeStore(sys.argv[1])"
    second = subprocess.run([sys.executable, "-c", program, path], capture_output=True, text=True)
    assert "StorageUnavailable" in second.stderr.splitlines()[-1]
    store.put(nodes("a"), [])


def test_the_files_are_private_to_their_owner(store: SqliteNodeStore, path: Path) -> None:
    store.put(nodes("a"), [])
    modes = {name.name: stat.S_IMODE(name.stat().st_mode) for name in path.parent.iterdir()}
    assert modes == {"nodes.db": 0o600, "nodes.db-wal": 0o600, "nodes.db-log": 0o600}


def test_after_closing_every_use_is_a_typed_error(path: Path) -> None:
    store = SqliteNodeStore(path)
    store.close()
    store.close()
    for use in (lambda: store.get(bytes(32)), lambda: store.put({}, []), store.counters):
        with pytest.raises(StorageUnavailable):
            use()


def test_a_directory_that_is_not_there_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        SqliteNodeStore(tmp_path / "absent" / "nodes.db")


def test_a_path_that_is_a_directory_is_a_typed_error(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        SqliteNodeStore(tmp_path)


def test_opening_leaves_no_file_descriptor_behind(tmp_path: Path) -> None:
    (tmp_path / "garbage.db").write_bytes(b"not a database" * 1000)
    before = len(list(Path("/proc/self/fd").iterdir()))
    for _ in range(20):
        with pytest.raises(StorageMismatch):
            SqliteNodeStore(tmp_path / "garbage.db")
    assert len(list(Path("/proc/self/fd").iterdir())) <= before
