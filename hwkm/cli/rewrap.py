"""``hwkm rewrap``: other wrappings for the data keys of many files."""

from __future__ import annotations

from pathlib import Path
from typing import Annotated

import typer

from hwkm.cli.batch_report import Failures, finish, resumable, summary_of
from hwkm.cli.key_options import DryRunOption, ToOption, complete_key, key_name
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.progress import items_bar
from hwkm.cli.reporting import reporting
from hwkm.client import KeyClient
from hwkm.client.files.rewrap import WORKERS, FileResult, Outcome, count_files, rewrap_files


@reporting
def rewrap(
    path: Annotated[
        Path,
        typer.Argument(metavar="PATH", help="An encrypted file, or a directory with all that is below it."),
    ],
    to: ToOption = None,
    only_from: Annotated[
        str | None,
        typer.Option(
            "--from", metavar="KEY", help="Only files that are under this key.", autocompletion=complete_key
        ),
    ] = None,
    dry_run: DryRunOption = False,
    workers: Annotated[
        int, typer.Option("--workers", metavar="N", min=1, max=32, help="So many at the same time.")
    ] = WORKERS,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Wrap the data keys of encrypted files anew; their contents are not touched.

    After a rotation this brings files under the newest version of their key, and with `--to` under another key. Only the header of each file
    is written, safe against a crash. Run it again after an interruption: what is done is passed over. Files that are not encrypted
    by hwkm or an AWS Encryption SDK are left alone.

    Example: `hwkm rewrap /srv/letters --from documents --to documents-2027`
    """
    failures = Failures(as_json=as_json)
    with resumable(), KeyClient(socket) as client, items_bar("rewrapping", count_files(path)) as advance:

        def watch(result: FileResult) -> None:
            advance(int(result.outcome is not Outcome.RECOVERED))
            if result.error:
                failures.add(str(result.path), result.error)

        tally = rewrap_files(
            client,
            path,
            to=key_name(to) if to else None,
            only_from=key_name(only_from) if only_from else None,
            dry_run=dry_run,
            workers=workers,
            watcher=watch,
        )
    counts = {outcome.value: number for outcome, number in tally.counts.items()}
    facts = {"dry_run": dry_run, **counts, "failures": failures.listed}
    finish(facts, summary_of(counts, "file", dry_run=dry_run), tally.stopped, as_json=as_json)
