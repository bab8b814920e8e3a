"""The command ``hwkmd credential``: make, list and revoke credentials of the AWS front."""

from __future__ import annotations

from typing import Annotated, Final

import msgspec
import typer

from hwkm.server.aws.credentials_file import create_credential, read_entries, revoke_credential
from hwkm.server.config import DEFAULT_CONFIG_PATH, Config, load_config
from hwkm.server.config_option import ConfigPath
from hwkm.server.privileges import become_owner_of

credential_app: Final = typer.Typer(no_args_is_help=True, help="Credentials of the AWS KMS interface.")

AsJson = Annotated[bool, typer.Option("--json", help="Print JSON.")]
Name = Annotated[str, typer.Argument(help="A name for people and for the policy file.")]

_RELOAD: Final = "a running hwkmd takes it up when it is told: systemctl reload hwkmd, or SIGHUP"


@credential_app.command("create")
def create(
    name: Name,
    account: Annotated[str, typer.Option(help="The account (tenant) that it acts for: 12 digits.")],
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    as_json: AsJson = False,
) -> None:
    """Make a credential. Its secret is printed now and never again."""
    made = create_credential(_as_daemon(config).credentials_path, name, account)
    if as_json:
        typer.echo(msgspec.json.encode(made._asdict()).decode())
    else:
        typer.echo(f"aws_access_key_id = {made.access_key_id}")
        typer.echo(f"aws_secret_access_key = {made.secret_access_key}")
    typer.echo(_RELOAD, err=True)


@credential_app.command("list")
def list_all(config: ConfigPath = DEFAULT_CONFIG_PATH, as_json: AsJson = False) -> None:
    """List the credentials, without their secrets."""
    entries = [
        {
            "name": entry.name,
            "account": entry.account,
            "access_key_id": entry.access_key_id,
            "created": entry.created,
        }
        for entry in read_entries(_as_daemon(config).credentials_path)
    ]
    if as_json:
        typer.echo(msgspec.json.encode(entries).decode())
    for entry in entries if not as_json else ():
        typer.echo("\t".join(entry.values()))


@credential_app.command("revoke")
def revoke(name: Name, config: ConfigPath = DEFAULT_CONFIG_PATH) -> None:
    """Take a credential away. It is not accepted any more once a running hwkmd was told."""
    gone = revoke_credential(_as_daemon(config).credentials_path, name)
    typer.echo(f"revoked {gone.name}, access key id {gone.access_key_id}")
    typer.echo(_RELOAD, err=True)


def _as_daemon(path: ConfigPath) -> Config:
    """Read the configuration and become the daemon's user: what root writes, it could not read."""
    config = load_config(path)
    become_owner_of(config.state_directory)
    return config
