"""A full disk is a typed error, costs nothing that was acknowledged, and is over when there is room again."""

from __future__ import annotations

from pathlib import Path

from hwkm.audit.reader import read
from tests.fault.store.children import fill_audit_log, fill_nodes, fill_records, repair_audit_log
from tests.fault.store.processes import run
from tests.unit.audit.examples import make_log, opened, segments, verified


def test_node_store_on_a_full_disk(tmp_path: Path) -> None:
    assert int(run(fill_nodes, tmp_path)) > 10


def test_records_on_a_full_disk(tmp_path: Path) -> None:
    assert int(run(fill_records, tmp_path)) > 10


def test_audit_log_on_a_full_disk(tmp_path: Path) -> None:
    assert int(run(fill_audit_log, tmp_path)) > 10


def test_a_torn_audit_log_on_a_full_disk_is_repaired_when_there_is_room(tmp_path: Path) -> None:
    log = make_log(tmp_path / "audit", 2)
    path = segments(log)[0]
    torn = path.read_bytes() + b'{"caller":'
    path.write_bytes(torn)
    assert run(repair_audit_log, tmp_path) == "0\n"
    with opened(log) as reopened:
        assert reopened.size == 3
    assert [record.operation for record in read(log)][-1] == "audit.repair"
    assert verified(log).records == 3
