"""The command ``hwkmd``: init, serve, check, config. It parses, calls, prints and exits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

import hwkm
from hwkm.errors import HwkmError
from hwkm.server.config import DEFAULT_CONFIG_PATH, load_config
from hwkm.server.daemon import serve as run_daemon
from hwkm.server.exit_codes import exit_code_of
from hwkm.server.logs import set_up_logs
from hwkm.server.provisioning import provision_token

app: Final = typer.Typer(
    name="hwkmd", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]


def run() -> None:
    """Run the command; every foreseen error is one message and a documented exit code."""
    try:
        app()
    except HwkmError as exc:
        typer.echo(f"hwkmd: {exc}", err=True)
        sys.exit(exit_code_of(exc))


@app.callback()
def _root(
    version: Annotated[
        bool, typer.Option("--version", help="Print the version and exit.", is_eager=True)
    ] = False,
) -> None:
    """The hwkm daemon: a recovery key comes back only for the right PIN."""
    if version:
        typer.echo(f"hwkmd {hwkm.__version__}")
        raise typer.Exit


@app.command()
def init(
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    destroy_existing: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST", help="Destroy what is there; the digest is printed by a run without it."
        ),
    ] = None,
) -> None:
    """Provision the token: make cohort key, audit key and anchor, and the files beside them."""
    made = uvloop.run(provision_token(load_config(config), destroy_existing))
    if made.pin_file_made:
        typer.echo(f"made PIN file {made.pin_file_made}: whoever has it and the token has the keys")
    for line in made.inventory.objects:
        typer.echo(f"made {line}")
    typer.echo(f"cohort {made.cohort_digest}")


@app.command()
def serve(config: ConfigPath = DEFAULT_CONFIG_PATH) -> None:
    """Serve in the foreground until SIGTERM. SIGHUP reloads the policy file."""
    settings = load_config(config)
    set_up_logs(settings.daemon.log_level, settings.daemon.log_format)
    uvloop.run(run_daemon(settings))
