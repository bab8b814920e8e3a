"""``hwkm rewrap-rows``: other wrappings for the data keys in a table of a database."""

from __future__ import annotations

from pathlib import Path
from typing import TYPE_CHECKING, Annotated

import typer

from hwkm.cli.batch_report import Failures, finish, resumable, summary_of
from hwkm.cli.key_options import DryRunOption, ToOption, key_name, pairs
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.progress import items_bar
from hwkm.cli.reporting import reporting
from hwkm.client import KeyClient

if TYPE_CHECKING:
    from hwkm.client.rewrap_rows import RowResult


@reporting
def rewrap_rows(  # noqa: PLR0913, PLR0917  (the options of a command)
    table: Annotated[str, typer.Argument(metavar="TABLE", help="The table, or SCHEMA.TABLE.")],
    id_column: Annotated[
        str, typer.Option("--id-column", metavar="COLUMN", help="A column in which no two rows are equal.")
    ],
    key_column: Annotated[
        str,
        typer.Option(
            "--key-column", metavar="COLUMN", help="The column of the wrapped data keys: bytes, or base64."
        ),
    ],
    database: Annotated[
        str | None,
        typer.Option(
            "--database", metavar="URL", help="An SQLAlchemy URL without a password, or use --database-file."
        ),
    ] = None,
    database_file: Annotated[
        Path | None,
        typer.Option(
            "--database-file", metavar="FILE", help="Read the URL from a file that only you can read."
        ),
    ] = None,
    context: Annotated[
        list[str] | None,
        typer.Option(
            "--context", "-c", metavar="NAME=VALUE", help="A pair of the context that all rows share."
        ),
    ] = None,
    context_columns: Annotated[
        list[str] | None,
        typer.Option(
            "--context-column",
            metavar="NAME=COLUMN",
            help="A pair of the context whose value is in a column.",
        ),
    ] = None,
    to: ToOption = None,
    after: Annotated[
        str | None,
        typer.Option(
            "--after", metavar="ID", help="Skip the rows up to this id, as an earlier run printed it."
        ),
    ] = None,
    batch: Annotated[
        int, typer.Option("--batch", metavar="N", min=1, max=1000, help="Rows in a transaction.")
    ] = 200,
    dry_run: DryRunOption = False,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Wrap the data keys in a column of a table anew; no other column is written.

    The data keys are re-encrypted inside the daemon's core and do not pass here. Rows that somebody changes meanwhile keep their
    change. Run it again after an interruption: what is done is passed over.

    Example: `hwkm rewrap-rows letters --database postgresql+psycopg:///archive --id-column id --key-column wrapped_key
    --context-column letter=id`
    """
    from hwkm.cli.database import engine_of, typed_id
    from hwkm.client import rewrap_rows as rows

    schema, _, name = table.rpartition(".")
    column = rows.WrappedColumn(
        table=name,
        id=id_column,
        wrapped=key_column,
        context=pairs(context or [], "the pair of the context"),
        context_columns=pairs(context_columns or [], "the column of the context"),
        schema=schema or None,
    )
    engine = engine_of(database, database_file)
    failures = Failures(as_json=as_json)
    try:
        start = typed_id(engine, column, after)
        with (
            resumable(),
            KeyClient(socket) as client,
            items_bar("rewrapping", rows.count_rows(engine, column, after=start)) as advance,
        ):

            def watch(result: RowResult) -> None:
                advance(1)
                if result.error:
                    failures.add(f"row {result.id}", result.error)

            tally = rows.rewrap_rows(
                client,
                engine,
                column,
                to=key_name(to) if to else None,
                after=start,
                batch_rows=batch,
                dry_run=dry_run,
                watcher=watch,
            )
    finally:
        engine.dispose()
    counts = {outcome.value: number for outcome, number in tally.counts.items()}
    last = None if tally.last is None else str(tally.last)
    facts = {"dry_run": dry_run, **counts, "last_id": last, "failures": failures.listed}
    summary = summary_of(counts, "row", dry_run=dry_run)
    if tally.stopped and last is not None:
        summary += f" Go on with --after {last}."
    finish(facts, summary, tally.stopped, as_json=as_json)
