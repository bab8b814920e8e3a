"""Programs that the fault tests start, to kill them or to let their disk run full.

``python -m tests.fault.store.children NAME DIRECTORY``
"""

from __future__ import annotations

import resource
import sys
from collections.abc import Callable
from pathlib import Path

from hwkm.audit.log import AuditLog
from hwkm.errors import StorageUnavailable
from hwkm.store.nodes import SqliteNodeStore
from hwkm.store.records import Records
from tests.unit.audit.examples import entry, verified
from tests.unit.store.examples import KEYS, blob, handle, node, nodes, sqlite_url, vault

FULL_BYTES = 400_000
FULL_RECORDS_BYTES = 1_000_000
"""Making the schema takes some 120,000 bytes of the write-ahead log, each vault some 25,000."""
LOG_BYTES = 16_384
"""Of a node store, so that its log is emptied every few puts."""
NODES_A_COMMIT = 5


def commit(number: int) -> dict[bytes, bytes]:
    """The nodes of commit ``number``."""
    return nodes(*(f"{number} {index}" for index in range(NODES_A_COMMIT)))


def acknowledge(number: int) -> None:
    """Tell the test that ``number`` was made durable."""
    sys.stdout.write(f"{number}\n")
    sys.stdout.flush()


# --- to be killed ----------------------------------------------------------------------------


def put_nodes_for_ever(directory: Path) -> None:
    """Every commit makes the nodes of the one before the last obsolete."""
    store = SqliteNodeStore(directory / "nodes.db", log_bytes=LOG_BYTES)
    number = 0
    while True:
        store.put(commit(number), commit(number - 2))
        acknowledge(number)
        number += 1


def replace_vaults_for_ever(directory: Path) -> None:
    """Replace one vault, whose every snapshot has its own blob and keys."""
    records = Records.open(sqlite_url(directory))
    if records.count() == 0:
        records.create(vault(1), KEYS)
    factor = vault(1).knowledge_factor
    assert factor is not None
    while True:
        version = records.get(handle(1)).snapshot_version
        acknowledge(
            records.replace(
                handle(1),
                version,
                params=vault(1).params,
                vault=blob(f"snapshot {version + 1}"),
                knowledge_factor=factor,
                keys=KEYS[: (version + 1) % 3],
                now_ms=version,
            )
        )


def append_for_ever(directory: Path) -> None:
    """Append records in groups of three to small segments."""
    with AuditLog.open(directory / "audit", segment_bytes_max=4000) as log:
        while True:
            acknowledge(log.append_many([entry(1), entry(2), entry(3)]))


# --- to run out of disk ----------------------------------------------------------------------


def until_full(write: Callable[[int], None], full_bytes: int = FULL_BYTES) -> int:
    """Call ``write`` with 0, 1, 2, ... under a limit of file sizes, until it was refused three times.

    Return the first number that was refused; the limit is lifted then.
    """
    number, refused = 0, 0
    _limit_file_size(full_bytes)
    while refused < 3:
        try:
            write(number)
        except StorageUnavailable:
            refused += 1
        else:
            assert refused == 0, "a write went through on a full disk"
            number += 1
    _limit_file_size(resource.RLIM_INFINITY)
    return number


def _limit_file_size(limit: int) -> None:
    resource.setrlimit(resource.RLIMIT_FSIZE, (limit, resource.RLIM_INFINITY))


def fill_nodes(directory: Path) -> None:
    """Nodes that were acknowledged are there, the refused ones are not, and the store goes on."""
    with SqliteNodeStore(directory / "nodes.db", log_bytes=LOG_BYTES) as store:
        full = until_full(lambda number: store.put(commit(number), commit(number - 100)))
        assert full > 10
        _check_nodes(store, full)
        store.put(commit(full), [])
        _check_nodes(store, full + 1)
    with SqliteNodeStore(directory / "nodes.db") as store:
        _check_nodes(store, full + 1)
        kept = [digest for number in range(full) for digest in commit(number)]
        assert store.sweep(kept) == NODES_A_COMMIT
    acknowledge(full)


def _check_nodes(store: SqliteNodeStore, end: int) -> None:
    assert store.get(node(f"{end} 0")[0]) is None
    present = range(max(0, end - 100), end)
    assert all(
        store.get(digest) == content for number in present for digest, content in commit(number).items()
    )
    assert store.counters().nodes == len(present) * NODES_A_COMMIT


def fill_records(directory: Path) -> None:
    """Vaults that were acknowledged are there, the refused one is not, and the database goes on."""
    with Records.open(sqlite_url(directory)) as records:
        full = until_full(lambda number: records.create(vault(number), KEYS), FULL_RECORDS_BYTES)
        assert full > 10
        assert records.list(limit=10_000) == [vault(number) for number in range(full)]
        assert records.application_keys(handle(full)) == ()
        records.create(vault(full), KEYS)
        records.destroy_locked(handle(0), now_ms=1)
    with Records.open(sqlite_url(directory)) as records:
        assert records.list(after=handle(0), limit=10_000) == [vault(number) for number in range(1, full + 1)]
    acknowledge(full)


def fill_audit_log(directory: Path) -> None:
    """Records that were acknowledged are there, the refused ones are not, and the log goes on."""
    AuditLog.create(directory / "audit")
    with AuditLog.open(directory / "audit") as log:
        full = until_full(lambda number: _append_three(log, number))
        assert full > 10
        assert verified(directory / "audit").records == log.size == 3 * full
        log.append_many([entry(full)])
    with AuditLog.open(directory / "audit") as log:
        assert verified(directory / "audit").records == log.size == 3 * full + 1
    acknowledge(full)


def _append_three(log: AuditLog, number: int) -> None:
    log.append_many([entry(number), entry(number), entry(number)])


def repair_audit_log(directory: Path) -> None:
    """A torn line that cannot be repaired for lack of room is repaired at the next start."""
    path = directory / "audit" / "records" / "0000000000000000.jsonl"
    torn = path.read_bytes()
    _limit_file_size(len(torn) - 5)
    try:
        AuditLog.open(directory / "audit")
    except StorageUnavailable:
        acknowledge(0)
    _limit_file_size(resource.RLIM_INFINITY)


if __name__ == "__main__":
    globals()[sys.argv[1]](Path(sys.argv[2]))
