"""SIGKILL in the middle of writing: what was acknowledged is there, what was not is there whole or not at all."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwkm.audit.log import AuditLog
from hwkm.store.nodes import SqliteNodeStore
from hwkm.store.records import Records
from tests.fault.store.children import (
    NODES_A_COMMIT,
    append_for_ever,
    commit,
    put_nodes_for_ever,
    replace_vaults_for_ever,
)
from tests.fault.store.processes import run_and_kill
from tests.unit.audit.examples import verified
from tests.unit.store.examples import KEYS, blob, handle, sqlite_url

AFTER = [1, 2, 7, 40, 300]


def present(store: SqliteNodeStore, number: int) -> int:
    """How many nodes of a commit are there, each with its own content."""
    found = [(store.get(digest), content) for digest, content in commit(number).items()]
    assert all(stored in (None, content) for stored, content in found)
    return sum(stored is not None for stored, _content in found)


@pytest.mark.parametrize("after", AFTER)
def test_node_store_killed_during_puts(tmp_path: Path, after: int) -> None:
    last = run_and_kill(put_nodes_for_ever, tmp_path, after)
    with SqliteNodeStore(tmp_path / "nodes.db") as store:
        assert present(store, last) == NODES_A_COMMIT
        unacknowledged = present(store, last + 1)
        assert unacknowledged in (0, NODES_A_COMMIT)
        # A put deletes what is obsolete together with what it adds, or not at all.
        assert present(store, last - 1) == (NODES_A_COMMIT - unacknowledged if last else 0)
        commits = 2 if last or unacknowledged else 1
        assert store.counters().nodes == NODES_A_COMMIT * commits
        assert store.sweep(commit(last)) == NODES_A_COMMIT * (commits - 1)


@pytest.mark.parametrize("after", AFTER)
def test_records_killed_during_replacements(tmp_path: Path, after: int) -> None:
    run_and_kill(replace_vaults_for_ever, tmp_path, after)
    with Records.open(sqlite_url(tmp_path)) as records:
        record = records.get(handle(1))
        # The first acknowledged snapshot is 2; one more may have been stored and not acknowledged.
        assert record.snapshot_version >= after + 1
        assert record.vault == blob(f"snapshot {record.snapshot_version}")
        assert records.application_keys(handle(1)) == KEYS[: record.snapshot_version % 3]


@pytest.mark.parametrize("after", AFTER)
def test_audit_log_killed_during_appends(tmp_path: Path, after: int) -> None:
    AuditLog.create(tmp_path / "audit")
    last = run_and_kill(append_for_ever, tmp_path, after)
    with AuditLog.open(tmp_path / "audit") as log:
        assert log.size >= 3 * (last + 1)
        assert verified(tmp_path / "audit").records == log.size


def test_killed_again_and_again(tmp_path: Path) -> None:
    AuditLog.create(tmp_path / "audit")
    acknowledged = 0
    for after in (1, 5, 2, 9):
        run_and_kill(append_for_ever, tmp_path, after)
        run_and_kill(replace_vaults_for_ever, tmp_path, after)
        acknowledged += 3 * after
    AuditLog.open(tmp_path / "audit").close()
    assert verified(tmp_path / "audit").records >= acknowledged
    with Records.open(sqlite_url(tmp_path)) as records:
        assert records.get(handle(1)).snapshot_version >= 1 + 1 + 5 + 2 + 9
