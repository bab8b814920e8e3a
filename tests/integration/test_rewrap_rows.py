"""Wrapped data keys in a table, in SQLite and in PostgreSQL, rewrapped by the library and the command."""

from __future__ import annotations

import base64
import hashlib
from collections.abc import Iterator
from pathlib import Path

import pytest
import sqlalchemy as sa

from hwkm import errors
from hwkm.client import KeyClient
from hwkm.client.rewrap_rows import RowOutcome, RowResult, WrappedColumn, rewrap_rows
from tests.cli.resident import Resident
from tests.core_process import MemoryToken
from tests.daemon import Daemon
from tests.postgres import Postgres

ROWS = 25
COLUMN = WrappedColumn("docs", "id", "wrapped", {"tenant": "a"}, {"doc": "id"})


@pytest.fixture(scope="module")
def daemon(tmp_path_factory: pytest.TempPathFactory) -> Iterator[Daemon]:
    with Daemon(MemoryToken(tmp_path_factory.mktemp("token"))) as running:
        running.wait_until_ready()
        with KeyClient(running.socket_path) as client:
            client.create("alias/one")
            client.create("alias/two")
        yield running


@pytest.fixture
def client(daemon: Daemon) -> Iterator[KeyClient]:
    with KeyClient(daemon.socket_path) as made:
        yield made


@pytest.fixture(scope="module")
def postgres() -> Iterator[Postgres]:
    with Postgres() as running:
        yield running


@pytest.fixture(params=["sqlite", "postgresql"])
def url(request: pytest.FixtureRequest, tmp_path: Path) -> str:
    if request.param == "sqlite":
        return f"sqlite:///{tmp_path}/rows.db"
    running: Postgres = request.getfixturevalue("postgres")
    return running.url


@pytest.fixture
def engine(url: str, client: KeyClient) -> Iterator[sa.Engine]:
    made = sa.create_engine(url)
    with made.begin() as connection:
        fill(connection, client)
    yield made
    with made.begin() as connection:
        connection.exec_driver_sql("DROP TABLE docs")
    made.dispose()


def fill(connection: sa.Connection, client: KeyClient) -> None:
    kind = "BLOB" if connection.dialect.name == "sqlite" else "BYTEA"
    connection.exec_driver_sql(
        f"CREATE TABLE docs (id INTEGER PRIMARY KEY, wrapped {kind}, as_text TEXT, note TEXT, other INTEGER)"
    )
    table = sa.table("docs", *(sa.column(name) for name in ("id", "wrapped", "as_text", "note")))
    for number in range(1, ROWS + 1):
        with client.generate_data_key("alias/one", {"tenant": "a", "doc": str(number)}) as key:
            text = base64.b64encode(key.wrapped).decode()
            row = {"id": number, "wrapped": key.wrapped, "as_text": text, "note": f"note {number}"}
        connection.execute(table.insert().values(row))
    connection.execute(table.insert().values({"id": ROWS + 1, "note": "has no data key"}))


def rows(engine: sa.Engine) -> list[tuple[int, bytes, str]]:
    with engine.connect() as connection:
        found = connection.exec_driver_sql(
            "SELECT id, wrapped, note FROM docs WHERE wrapped IS NOT NULL ORDER BY id"
        )
        return [(row[0], bytes(row[1]), row[2]) for row in found]


def data_keys(client: KeyClient, engine: sa.Engine) -> list[bytes]:
    return [
        client.decrypt(wrapped, {"tenant": "a", "doc": str(number)}).expose()
        for number, wrapped, _ in rows(engine)
    ]


def test_data_keys_stay_what_they_are_under_a_new_version_and_another_key(
    client: KeyClient, engine: sa.Engine
) -> None:
    before, notes = data_keys(client, engine), [row[2] for row in rows(engine)]
    client.rotate("alias/one")
    dry = rewrap_rows(client, engine, COLUMN, dry_run=True)
    assert dry.counts[RowOutcome.REWRAPPED] == ROWS
    for to, expected in (
        (None, RowOutcome.REWRAPPED),
        (None, RowOutcome.CURRENT),
        ("alias/two", RowOutcome.REWRAPPED),
    ):
        tally = rewrap_rows(client, engine, COLUMN, to=to, batch_rows=10)
        assert (tally.counts[expected], tally.last, tally.stopped) == (ROWS, ROWS, None)
        assert data_keys(client, engine) == before
    assert [row[2] for row in rows(engine)] == notes
    two = client.show("alias/two").key_id.replace("-", "")
    assert {wrapped[1:17].hex() for _, wrapped, _ in rows(engine)} == {two}


def test_base64_stays_base64(client: KeyClient, engine: sa.Engine) -> None:
    column = WrappedColumn("docs", "id", "as_text", {"tenant": "a"}, {"doc": "id"})
    assert rewrap_rows(client, engine, column, to="alias/two").counts[RowOutcome.REWRAPPED] == ROWS
    with engine.connect() as connection:
        texts = [row[0] for row in connection.exec_driver_sql("SELECT as_text FROM docs WHERE id = 7")]
    with client.decrypt(base64.b64decode(texts[0]), {"tenant": "a", "doc": "7"}) as key:
        assert len(key) == 32


def test_a_run_goes_on_after_where_it_was_stopped(client: KeyClient, engine: sa.Engine) -> None:
    class Interrupted(Exception):
        pass

    def interrupt(result: RowResult) -> None:
        if result.id == 12:
            raise Interrupted

    with pytest.raises(Interrupted):
        rewrap_rows(client, engine, COLUMN, to="alias/two", batch_rows=5, watcher=interrupt)
    tally = rewrap_rows(client, engine, COLUMN, to="alias/two", after=10, batch_rows=5)
    assert sum(tally.counts.values()) == ROWS - 10
    assert rewrap_rows(client, engine, COLUMN, to="alias/two").counts[RowOutcome.CURRENT] == ROWS


def test_a_row_that_somebody_changes_meanwhile_keeps_the_change(client: KeyClient, engine: sa.Engine) -> None:
    newer = b"written by somebody else"
    real = client.re_encrypt_many

    def meanwhile(key: str, items: object, **options: object) -> object:
        with engine.begin() as connection:
            table = sa.table("docs", sa.column("id"), sa.column("wrapped"))
            connection.execute(table.update().where(table.c.id == 3).values(wrapped=newer))
        return real(key, items, **options)  # type: ignore[arg-type]

    client.re_encrypt_many = meanwhile  # type: ignore[assignment]
    tally = rewrap_rows(client, engine, COLUMN, to="alias/two")
    assert (tally.counts[RowOutcome.CHANGED], tally.counts[RowOutcome.REWRAPPED]) == (1, ROWS - 1)
    assert rows(engine)[2][1] == newer


def test_rows_that_fail_are_named_and_the_rest_is_done(client: KeyClient, engine: sa.Engine) -> None:
    with engine.begin() as connection:
        table = sa.table("docs", sa.column("id"), sa.column("wrapped"))
        connection.execute(table.update().where(table.c.id == 1).values(wrapped=b"nonsense"))
        swapped = sa.select(table.c.wrapped).where(table.c.id == 5).scalar_subquery()
        connection.execute(table.update().where(table.c.id == 4).values(wrapped=swapped))
    results: list[RowResult] = []
    tally = rewrap_rows(client, engine, COLUMN, to="alias/two", watcher=results.append)
    failed = {result.id: type(result.error) for result in results if result.outcome is RowOutcome.FAILED}
    assert failed == {1: errors.FormatError, 4: errors.CiphertextInvalid}
    assert tally.counts[RowOutcome.REWRAPPED] == ROWS - 2


@pytest.mark.parametrize(
    ("column", "message"),
    [
        (WrappedColumn("nothing", "id", "wrapped"), "no table"),
        (WrappedColumn("docs", "id", "nothing"), "no column nothing"),
        (WrappedColumn("docs", "id", "wrapped", {}, {"doc": "nothing"}), "no column nothing"),
        (WrappedColumn("docs", "other", "wrapped"), "not unique"),
    ],
)
def test_what_does_not_fit_the_table_is_said(
    client: KeyClient, engine: sa.Engine, column: WrappedColumn, message: str
) -> None:
    with pytest.raises(errors.ConfigError, match=message):
        rewrap_rows(client, engine, column)


def test_the_command_does_it_and_takes_no_password(
    daemon: Daemon, client: KeyClient, engine: sa.Engine, url: str, tmp_path: Path
) -> None:
    person = Resident(tmp_path / "home", daemon.socket_path)
    options = ("--id-column", "id", "--key-column", "wrapped", "-c", "tenant=a", "--context-column", "doc=id")
    private = person.home / "url"
    private.touch(mode=0o600)
    private.write_text(url + "\n")
    done = person.json("rewrap-rows", "docs", "--database", url, *options, "--to", "two")
    assert (done["rewrapped"], done["last_id"], done["failures"]) == (ROWS, str(ROWS), [])
    again = person.run(
        "rewrap-rows", "docs", "--database-file", private, *options, "--to", "two", "--after", "20"
    )
    assert again.stdout == "Rewrapped 0 rows; 5 up to date already.\n"
    wrong = ("--id-column", "id", "--key-column", "wrapped", "-c", "tenant=b")
    assert (
        person.json("rewrap-rows", "docs", "--database", url, *wrong, "--to", "one", status=31)["failed"]
        == ROWS
    )
    secret = "postgresql://user:secret@host/db"
    refused = person.run("rewrap-rows", "docs", "--database", secret, *options, status=2)
    assert "--database-file" in refused.stderr
    assert "secret@" not in refused.stderr
    private.chmod(0o644)
    person.run("rewrap-rows", "docs", "--database-file", private, *options, status=4)
    person.run("rewrap-rows", "docs", *options, status=2)
    person.run("rewrap-rows", "docs", "--database", "nonsense", *options, status=4)


def test_the_record_of_a_data_key_follows_it_to_what_is_in_the_table(
    client: KeyClient, engine: sa.Engine
) -> None:
    client.create(alias := f"alias/recorded-{engine.dialect.name}")
    with client.generate_data_key(alias, {"tenant": "a", "doc": "1"}, record="row 1") as key:
        wrapped = key.wrapped
    table = sa.table("docs", sa.column("id"), sa.column("wrapped"))
    with engine.begin() as connection:
        connection.execute(table.update().where(table.c.id == 1).values(wrapped=wrapped))
    rewrap_rows(client, engine, COLUMN, to="alias/two")
    (stored,) = [wrapped for number, wrapped, _ in rows(engine) if number == 1]
    recorded = [
        item for item in client.recorded("alias/two") if item.digest == hashlib.sha256(stored).digest()
    ]
    assert [item.label for item in recorded] == ["row 1"]
