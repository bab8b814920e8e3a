"""``hwkm audit``: the audit log. ``verify`` and ``show`` read the files and need no daemon."""

from __future__ import annotations

import re
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer

from hwkm.audit.reader import AuditFilter, read
from hwkm.audit.record import AuditHead
from hwkm.audit.verify import verify as verify_log
from hwkm.cli.connection import connect
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.printing import count, print_json, print_line, print_table
from hwkm.cli.reporting import reporting

app = typer.Typer(no_args_is_help=True, help="Who did what to which vault.")

_HEAD: Final = re.compile(r"(\d{1,16}):([0-9a-f]{64})")

DirectoryArgument = Annotated[Path, typer.Argument(metavar="DIRECTORY", help="Where the log is.")]
DIRECTORY_DEFAULT: Final = Path("/var/lib/hwkm/audit")


@app.command()
@reporting
def head(socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Print the newest record's hash.

    Keep it somewhere else. Only a head that was kept lets `hwkm audit verify --expect` notice a log that was cut short.
    """
    with connect(socket) as client:
        newest = client.agent.audit_head()
    if as_json:
        print_json(newest)
    else:
        print_line(f"{newest.seq}:{newest.hash}")


@app.command()
@reporting
def verify(
    directory: DirectoryArgument = DIRECTORY_DEFAULT,
    expect: Annotated[
        str | None,
        typer.Option(
            "--expect", metavar="NUMBER:HASH", help="A head that was kept: the log must still hold it."
        ),
    ] = None,
    live: Annotated[
        bool, typer.Option("--live", help="Allow an unfinished last line: the daemon is writing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the whole audit log.

    Every record, and every link of the chain of hashes. Needs no daemon.

    Example: `hwkm audit verify /var/lib/hwkm/audit --expect 4711:9c0f…`
    """
    newest = verify_log(directory, _parse_head(expect), live=live)
    if as_json:
        print_json({"records": newest.seq, "head": {"seq": newest.seq, "hash": newest.hash}})
        return
    print_line(f"{count(newest.seq, 'record')}, every link whole.", style="green")
    print_line(f"head: {newest.seq}:{newest.hash}")
    if expect is None:
        print_line("Without --expect, a log that was cut at its end looks the same.")


@app.command()
@reporting
def show(  # noqa: PLR0913, PLR0917  (the options of a command)
    directory: DirectoryArgument = DIRECTORY_DEFAULT,
    vault: Annotated[
        str | None, typer.Option("--vault", metavar="HANDLE", help="Of this vault, by its handle.")
    ] = None,
    uid: Annotated[int | None, typer.Option("--uid", help="Of this user.")] = None,
    operation: Annotated[str | None, typer.Option("--operation", help="Such as vault.open.")] = None,
    outcome: Annotated[
        str | None,
        typer.Option("--outcome", help="ok, or the code of an error, such as wrong_knowledge_factor."),
    ] = None,
    since: Annotated[datetime | None, typer.Option("--since", help="At or after this time, UTC.")] = None,
    until: Annotated[datetime | None, typer.Option("--until", help="Before this time, UTC.")] = None,
    after: Annotated[int, typer.Option("--after", metavar="NUMBER", help="After this record.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Show records of the audit log.

    Oldest first. Needs no daemon. JSON is one record a line.

    Example: `hwkm audit show --operation vault.open --outcome wrong_knowledge_factor`
    """
    wanted = AuditFilter(uid, operation, outcome, _parse_handle(vault), _ms(since), _ms(until), after)
    records = read(directory, wanted)
    if as_json:
        for record in records:
            print(record.encode().decode("ascii"))
        return
    print_table(
        ("number", "time", "uid", "pid", "operation", "outcome", "vault"),
        (
            (r.seq, r.time, r.caller.uid, r.caller.pid, r.operation, r.outcome, r.vault or "-")
            for r in records
        ),
    )


def _parse_head(text: str | None) -> AuditHead | None:
    if text is None:
        return None
    found = _HEAD.fullmatch(text.strip())
    if found is None:
        raise typer.BadParameter(
            "a head is NUMBER:HASH, as `hwkm audit head` prints it", param_hint="--expect"
        )
    return AuditHead(int(found[1]), found[2])


def _parse_handle(text: str | None) -> bytes | None:
    if text is None:
        return None
    try:
        return bytes.fromhex(text)
    except ValueError:
        raise typer.BadParameter("a handle is 34 hex digits", param_hint="--vault") from None


def _ms(moment: datetime | None) -> int | None:
    return None if moment is None else int(moment.replace(tzinfo=UTC).timestamp() * 1000)
