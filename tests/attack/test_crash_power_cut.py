"""Power cuts at any point of a store's work: what was acknowledged is there, and nothing is half there.

The storage layer writes down what the disk was told. For every point of the record each disk that a
power cut could leave is built (what was synced, with any prefix of what was not, torn or whole, or
with single writes that overtook others), opened by the real store, and looked at.
"""

from __future__ import annotations

import hashlib
import os
import subprocess
import sys
from collections.abc import Callable, Iterator
from pathlib import Path

import pytest

from hwkm.audit.log import AuditLog
from hwkm.audit.published import Published
from hwkm.audit.tree import TreeWriter
from hwkm.errors import AuditError, HwkmError, VaultNotFound
from hwkm.store.database import Database
from hwkm.store.engine import open_engine
from hwkm.store.nodes import SqliteNodeStore
from hwkm.store.records import Records
from tests.fault.store.children import NODES_A_COMMIT, commit
from tests.harness.lossy_storage import Change, Recorder
from tests.harness.snapshot import Files, written
from tests.harness.workloads import ACKNOWLEDGED, append_records, put_nodes, replace_vaults
from tests.unit.audit.examples import verified
from tests.unit.store.examples import KEYS, blob, handle, sqlite_url

pytestmark = pytest.mark.attack

ROOT = Path(__file__).parents[2]


def recorded(workload: Callable[[Path], None], tmp_path: Path, **environment: str) -> Recorder:
    """Run a workload under the storage layer."""
    directory = tmp_path / "disk"
    directory.mkdir(exist_ok=True)
    recorder = Recorder(directory, tmp_path / "log")
    command = [sys.executable, "-m", "tests.harness.workloads", workload.__name__, str(recorder.directory)]
    subprocess.run(command, check=True, cwd=ROOT, env={**os.environ, **recorder.environment, **environment})
    return recorder


def power_cuts(recorder: Recorder) -> Iterator[tuple[Files, int]]:
    """Every different disk that a power cut can leave, and how much had been acknowledged by then."""
    disk, seen = recorder.disk(), set[bytes]()
    for operation in [None, *recorder.operations()]:
        if operation is not None:
            disk.apply(operation)
        acknowledged = len(disk.written(ACKNOWLEDGED))
        for image in disk.images():
            image.pop(ACKNOWLEDGED, None)
            digest = _digest(image, acknowledged)
            if digest not in seen:
                seen.add(digest)
                yield image, acknowledged


def _digest(image: Files, acknowledged: int) -> bytes:
    state = hashlib.sha256(str(acknowledged).encode())
    for name, data in sorted(image.items()):
        state.update(name.encode() + b"\0" + hashlib.sha256(data).digest())
    return state.digest()


# --- what each store must still know ---------------------------------------------------------


def check_nodes(directory: Path, acknowledged: int) -> None:
    with SqliteNodeStore(directory / "nodes.db") as store:
        newest = acknowledged if _has(store, acknowledged) else acknowledged - 1
        for number in range(max(0, newest - 1), newest + 1):
            assert _has(store, number), f"put {number} was acknowledged and is gone"
        assert store.counters().nodes == NODES_A_COMMIT * min(2, newest + 1)
        assert not _has(store, newest + 1)
        assert not _has(store, newest - 2)


def _has(store: SqliteNodeStore, number: int) -> bool:
    present = [store.get(digest) == content for digest, content in commit(number).items()]
    assert all(present) or not any(present), f"put {number} is there in part"
    return all(present)


def check_records(directory: Path, acknowledged: int) -> None:
    url = sqlite_url(directory)
    # To bring the schema up to date takes most of the time, and it was acknowledged before any vault.
    with Records(Database(open_engine(url))) if acknowledged else Records.open(url) as records:
        try:
            record = records.get(handle(1))
        except VaultNotFound:
            assert acknowledged == 0, "the vault was acknowledged and is gone"
            return
        version = record.snapshot_version
        assert acknowledged <= version <= acknowledged + 1
        assert record.vault == blob(f"snapshot {version}" if version > 1 else "vault 1")
        assert records.application_keys(handle(1)) == (KEYS[: version % 3] if version > 1 else KEYS)


def check_audit_log(directory: Path, acknowledged: int) -> None:
    log = directory / "audit"
    signed_size = Published(log).state().size
    with AuditLog.open(log, signed_size=signed_size) as opened:
        assert opened.size >= 3 * acknowledged, f"{3 * acknowledged} records were acknowledged"
        assert TreeWriter.open(log).size == signed_size <= opened.size
        opened.append_many([])
    assert verified(log).records == opened.size


# --- the stores ------------------------------------------------------------------------------


def test_power_cut_at_every_write_of_the_node_store_keeps_what_was_acknowledged(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    survive(recorded(put_nodes, tmp_path), check_nodes, record_property)


def test_power_cut_at_every_write_of_the_record_database_keeps_what_was_acknowledged(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    survive(recorded(replace_vaults, tmp_path), check_records, record_property)


def test_power_cut_at_every_write_of_the_audit_log_keeps_what_was_acknowledged(
    tmp_path: Path, record_property: Callable[[str, object], None]
) -> None:
    (tmp_path / "disk").mkdir()
    AuditLog.create(tmp_path / "disk/audit")
    survive(recorded(append_records, tmp_path), check_audit_log, record_property)


def survive(
    recorder: Recorder,
    check: Callable[[Path, int], None],
    record_property: Callable[[str, object], None],
    *,
    first: int = 0,
) -> None:
    """Check every disk that a power cut can leave once ``first`` items were acknowledged."""
    disks = 0
    for image, acknowledged in power_cuts(recorder):
        if acknowledged < first:
            continue
        with written(image) as directory:
            check(directory, acknowledged)
        disks += 1
    record_property("disks_after_power_cuts", disks)


# --- the layer itself ------------------------------------------------------------------------


@pytest.mark.parametrize(
    ("workload", "check"),
    [(put_nodes, check_nodes), (replace_vaults, check_records)],
    ids=["nodes", "records"],
)
def test_the_storage_layer_catches_a_store_that_does_not_sync(
    tmp_path: Path, workload: Callable[[Path], None], check: Callable[[Path, int], None]
) -> None:
    careless = recorded(workload, tmp_path, HWKM_INSECURE_UNSYNCED="1")
    with pytest.raises((AssertionError, HwkmError)):
        survive(careless, check, lambda _name, _value: None, first=1)


def test_the_storage_layer_catches_an_audit_log_that_does_not_sync(tmp_path: Path) -> None:
    (tmp_path / "disk").mkdir()
    AuditLog.create(tmp_path / "disk/audit")
    recorder = recorded(append_records, tmp_path)
    disk = recorder.disk()
    for operation in recorder.operations():
        if operation.change is not Change.SYNC:
            disk.apply(operation)
    with written(disk.synced()) as directory, pytest.raises((AssertionError, AuditError)):
        check_audit_log(directory, len(disk.written(ACKNOWLEDGED)))
