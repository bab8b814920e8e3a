"""Damage in the record database is a typed error before it costs anybody an attempt."""

from __future__ import annotations

import sqlite3
import stat
import traceback
from collections.abc import Callable
from pathlib import Path

import pytest

from hwkm.errors import HwkmError, StorageMismatch, StorageUnavailable
from hwkm.store.records import Records
from tests.unit.store.examples import KEYS, blob, handle, sqlite_url, vault


@pytest.fixture
def directory(tmp_path: Path) -> Path:
    """A closed database of 50 vaults."""
    with Records.open(sqlite_url(tmp_path)) as records:
        for number in range(50):
            records.create(vault(number), KEYS)
    return tmp_path


def alter(directory: Path, statement: str, *parameters: object) -> None:
    database = sqlite3.connect(directory / "records.db")
    database.execute("PRAGMA ignore_check_constraints = ON")
    database.execute(statement, parameters)
    database.commit()
    database.close()


def test_a_vault_blob_with_a_flipped_bit_is_not_handed_out(directory: Path) -> None:
    flipped = bytearray(blob("vault 7"))
    flipped[100] ^= 1
    alter(directory, "UPDATE vaults SET vault = ? WHERE handle = ?", bytes(flipped), handle(7))
    with Records.open(sqlite_url(directory)) as records:
        with pytest.raises(StorageMismatch, match=handle(7).hex()):
            records.get(handle(7))
        assert records.get(handle(8)) == vault(8)


@pytest.mark.parametrize(
    ("column", "value"),
    [
        ("vault", "text"),
        ("vault", b""),
        ("vault", None),
        ("vault_digest", None),
        ("params", b"short"),
        ("params", 5),
        ("kf_type", "retina"),
        ("kf_type", None),
        ("kf_algorithm", "md5"),
        ("kf_salt", b""),
        ("kf_salt", None),
        ("kf_memory", 1),
        ("kf_memory", "much"),
        ("state", "open"),
        ("state", "locked"),
        ("name", ""),
    ],
)
def test_a_row_that_breaks_its_rules_is_a_typed_error(directory: Path, column: str, value: object) -> None:
    alter(directory, f"UPDATE vaults SET {column} = ? WHERE handle = ?", value, handle(7))
    with Records.open(sqlite_url(directory)) as records, pytest.raises(StorageMismatch):
        records.get(handle(7))


def test_a_damaged_vault_can_be_replaced_and_deleted_by_its_owner(directory: Path) -> None:
    alter(directory, "UPDATE vaults SET vault = ? WHERE handle = ?", b"rot", handle(7))
    factor = vault(7).knowledge_factor
    assert factor is not None
    with Records.open(sqlite_url(directory)) as records:
        records.replace(
            handle(7),
            1,
            params=vault(7).params,
            vault=blob("new"),
            knowledge_factor=factor,
            keys=(),
            now_ms=1,
        )
        assert records.get(handle(7)).vault == blob("new")


@pytest.mark.parametrize("share", [0.05, 0.3, 0.6, 0.9])
def test_a_truncated_database_is_a_typed_error(directory: Path, share: float) -> None:
    path = directory / "records.db"
    whole = path.read_bytes()
    path.write_bytes(whole[: int(len(whole) * share)])
    with pytest.raises((StorageMismatch, StorageUnavailable)):
        _use_everything(directory)


def _use_everything(directory: Path) -> None:
    with Records.open(sqlite_url(directory)) as records:
        records.list(limit=50)
        for number in range(50):
            records.application_keys(handle(number))
            records.delete(handle(number))


def test_a_table_that_is_gone_is_a_typed_error(directory: Path) -> None:
    alter(directory, "DROP TABLE application_keys")
    with Records.open(sqlite_url(directory)) as records, pytest.raises(StorageUnavailable):
        records.application_keys(handle(1))


@pytest.mark.parametrize(
    "use",
    [
        lambda records: records.get(handle(1)),
        lambda records: records.list(),
        lambda records: records.delete(handle(1)),
        lambda records: records.create(vault(99)),
    ],
)
def test_after_closing_every_use_is_a_typed_error(directory: Path, use: Callable[[Records], object]) -> None:
    records = Records.open(sqlite_url(directory))
    records.close()
    records.close()
    with pytest.raises(StorageUnavailable):
        use(records)


def test_an_error_shows_no_sealed_bytes_even_with_its_causes(directory: Path) -> None:
    with Records.open(sqlite_url(directory)) as records, pytest.raises(HwkmError) as caught:
        records.create(vault(1), KEYS)
    text = "".join(traceback.format_exception(caught.value))
    assert repr(vault(1).vault)[2:30] not in text
    assert "phone 1" not in text


def test_the_files_are_private_to_their_owner(tmp_path: Path) -> None:
    with Records.open(sqlite_url(tmp_path)) as records:
        records.create(vault(1))
        modes = {stat.S_IMODE(path.stat().st_mode) for path in tmp_path.iterdir()}
    assert modes == {0o600}


@pytest.mark.parametrize(("column", "value"), [("wrapped", "text"), ("metadata", 5), ("alias", b"bytes")])
def test_an_application_key_that_breaks_its_rules_is_a_typed_error(
    directory: Path, column: str, value: object
) -> None:
    alter(directory, f"UPDATE application_keys SET {column} = ? WHERE alias = 'photos'", value)
    with Records.open(sqlite_url(directory)) as records, pytest.raises(StorageMismatch):
        records.application_keys(handle(7))
