"""What was destroyed is not in the files any more, nor in the log beside them."""

from __future__ import annotations

from collections.abc import Callable
from pathlib import Path

import pytest

from hwkm.store.records import Records
from hwkm.store.vault_record import ApplicationKeyRecord
from tests.unit.store.examples import blob, handle, sqlite_url, vault

WRAPPED = b"a wrapped application key of 62 bytes".ljust(62, b"#")


def on_disk(directory: Path, needle: bytes) -> bool:
    return any(needle in path.read_bytes() for path in directory.iterdir())


@pytest.mark.parametrize(
    "destroy",
    [
        lambda records: records.destroy_locked(handle(30), now_ms=5),
        lambda records: records.delete(handle(30)),
    ],
    ids=["locked", "deleted"],
)
def test_a_destroyed_vault_leaves_no_byte_behind_while_the_database_is_open(
    tmp_path: Path, destroy: Callable[[Records], None]
) -> None:
    with Records.open(sqlite_url(tmp_path)) as records:
        for number in range(60):
            records.create(vault(number), [ApplicationKeyRecord("backup", WRAPPED + bytes([number]))])
        needles = (blob("vault 30"), WRAPPED + bytes([30]))
        assert all(on_disk(tmp_path, needle) for needle in needles)
        destroy(records)
        assert not any(on_disk(tmp_path, needle) for needle in needles)
        assert on_disk(tmp_path, blob("vault 31"))


def test_the_salt_of_a_locked_vault_is_gone(tmp_path: Path) -> None:
    with Records.open(sqlite_url(tmp_path)) as records:
        records.create(vault(1))
        assert on_disk(tmp_path, b"salt of 16 bytes")
        records.destroy_locked(handle(1), now_ms=5)
        assert not on_disk(tmp_path, b"salt of 16 bytes")
