"""The audit log against records and a checkpoint of the independent computation."""

from __future__ import annotations

from pathlib import Path

import pytest

from hwkm.audit.record import AuditEntry, encode_record, parse_line
from hwkm.audit.verify import verify
from hwkm.tlog.audit_key import audit_log_key
from hwkm.tlog.checkpoint import verify_checkpoint
from hwkm.tlog.merkle import leaf_hash, root_of
from hwkm.tlog.note_keys import NoteKey
from hwkm.tlog.tiles import encode_bundle
from tests.vectors.files import Vector, load, unhex

AUDIT = load("hwkm_audit_log.json")
LINES = [record["line"].encode() for record in AUDIT["records"]]
TIME_MS = 1_767_225_599_007


@pytest.mark.parametrize("vector", AUDIT["records"], ids=range(3))
def test_records_are_written_as_they_were(vector: Vector) -> None:
    record = parse_line(vector["line"].encode())
    entry = AuditEntry(
        record.caller,
        record.operation,
        record.outcome,
        record.request,
        None if record.vault is None else bytes.fromhex(record.vault),
        record.key,
        record.key_version,
        record.context,
        record.detail,
    )
    assert encode_record(entry, record.index, TIME_MS).decode() == vector["line"]
    assert leaf_hash(vector["line"].encode()) == unhex(vector, "leaf_hash")


def test_tree_bundle_and_checkpoint() -> None:
    leaves = [leaf_hash(line) for line in LINES]
    assert [root_of(leaves[:size]).hex() for size in range(4)] == AUDIT["roots"]
    assert encode_bundle(LINES) == unhex(AUDIT, "bundle")
    key = audit_log_key(unhex(AUDIT, "audit_point"))
    assert str(key) == AUDIT["log_key"]
    state = verify_checkpoint(AUDIT["checkpoint"].encode(), key).checkpoint
    assert (state.size, state.root) == (3, root_of(leaves))


def test_a_log_made_of_them_is_verified_by_its_key(tmp_path: Path) -> None:
    contents = {
        "records/0000000000000000.jsonl": b" " + b"\n ".join(LINES) + b"\n",
        "checkpoint": AUDIT["checkpoint"].encode(),
        "tile/0/000.p/3": b"".join(unhex(record, "leaf_hash") for record in AUDIT["records"]),
        "tile/entries/000.p/3": unhex(AUDIT, "bundle"),
    }
    for name, content in contents.items():
        (tmp_path / name).parent.mkdir(parents=True, exist_ok=True)
        (tmp_path / name).write_bytes(content)
    report = verify(tmp_path, NoteKey.parse(AUDIT["log_key"]))
    assert (report.records, report.signed) == (3, 3)
