"""The command ``hwkmd``: init, serve, check, config. It parses, calls, prints and exits."""

from __future__ import annotations

import sys
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

import hwkm
from hwkm.errors import HwkmError
from hwkm.server.aws.command import credential_app
from hwkm.server.check import json_of, run_check, text_of
from hwkm.server.cohort_command import cohort_app
from hwkm.server.config import DEFAULT_CONFIG_PATH, load_config
from hwkm.server.config_example import example_config, shown_config
from hwkm.server.config_option import ConfigPath
from hwkm.server.daemon import serve as run_daemon
from hwkm.server.domain_command import domain_app
from hwkm.server.evidence_command import write_evidence
from hwkm.server.exit_codes import exit_code_of
from hwkm.server.logs import set_up_logs
from hwkm.server.provisioning import add_domain_key, make_audit_log, provision_token, sweep_nodes

app: Final = typer.Typer(
    name="hwkmd", no_args_is_help=True, add_completion=False, pretty_exceptions_enable=False
)
config_app: Final = typer.Typer(no_args_is_help=True, help="Show configurations.")
app.add_typer(config_app, name="config")
app.add_typer(credential_app, name="credential")
app.add_typer(cohort_app, name="cohort")
app.add_typer(domain_app, name="domain")


def run() -> None:
    """Run the command; every foreseen error is one message and a documented exit code."""
    try:
        app()
    except HwkmError as exc:
        typer.echo(f"hwkmd: {exc}", err=True)
        sys.exit(exit_code_of(exc))


def _print_version(wanted: bool) -> None:
    if wanted:
        typer.echo(f"hwkmd {hwkm.__version__}")
        raise typer.Exit


@app.callback()
def _root(
    _version: Annotated[
        bool,
        typer.Option("--version", help="Print the version and exit.", callback=_print_version, is_eager=True),
    ] = False,
) -> None:
    """The hwkm daemon: a recovery key comes back only for the right PIN."""


@app.command()
def init(
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    destroy_existing: Annotated[
        str | None,
        typer.Option(
            metavar="DIGEST", help="Destroy what is there; the digest is printed by a run without it."
        ),
    ] = None,
    so_pin_file: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="PIN of a PKCS#11 token's security officer: domain keys are trusted ones."
        ),
    ] = None,
    add_domain: Annotated[
        bool,
        typer.Option(
            "--add-domain", help="Only make a domain key where there is none; with an SO PIN, spares."
        ),
    ] = False,
    audit_log: Annotated[
        bool, typer.Option("--audit-log", help="Make only an audit log, where there is none.")
    ] = False,
) -> None:
    """Provision the token: make cohort, audit and domain key and anchor, and the files beside them."""
    if audit_log:
        typer.echo(f"made audit log {make_audit_log(load_config(config))}")
        return
    if add_domain and destroy_existing:
        raise typer.BadParameter("--add-domain destroys nothing; give one of the two")
    if add_domain:
        for line in uvloop.run(add_domain_key(load_config(config), so_pin_file)):
            typer.echo(f"there is {line}")
        return
    made = uvloop.run(provision_token(load_config(config), destroy_existing, so_pin_file))
    if made.pin_file_made:
        typer.echo(f"made PIN file {made.pin_file_made}: whoever has it and the token has the keys")
    for line in made.inventory.objects:
        typer.echo(f"made {line}")
    typer.echo(f"cohort {made.cohort_digest}")
    typer.echo("next: hwkmd serve, or systemctl start hwkmd; then hwkm status", err=True)


@app.command()
def serve(config: ConfigPath = DEFAULT_CONFIG_PATH) -> None:
    """Serve in the foreground until SIGTERM. SIGHUP reloads policy and credentials."""
    settings = load_config(config)
    set_up_logs(settings.daemon.log_level, settings.daemon.log_format)
    uvloop.run(run_daemon(settings))


@app.command()
def sweep(config: ConfigPath = DEFAULT_CONFIG_PATH) -> None:
    """Remove nodes of the attempt tree that crashes left behind. Stop the daemon first."""
    swept = uvloop.run(sweep_nodes(load_config(config)))
    typer.echo(f"{swept.nodes} nodes in the attempt tree, {swept.removed} left-over nodes removed")


@app.command()
def evidence(
    out: Annotated[Path, typer.Argument(metavar="FILE", help="Written; it must not be there yet.")],
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    challenge: Annotated[
        Path | None,
        typer.Option(
            metavar="FILE", help="What an outsider made by `hwkm fleet evidence challenge`; a TPM answers it."
        ),
    ] = None,
    ek_intermediates: Annotated[
        Path | None,
        typer.Option(metavar="FILE", help="Certificates (PEM) between the TPM's own and its maker's root."),
    ] = None,
) -> None:
    """Write what this member's hardware says of its keys, for others to check. Stop the daemon first."""
    digest = uvloop.run(write_evidence(load_config(config), out, challenge, ek_intermediates))
    typer.echo(f"evidence {digest}")


@app.command()
def check(
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Look for what could keep the daemon from serving, and say what to do. Changes nothing."""
    report = run_check(config)
    typer.echo(json_of(report) if as_json else "\n".join(text_of(report)))
    raise typer.Exit(report.exit_code)


@config_app.command("show")
def show_config(config: ConfigPath = DEFAULT_CONFIG_PATH) -> None:
    """Print the configuration in force, defaults filled in."""
    typer.echo(shown_config(load_config(config)), nl=False)


@config_app.command("example")
def print_example() -> None:
    """Print a complete, commented configuration."""
    typer.echo(example_config(), nl=False)
