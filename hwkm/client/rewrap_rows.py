"""Bring the wrapped data keys in a column of a table under another key, or the newest version of theirs.

The data keys are encrypted anew inside the daemon's core (ReEncrypt): neither they nor what is
encrypted under them pass here, and the caller needs no permission to decrypt. Each new wrapped key is
tried once before it replaces the old one.

Rows are taken in the order of a unique column, a transaction a batch. A row that somebody changed in
between keeps their change. Running it again goes on where it ended: rows that are under the right
version are passed over, and ``after`` skips those up to a value without looking at them.
"""

from __future__ import annotations

import base64
import binascii
from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from enum import StrEnum
from typing import Any, Final, TypeAlias

import sqlalchemy as sa
from sqlalchemy.exc import SQLAlchemyError

from hwkm.client.files.targets import Target, Targets, key_id_text, key_name_of
from hwkm.client.key_procedures import Ciphertext, ReEncrypted
from hwkm.client.keys import KeyClient
from hwkm.errors import ConfigError, FormatError, HwkmError, StorageUnavailable, TokenError, Unavailable

BATCH_ROWS: Final = 200

_STOPS: Final = (Unavailable, TokenError, StorageUnavailable)


class RowOutcome(StrEnum):
    """What became of a row."""

    REWRAPPED = "rewrapped"
    CURRENT = "current"
    """It was under the right key and version already."""
    CHANGED = "changed"
    """Somebody changed it meanwhile; their change stays."""
    FAILED = "failed"


@dataclass(frozen=True, slots=True)
class RowResult:
    """A row, by its id, and what became of it; the error if it failed."""

    id: Any
    outcome: RowOutcome
    error: HwkmError | None = None


@dataclass(slots=True)
class RowTally:
    """How many rows had which outcome.

    ``last``: everything up to this id was looked at; hand it in as ``after`` to go on. ``stopped``
    says why not all rows were looked at.
    """

    counts: dict[RowOutcome, int] = field(default_factory=lambda: dict.fromkeys(RowOutcome, 0))
    last: Any = None
    stopped: HwkmError | None = None


RowContext: TypeAlias = Callable[[Mapping[str, Any]], Mapping[str, str]]
"""From the columns of a row to the encryption context of its data key."""


@dataclass(frozen=True, slots=True)
class WrappedColumn:
    """Where the wrapped data keys are, and what their contexts are made of.

    ``id``: a column without equal values. ``wrapped``: bytes, or text in base64. ``context``: pairs
    that all rows share. ``context_columns``: name of a pair to the column its value is in.
    """

    table: str
    id: str
    wrapped: str
    context: Mapping[str, str] = field(default_factory=dict)
    context_columns: Mapping[str, str] = field(default_factory=dict)
    schema: str | None = None


def rewrap_rows(
    client: KeyClient,
    engine: sa.Engine,
    column: WrappedColumn,
    *,
    to: str | None = None,
    after: Any = None,
    batch_rows: int = BATCH_ROWS,
    dry_run: bool = False,
    watcher: Callable[[RowResult], None] = lambda _: None,
) -> RowTally:
    """Rewrap the data keys of a table.

    ``to``: the key to bring them under; without it, the newest version of the one each is under. A
    row whose column is null has no data key. Nothing is raised for one row: it is in the results.

    Raises:
        ConfigError: there is no such table or column, or ``id`` is not unique.
        HwkmError: ``to`` names no key.
    """
    table = _Table(engine, column)
    targets = Targets(client, to)
    if to:
        targets.of(to)
    work = _Rewrapping(client, targets, dry_run=dry_run)
    tally = RowTally(last=after)
    try:
        while rows := table.read(tally.last, batch_rows):
            for result in work.rewrap(table, rows):
                tally.counts[result.outcome] += 1
                watcher(result)
            tally.last = rows[-1].id
    except _STOPS as exc:
        tally.stopped = exc
    return tally


def count_rows(engine: sa.Engine, column: WrappedColumn, *, after: Any = None) -> int:
    """How many rows have a wrapped data key, for a progress bar. Raises ConfigError."""
    return _Table(engine, column).count(after)


@dataclass(slots=True)
class _Row:
    id: Any
    stored: bytes | str
    context: dict[str, str]
    wrapped: bytes = b""
    target: Target | None = None
    new: ReEncrypted | None = None


# --- the table -------------------------------------------------------------------------------


class _Table:
    """Reads and writes the wrapped data keys."""

    def __init__(self, engine: sa.Engine, column: WrappedColumn) -> None:
        self._engine = engine
        self._column = column
        try:
            with engine.connect() as connection:
                table = sa.Table(column.table, sa.MetaData(), autoload_with=connection, schema=column.schema)
                unique = _unique_columns(connection, column)
        except sa.exc.NoSuchTableError as exc:
            raise ConfigError(f"there is no table {column.table}") from exc
        except SQLAlchemyError as exc:
            raise _unavailable(exc) from exc
        self._table = table
        for name in (column.id, column.wrapped, *column.context_columns.values()):
            if name not in table.columns:
                raise ConfigError(f"table {column.table} has no column {name}")
        if column.id not in unique:
            raise ConfigError(
                f"column {column.id} of {column.table} is not unique; rows would be passed over"
            )
        self._id = table.columns[column.id]
        self._wrapped = table.columns[column.wrapped]

    def read(self, after: Any, limit: int) -> list[_Row]:
        """The next rows that have a data key."""
        columns = {
            self._id,
            self._wrapped,
            *(self._table.columns[c] for c in self._column.context_columns.values()),
        }
        query = self._after(sa.select(*columns), after).order_by(self._id).limit(limit)
        try:
            with self._engine.connect() as connection:
                found = connection.execute(query).mappings().all()
        except SQLAlchemyError as exc:
            raise _unavailable(exc) from exc
        return [self._row(mapping) for mapping in found]

    def count(self, after: Any) -> int:
        """How many rows there are to read."""
        query = self._after(sa.select(sa.func.count()).select_from(self._table), after)
        try:
            with self._engine.connect() as connection:
                return int(connection.execute(query).scalar_one())
        except SQLAlchemyError as exc:
            raise _unavailable(exc) from exc

    def write(self, rows: Sequence[_Row]) -> list[bool]:
        """Replace wrapped keys in one transaction; say of each whether the old one was still there."""
        done: list[bool] = []
        try:
            with self._engine.begin() as connection:
                for row in rows:
                    assert row.new is not None
                    change = (
                        sa.update(self._table)
                        .where(self._id == row.id, self._wrapped == row.stored)
                        .values({self._wrapped: _as_stored(row.new.ciphertext, row.stored)})
                    )
                    done.append(connection.execute(change).rowcount == 1)
        except SQLAlchemyError as exc:
            raise _unavailable(exc) from exc
        return done

    def _after(self, query: sa.Select[Any], after: Any) -> sa.Select[Any]:
        query = query.where(self._wrapped.is_not(None))
        return query if after is None else query.where(self._id > after)

    def _row(self, mapping: Mapping[Any, Any]) -> _Row:
        columns = self._column.context_columns.items()
        own = {name: str(mapping[self._table.columns[column]]) for name, column in columns}
        stored = mapping[self._wrapped]
        stored = stored if isinstance(stored, str) else bytes(stored)
        return _Row(mapping[self._id], stored, {**self._column.context, **own})


def _unique_columns(connection: sa.Connection, column: WrappedColumn) -> set[str]:
    inspector = sa.inspect(connection)
    keys = [inspector.get_pk_constraint(column.table, column.schema)["constrained_columns"]]
    keys += [
        unique["column_names"] for unique in inspector.get_unique_constraints(column.table, column.schema)
    ]
    keys += [
        [name for name in index["column_names"] if name]
        for index in inspector.get_indexes(column.table, column.schema)
        if index["unique"]
    ]
    return {key[0] for key in keys if len(key) == 1}


def _as_stored(ciphertext: bytes, before: bytes | str) -> bytes | str:
    return base64.b64encode(ciphertext).decode("ascii") if isinstance(before, str) else ciphertext


def _unavailable(exc: SQLAlchemyError) -> StorageUnavailable:
    # The text of the error may hold values of rows.
    return StorageUnavailable(f"the database failed ({type(exc).__name__}); rows committed before stay")


# --- the daemon ------------------------------------------------------------------------------


class _Rewrapping:
    """Rewraps rows of a batch."""

    def __init__(self, client: KeyClient, targets: Targets, *, dry_run: bool) -> None:
        self._client = client
        self._targets = targets
        self._dry_run = dry_run

    def rewrap(self, table: _Table, rows: Sequence[_Row]) -> Iterator[RowResult]:
        """Rewrap rows; their results.

        Raises:
            Unavailable, TokenError, StorageUnavailable: nothing of this batch was changed.
        """
        wanted: list[_Row] = []
        for row in rows:
            result = self._look_at(row)
            if result is None:
                wanted.append(row)
            else:
                yield result
        if not self._dry_run:
            failures = self._wrap(wanted)
            yield from failures.values()
            wanted = [row for row in wanted if id(row) not in failures]
            for row, done in zip(wanted, table.write(wanted), strict=True):
                yield RowResult(row.id, RowOutcome.REWRAPPED if done else RowOutcome.CHANGED)
            return
        yield from (RowResult(row.id, RowOutcome.REWRAPPED) for row in wanted)

    def _look_at(self, row: _Row) -> RowResult | None:
        try:
            row.wrapped = _bytes_of(row.stored)
            name = key_name_of(row.wrapped)
            if name is None:
                raise FormatError("what is in the column is no wrapped data key of this service")
            row.target = self._targets.of(key_id_text(name))
        except _STOPS:
            raise
        except HwkmError as exc:
            return RowResult(row.id, RowOutcome.FAILED, exc)
        return RowResult(row.id, RowOutcome.CURRENT) if row.target.has(row.wrapped) else None

    def _wrap(self, rows: Sequence[_Row]) -> dict[int, RowResult]:
        """Have new ciphertexts made and tried; the results of the rows for which that failed."""
        failures: dict[int, RowResult] = {}
        for target in {row.target for row in rows if row.target}:
            group = [row for row in rows if row.target == target]
            again = self._again(target, [Ciphertext(row.wrapped, row.context) for row in group])
            for row, answer in zip(group, again, strict=True):
                row.new = answer if isinstance(answer, ReEncrypted) else None
                if isinstance(answer, HwkmError):
                    failures[id(row)] = RowResult(row.id, RowOutcome.FAILED, answer)
            made = [(row, row.new) for row in group if row.new]
            # Only what opens can be re-encrypted, so that is how it is tried without a plaintext here.
            trial = [Ciphertext(new.ciphertext, row.context) for row, new in made]
            for (row, _), answer in zip(made, self._again(target, trial, trial=True), strict=True):
                if isinstance(answer, HwkmError):
                    failures[id(row)] = RowResult(row.id, RowOutcome.FAILED, answer)
        return failures

    def _again(
        self, target: Target, items: Sequence[Ciphertext], *, trial: bool = False
    ) -> tuple[ReEncrypted | HwkmError, ...]:
        """``trial``: what it makes is thrown away."""
        try:
            return self._client.re_encrypt_many(target.arn, items, keep_record=trial)
        except _STOPS:
            raise
        except HwkmError as exc:
            return (exc,) * len(items)


def _bytes_of(stored: bytes | str) -> bytes:
    if isinstance(stored, bytes):
        return stored
    try:
        return base64.b64decode(stored, validate=True)
    except binascii.Error:
        raise FormatError("what is in the column is no base64") from None
