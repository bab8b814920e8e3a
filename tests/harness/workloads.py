"""Programs that write to a store, say what was made durable, and are watched by the storage layer.

``python -m tests.harness.workloads NAME DIRECTORY``. What they were told is durable they write to the
file ``acknowledged``, one byte an item. ``HWKM_INSECURE_UNSYNCED=1`` turns off the syncs, to
prove that the layer notices.
"""

from __future__ import annotations

import functools
import os
import sqlite3
import sqlite3.dbapi2
import sys
from pathlib import Path
from typing import Any, Final

from hwkm.audit.log import AuditLog
from hwkm.audit.published import Published
from hwkm.store.nodes import SqliteNodeStore
from hwkm.store.records import Records
from tests.fault.store.children import commit
from tests.unit.audit.examples import entry, sign
from tests.unit.store.examples import KEYS, blob, handle, sqlite_url, vault

ACKNOWLEDGED: Final = "acknowledged"
PUTS: Final = 6
LOG_BYTES: Final = 8192
"""Of a node store: room for four of the puts."""
LIVES: Final = 2
REPLACEMENTS: Final = 3
APPENDS: Final = 8
SEGMENT_BYTES_MAX: Final = 2000


def acknowledge(directory: Path) -> None:
    """Say that one more item is durable."""
    descriptor = os.open(directory / ACKNOWLEDGED, os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)
    os.write(descriptor, b"+")
    os.close(descriptor)


def put_nodes(directory: Path) -> None:
    """Two lives of a node store; every put makes the nodes of the one before the last obsolete."""
    number = 0
    for _ in range(LIVES):
        with SqliteNodeStore(directory / "nodes.db", log_bytes=LOG_BYTES) as store:
            for _ in range(PUTS):
                store.put(commit(number), commit(number - 2))
                acknowledge(directory)
                number += 1


def replace_vaults(directory: Path) -> None:
    """Make vaults, replace one again and again, destroy one; two lives of the record database."""
    factor = vault(1).knowledge_factor
    assert factor is not None
    for life in range(LIVES):
        with Records.open(sqlite_url(directory)) as records:
            if life == 0:
                records.create(vault(1), KEYS)
                acknowledge(directory)
            for _ in range(REPLACEMENTS):
                version = records.get(handle(1)).snapshot_version
                records.replace(
                    handle(1),
                    version,
                    params=vault(1).params,
                    vault=blob(f"snapshot {version + 1}"),
                    knowledge_factor=factor,
                    keys=KEYS[: (version + 1) % 3],
                    now_ms=version,
                )
                acknowledge(directory)


def append_records(directory: Path) -> None:
    """Append to small segments of an audit log, in groups of three, now and then signed for; two lives."""
    log_directory = directory / "audit"
    for _ in range(LIVES):
        signed_size = Published(log_directory).state().size
        with AuditLog.open(
            log_directory, signed_size=signed_size, segment_bytes_max=SEGMENT_BYTES_MAX, prepared_bytes=1500
        ) as log:
            for number in range(APPENDS):
                log.append_many([entry(1), entry(2), entry(3)])
                acknowledge(directory)
                if number % 3 == 2:
                    sign(log_directory, log.size)


class _Careless(sqlite3.Connection):
    """A connection that never syncs."""

    def execute(self, sql: str, *parameters: Any) -> sqlite3.Cursor:
        return super().execute(sql.replace("synchronous = FULL", "synchronous = OFF"), *parameters)


def _forget_to_sync() -> None:
    """From here on every SQLite connection of this process does, and so do our own files."""
    careless = functools.partial(sqlite3.connect, factory=_Careless)
    sqlite3.connect = sqlite3.dbapi2.connect = careless  # type: ignore[assignment]
    os.fdatasync = os.fsync = lambda _descriptor: None  # type: ignore[assignment]


if __name__ == "__main__":
    if os.environ.get("HWKM_INSECURE_UNSYNCED"):
        _forget_to_sync()
    globals()[sys.argv[1]](Path(sys.argv[2]))
