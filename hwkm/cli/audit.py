"""``hwkm audit``: the audit log. All but ``checkpoint`` and ``key`` work on files and need no daemon."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import contextmanager
from datetime import UTC, datetime
from pathlib import Path
from typing import Annotated, Final

import typer
from rich.progress import BarColumn, MofNCompleteColumn, Progress, TextColumn, TimeRemainingColumn

from hwkm.audit.proving import accept_cosigned, newest_note, prove_growth, prove_record
from hwkm.audit.published import Published
from hwkm.audit.reader import AuditFilter, read
from hwkm.audit.record import parse_line
from hwkm.audit.segments import existing_segments
from hwkm.audit.verify import verify as verify_log
from hwkm.cli import audit_files as inputs
from hwkm.cli.audit_files import DirectoryOption, LogKeyOption, OutOption, WitnessOption
from hwkm.cli.connection import connect
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.printing import count, print_facts, print_json, print_line, print_table, say, stderr
from hwkm.cli.reporting import reporting
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.proof_file import ProofFile

app = typer.Typer(no_args_is_help=True, help="Who did what, and proof of it for others.")

_RECORD_BYTES: Final = 300
"""About what a record takes; only the progress bar depends on it."""


@app.command()
@reporting
def checkpoint(
    socket: SocketOption = SOCKET_DEFAULT, out: OutOption = None, as_json: JsonOption = False
) -> None:
    """Have the log signed as it is now.

    Prints the signed checkpoint. Keep it somewhere else: `hwkm audit verify --checkpoint` notices by it
    a log that was cut, or written anew.

    Example: `hwkm audit checkpoint --out checkpoint.2026-01-31`
    """
    with connect(socket) as client:
        answer = client.agent.audit_checkpoint()
    if as_json:
        print_json(answer)
    else:
        inputs.write(out, answer.checkpoint.encode())


@app.command()
@reporting
def key(socket: SocketOption = SOCKET_DEFAULT, out: OutOption = None) -> None:
    """Print the public key of the log.

    Whoever is to check the log needs it, once, by a way that can be trusted.
    """
    with connect(socket) as client:
        inputs.write(out, f"{client.agent.audit_checkpoint().log_key}\n".encode())


@app.command()
@reporting
def verify(
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where the log is.")
    ] = inputs.DIRECTORY_DEFAULT,
    log_key: LogKeyOption = None,
    seen: Annotated[
        list[Path] | None,
        typer.Option(
            "--checkpoint", metavar="FILE", help="A checkpoint that was kept: the log must still contain it."
        ),
    ] = None,
    witness: WitnessOption = None,
    live: Annotated[
        bool, typer.Option("--live", help="Allow an unfinished last line: the daemon is writing.")
    ] = False,
    as_json: JsonOption = False,
) -> None:
    """Check the whole audit log.

    Every record, every tile, every checkpoint; needs nothing but the files and the public key of the log.

    Example: `hwkm audit verify /var/lib/hwkm/audit --log-key log-key --checkpoint checkpoint.2026-01-31`
    """
    kept = {str(path): inputs.read(path) for path in seen or ()}
    with _progress(directory) as progress:
        report = verify_log(
            directory,
            inputs.log_key(log_key, directory),
            seen=kept,
            witnesses=inputs.witnesses(witness),
            live=live,
            progress=progress,
        )
    witnesses = {cosigner.name: _time(seconds) for cosigner, seconds in report.witnesses}
    if as_json:
        print_json(
            {
                "records": report.records,
                "signed": report.signed,
                "root": report.root.hex(),
                "checkpoints_seen": len(kept),
                "witnesses": witnesses,
            }
        )
        return
    print_line(f"{count(report.records, 'record')}, all whole and in order.", style="green")
    print_line(f"The first {report.signed} are signed for by the log's key.")
    for name, moment in witnesses.items():
        print_line(f"Cosigned by {name} at {moment}.")
    if not kept and not witnesses:
        say("Without --checkpoint or --witness, a log that was rolled back as a whole looks the same.")


@app.command()
@reporting
def show(  # noqa: PLR0913, PLR0917  (the options of a command)
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where the log is.")
    ] = inputs.DIRECTORY_DEFAULT,
    since: inputs.SinceOption = None,
    until: inputs.UntilOption = None,
    vault: inputs.VaultOption = None,
    key_name: inputs.KeyOption = None,
    operation: inputs.OperationOption = None,
    outcome: inputs.OutcomeOption = None,
    caller: inputs.CallerOption = None,
    context: inputs.ContextOption = None,
    start: inputs.FromOption = 0,
    as_json: JsonOption = False,
) -> None:
    """Show records of the audit log.

    Oldest first. JSON is one record a line.

    Example: `hwkm audit show --operation vault.open --outcome wrong_knowledge_factor`
    """
    wanted = inputs.wanted(since, until, vault, key_name, operation, outcome, caller, context, start)
    if as_json:
        _export(directory, wanted)
        return
    print_table(
        ("index", "time", "caller", "operation", "outcome", "on", "context"),
        (
            (
                record.index,
                record.time,
                inputs.caller_text(record.caller),
                record.operation,
                record.outcome,
                inputs.subject_text(record),
                ", ".join(f"{name}={value}" for name, value in (record.context or {}).items()) or "-",
            )
            for record in read(directory, wanted)
        ),
    )


@app.command()
@reporting
def export(  # noqa: PLR0913, PLR0917  (the options of a command)
    directory: Annotated[
        Path, typer.Argument(metavar="DIRECTORY", help="Where the log is.")
    ] = inputs.DIRECTORY_DEFAULT,
    since: inputs.SinceOption = None,
    until: inputs.UntilOption = None,
    vault: inputs.VaultOption = None,
    key_name: inputs.KeyOption = None,
    operation: inputs.OperationOption = None,
    outcome: inputs.OutcomeOption = None,
    caller: inputs.CallerOption = None,
    context: inputs.ContextOption = None,
    start: inputs.FromOption = 0,
) -> None:
    """Print records as JSON lines.

    Each line is the very entry of the log, byte for byte.

    Example: `hwkm audit export --since 2026-01-01 --context tenant=alice | jq .operation`
    """
    _export(
        directory,
        inputs.wanted(since, until, vault, key_name, operation, outcome, caller, context, start),
    )


@app.command()
@reporting
def prove(
    index: Annotated[int, typer.Argument(metavar="INDEX", help="Which record; `hwkm audit show` says.")],
    directory: DirectoryOption = inputs.DIRECTORY_DEFAULT,
    log_key: LogKeyOption = None,
    cosigned: Annotated[
        Path | None,
        typer.Option("--checkpoint", metavar="FILE", help="Prove it for this one, such as a cosigned one."),
    ] = None,
    out: OutOption = None,
) -> None:
    """Write a proof that a record is in the log.

    The proof holds the record and a signed checkpoint: a stranger needs nothing else but the log's public key.

    Example: `hwkm audit prove 4711 --out record-4711.tlog-proof`
    """
    note = None if cosigned is None else inputs.note(cosigned)
    proof = prove_record(directory, index, inputs.log_key(log_key, directory), note)
    inputs.write(out, proof.encode())


@app.command("check-proof")
@reporting
def check_proof(
    proof: Annotated[Path, typer.Argument(metavar="FILE", help="What `hwkm audit prove` has written.")],
    log_key: Annotated[str, typer.Option("--log-key", metavar="KEY|FILE", help="Public key of the log.")],
    witness: WitnessOption = None,
    quorum: Annotated[int, typer.Option("--quorum", help="How many witnesses must have cosigned.")] = 0,
    as_json: JsonOption = False,
) -> None:
    """Check a proof of somebody else's, and print the record that it proves.

    Example: `hwkm audit check-proof record-4711.tlog-proof --log-key log-key`
    """
    found = ProofFile.parse(inputs.read(proof))
    verified = found.verify(found.extra, inputs.log_key(log_key), inputs.witnesses(witness), quorum=quorum)
    record = parse_line(found.extra)
    if as_json:
        print(found.extra.decode())
        return
    state = verified.checkpoint
    print_line(f"Record {found.index} is in the log {state.origin}.", style="green")
    print_facts(
        {
            "time": record.time,
            "caller": inputs.caller_text(record.caller),
            "operation": record.operation,
            "outcome": record.outcome,
            "on": inputs.subject_text(record),
            "record": found.extra.decode(),
            "checkpoint": f"of {count(state.size, 'record')}",
            **{f"cosigned by {cosigner.name}": _time(seconds) for cosigner, seconds in verified.witnesses},
        }
    )


@app.command()
@reporting
def consistency(
    old: Annotated[Path, typer.Argument(metavar="OLD", help="A checkpoint that was kept.")],
    new: Annotated[
        Path | None, typer.Argument(metavar="NEW", help="A later one; without it, the newest.")
    ] = None,
    directory: DirectoryOption = inputs.DIRECTORY_DEFAULT,
    log_key: LogKeyOption = None,
    out: OutOption = None,
) -> None:
    """Prove that between two checkpoints the log only grew.

    What is written is also what a witness takes: `hwkm audit cosign`.

    Example: `hwkm audit consistency checkpoint.2026-01-31 --out since-january`
    """
    public = inputs.log_key(log_key, directory)
    before = verify_checkpoint(inputs.read(old), public).checkpoint
    note = newest_note(Published(directory)) if new is None else inputs.note(new)
    proof = prove_growth(directory, before, note, public)
    after = Checkpoint.parse(note.text)
    say(f"The log grew from {before.size} to {count(after.size, 'record')}; nothing before was changed.")
    inputs.write(out, proof.encode())


@app.command()
@reporting
def accept(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="What `hwkm audit cosign` has written.")],
    witness: Annotated[str, typer.Option("--witness", metavar="KEY|FILE", help="Public key of the witness.")],
    directory: DirectoryOption = inputs.DIRECTORY_DEFAULT,
    log_key: LogKeyOption = None,
) -> None:
    """Keep a checkpoint that a witness has cosigned.

    It lies in `witnessed/` in the log's directory, for everybody to see.

    Example: `hwkm audit accept cosigned --witness witness-key`
    """
    (public,) = inputs.witnesses([witness])
    size = accept_cosigned(directory, inputs.read(file), inputs.log_key(log_key, directory), public)
    print_line(f"The first {count(size, 'record')} are cosigned by {public.name}.")


def _export(directory: Path, wanted: AuditFilter) -> None:
    for record in read(directory, wanted):
        print(record.encode().decode())


def _time(seconds: int) -> str:
    return f"{datetime.fromtimestamp(seconds, UTC):%Y-%m-%dT%H:%M:%SZ}"


@contextmanager
def _progress(directory: Path) -> Iterator[Callable[[int], None]]:
    """A bar on a terminal; its length is guessed from the size of the files."""
    console = stderr()
    total = sum(segment.path.stat().st_size for segment in existing_segments(directory)) // _RECORD_BYTES
    columns = (TextColumn("verifying"), BarColumn(), MofNCompleteColumn(), TimeRemainingColumn())
    with Progress(*columns, console=console, transient=True, disable=not console.is_terminal) as bar:
        task = bar.add_task("verifying", total=total)
        yield lambda records: bar.update(task, completed=records, total=max(total, records))
