"""``hwkmd domain``: the domain keys of the token, through the daemon that is running."""

from __future__ import annotations

import time
from pathlib import Path
from typing import Annotated, Final

import typer

from hwkm.errors import DomainRotating, HwkmError, Unavailable
from hwkm.server.config import DEFAULT_CONFIG_PATH, load_config
from hwkm.server.own_client import ask_daemon
from hwkm.wire import operations
from hwkm.wire.key_api import DomainInfo

POLL_S: Final = 0.2

domain_app: Final = typer.Typer(no_args_is_help=True, help="The domain keys, which wrap all other keys.")
ConfigPath = Annotated[Path, typer.Option("--config", "-c", help="The configuration file.")]


class RotationBlocked(HwkmError):
    """A rotation of the domain key cannot be finished; the message says why."""


@domain_app.command()
def status(config: ConfigPath = DEFAULT_CONFIG_PATH) -> None:
    """Show the domain keys and how far a rotation is."""
    typer.echo("\n".join(_lines(_ask(config))))


@domain_app.command()
def rotate(config: ConfigPath = DEFAULT_CONFIG_PATH) -> None:
    """Wrap every key under a new domain key while the daemon serves, then destroy the old one.

    No key and no data change. It goes on without this command, and after a crash of the daemon;
    called again, the command shows how far it is.
    """
    socket_path = load_config(config).socket_path
    try:
        info = ask_daemon(socket_path, operations.DOMAIN_ROTATE)
    except DomainRotating:
        info = ask_daemon(socket_path, operations.DOMAIN_STATUS)
    assert isinstance(info, DomainInfo)
    with typer.progressbar(length=max(info.versions_left, 1), label="wrapping keys anew") as bar:
        while info.state == "rotating":
            bar.update(max(bar.length or 1, info.versions_left) - info.versions_left - bar.pos)
            time.sleep(POLL_S)
            info = _poll(socket_path)
        bar.update((bar.length or 1) - bar.pos)
    if info.state == "blocked":
        raise RotationBlocked(info.detail)
    typer.echo(f"domain key {info.generation}; {info.versions} versions of keys are wrapped under it")


def _ask(config: Path) -> DomainInfo:
    info = ask_daemon(load_config(config).socket_path, operations.DOMAIN_STATUS)
    assert isinstance(info, DomainInfo)
    return info


def _poll(socket_path: Path) -> DomainInfo:
    """How far it is. The core may be on its way back; the daemon itself has to be there."""
    while True:
        try:
            info = ask_daemon(socket_path, operations.DOMAIN_STATUS)
        except Unavailable as exc:
            if exc.__cause__ is not None:
                raise Unavailable(f"{exc} (the rotation goes on when it is back)") from exc
            time.sleep(POLL_S)
            continue
        assert isinstance(info, DomainInfo)
        return info


def _lines(info: DomainInfo) -> list[str]:
    others = [str(generation) for generation in info.generations if generation != info.generation]
    lines = [f"domain key   {info.generation}"]
    if others:
        lines.append(f"older ones   {', '.join(others)}")
    lines.append(f"rotation     {info.state}{f': {info.detail}' if info.detail else ''}")
    lines.append(f"key versions {info.versions}, under an older domain key {info.versions_left}")
    lines.append(f"kinds        {', '.join(info.kinds)}")
    return lines
