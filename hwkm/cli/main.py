"""The ``hwkm`` command: parse, call the client, print. One module a group of commands."""

from __future__ import annotations

import os
import signal
import sys
from typing import Annotated

import typer

import hwkm
from hwkm.cli import audit, backup, cohort, fleet, key, vault, witness
from hwkm.cli.completion import completion
from hwkm.cli.doctor import doctor
from hwkm.cli.encrypt import decrypt, encrypt
from hwkm.cli.exits import ExitCode
from hwkm.cli.rewrap import rewrap
from hwkm.cli.rewrap_rows import rewrap_rows
from hwkm.cli.status import status

app = typer.Typer(
    name="hwkm",
    no_args_is_help=True,
    rich_markup_mode="markdown",
    # A traceback with local variables would print PINs.
    pretty_exceptions_enable=False,
    context_settings={"help_option_names": ["-h", "--help"]},
    epilog="Exit codes are in docs/operations/exit-codes.md: 0 done, 2 wrong usage, 10 wrong PIN, "
    "11 locked for good, 12 too soon, 20 no daemon.",
)
app.command()(status)
app.add_typer(vault.app, name="vault")
app.add_typer(backup.app, name="backup")
app.add_typer(key.app, name="key")
app.command()(encrypt)
app.command()(decrypt)
app.command()(rewrap)
app.command(name="rewrap-rows")(rewrap_rows)
app.add_typer(cohort.app, name="cohort")
audit.app.command("witness-key")(witness.witness_key)
audit.app.command("cosign")(witness.cosign_checkpoint)
app.add_typer(audit.app, name="audit")
app.add_typer(fleet.app, name="fleet")
app.command()(doctor)
app.command()(completion)


def _print_version(wanted: bool) -> None:
    if wanted:
        print(f"hwkm {hwkm.__version__}")
        raise typer.Exit


@app.callback()
def _hwkm(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version.", callback=_print_version, is_eager=True)
    ] = False,
) -> None:
    """Recovery keys that come back only for the right PIN, and master keys that never leave the hardware.

    hwkm talks to hwkmd over a Unix socket. Make a vault, encrypt files under its keys, and get
    them back on another device with nothing but the PIN; after too many wrong PINs they are gone
    for good. Or make a master key, and encrypt each file under a data key of its own.
    """


def _end_in_order() -> None:
    """Let a signal that ends the command, like Ctrl-C, leave no unfinished file behind; one that is ignored stays so."""
    for number in (signal.SIGTERM, signal.SIGHUP):
        if signal.getsignal(number) is signal.SIG_DFL:
            signal.signal(number, signal.default_int_handler)


def run() -> None:
    """Entry point."""
    _end_in_order()
    try:
        app()
    except BrokenPipeError:
        # The reader of a pipe has enough. Python would complain once more when it flushes.
        os.dup2(os.open(os.devnull, os.O_WRONLY), sys.stdout.fileno())
        sys.exit(ExitCode.FAILED)
    except KeyboardInterrupt:
        sys.exit(ExitCode.INTERRUPTED)


if __name__ == "__main__":
    run()
