"""The schema is brought up to date from anything older, and nothing newer is touched."""

from __future__ import annotations

import sqlite3
import subprocess
import sys
from pathlib import Path

import pytest
from alembic import command
from alembic.autogenerate import compare_metadata
from alembic.config import Config
from alembic.runtime.migration import MigrationContext
from alembic.script import ScriptDirectory
from sqlalchemy import create_engine, inspect

from hwkm.errors import ConfigError, StorageMismatch, StorageUnavailable
from hwkm.store.migration import NEWEST_REVISION, upgrade
from hwkm.store.records import Records
from hwkm.store.tables import metadata
from tests.unit.store.examples import handle, sqlite_url, vault


def test_an_empty_database_gets_the_schema_that_the_code_uses(tmp_path: Path) -> None:
    upgrade(sqlite_url(tmp_path))
    engine = create_engine(sqlite_url(tmp_path))
    with engine.connect() as connection:
        assert compare_metadata(MigrationContext.configure(connection), metadata) == []
    engine.dispose()


def test_the_migrations_make_every_constraint_of_the_code(tmp_path: Path) -> None:
    upgrade(sqlite_url(tmp_path))
    migrated = create_engine(sqlite_url(tmp_path))
    written = create_engine(f"sqlite:///{tmp_path / 'written.db'}")
    metadata.create_all(written)
    for table in metadata.tables:
        for kind in (
            "get_check_constraints",
            "get_unique_constraints",
            "get_foreign_keys",
            "get_pk_constraint",
        ):
            made = getattr(inspect(migrated), kind)(table)
            wanted = getattr(inspect(written), kind)(table)
            assert _sorted(made) == _sorted(wanted), f"{table} {kind}"
    migrated.dispose()
    written.dispose()


def _sorted(constraints: object) -> object:
    return sorted(constraints, key=repr) if isinstance(constraints, list) else constraints


def test_upgrading_again_changes_nothing(tmp_path: Path) -> None:
    upgrade(sqlite_url(tmp_path))
    with Records.open(sqlite_url(tmp_path)) as records:
        records.create(vault(1))
    upgrade(sqlite_url(tmp_path))
    upgrade(sqlite_url(tmp_path))
    with Records.open(sqlite_url(tmp_path)) as records:
        assert records.get(handle(1)) == vault(1)


def test_a_schema_from_a_newer_hwkm_is_refused_and_left_alone(tmp_path: Path) -> None:
    upgrade(sqlite_url(tmp_path))
    database = sqlite3.connect(tmp_path / "records.db")
    database.execute("UPDATE alembic_version SET version_num = '9999'")
    database.commit()
    with pytest.raises(StorageMismatch, match="newer"):
        Records.open(sqlite_url(tmp_path))
    assert database.execute("SELECT version_num FROM alembic_version").fetchall() == [("9999",)]
    database.close()


def test_a_migration_that_fails_half_way_leaves_nothing_behind(
    tmp_path: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    def upgrade_and_fail(config: Config, revision: str) -> None:
        whole_upgrade(config, revision)
        raise OSError("the disk is gone")

    whole_upgrade = command.upgrade
    monkeypatch.setattr(command, "upgrade", upgrade_and_fail)
    with pytest.raises(StorageUnavailable):
        upgrade(sqlite_url(tmp_path))
    database = sqlite3.connect(tmp_path / "records.db")
    assert database.execute("SELECT name FROM sqlite_schema").fetchall() == []
    database.close()
    monkeypatch.undo()
    upgrade(sqlite_url(tmp_path))


def test_garbage_is_refused(tmp_path: Path) -> None:
    (tmp_path / "records.db").write_bytes(b"not a database" * 1000)
    with pytest.raises(StorageMismatch, match=r"records\.db"):
        Records.open(sqlite_url(tmp_path))


def test_a_directory_that_is_not_there_is_refused(tmp_path: Path) -> None:
    with pytest.raises(StorageUnavailable):
        Records.open(sqlite_url(tmp_path / "absent"))


@pytest.mark.parametrize(
    "url",
    [
        "",
        "not a url",
        "sqlite://",
        "sqlite:///:memory:",
        "sqlite:///file:x?mode=memory&uri=true",
        "nosuchdatabase://host/name",
    ],
)
def test_a_url_that_cannot_be_used_is_a_config_error(url: str) -> None:
    with pytest.raises(ConfigError):
        upgrade(url)


def test_the_password_in_a_url_is_not_shown() -> None:
    with pytest.raises(ConfigError) as caught:
        upgrade("nosuchdatabase://user:hunter2@host/name")
    assert "hunter2" not in str(caught.value)


def test_newest_revision_is_that_of_the_last_step() -> None:
    config = Config()
    config.set_main_option("script_location", "hwkm.store:migrations")
    assert ScriptDirectory.from_config(config).get_current_head() == NEWEST_REVISION


def test_a_current_database_is_opened_without_loading_alembic(tmp_path: Path) -> None:
    url = sqlite_url(tmp_path)
    upgrade(url)
    code = (
        "import sys\n"
        "from hwkm.store.migration import upgrade\n"
        f"upgrade({url!r})\n"
        "raise SystemExit('alembic' in sys.modules)\n"
    )
    assert subprocess.run([sys.executable, "-c", code], check=False).returncode == 0
