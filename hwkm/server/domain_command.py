"""``hwkmd domain``: the domain keys of the token, through the daemon that is running."""

from __future__ import annotations

import time
from collections.abc import Iterator
from pathlib import Path
from typing import Annotated, Final

import msgspec
import typer

from hwkm.errors import DomainRotating, HwkmError, Unavailable
from hwkm.server.config import DEFAULT_CONFIG_PATH, load_config
from hwkm.server.config_option import ConfigPath
from hwkm.server.moved_file import digest_of, read_file, read_pages, write_new
from hwkm.server.own_client import ask_daemon
from hwkm.wire import operations
from hwkm.wire.key_api import DomainInfo, ExchangeInfo, ExportedKeys, ExportKeys, ImportedKeys, ImportKeys

POLL_S: Final = 0.2

domain_app: Final = typer.Typer(no_args_is_help=True, help="The domain keys, which wrap all other keys.")
OutputFile = Annotated[Path, typer.Argument(help="Written; it must not be there yet.")]


class RotationBlocked(HwkmError):
    """A rotation of the domain key cannot be finished; the message says why."""


@domain_app.command()
def status(
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show the domain keys and how far a rotation is."""
    info = ask_daemon(load_config(config).socket_path, operations.DOMAIN_STATUS)
    assert isinstance(info, DomainInfo)
    typer.echo(msgspec.json.encode(info).decode() if as_json else "\n".join(_lines(info)))


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


@domain_app.command()
def statement(file: OutputFile, config: ConfigPath = DEFAULT_CONFIG_PATH) -> None:
    """Write what another module needs to send its keys here, and print its fingerprint.

    Hand over the file, and tell the other operator the fingerprint by another way.
    """
    info = ask_daemon(load_config(config).socket_path, operations.DOMAIN_EXCHANGE)
    assert isinstance(info, ExchangeInfo)
    write_new(file, [info.statement])
    typer.echo(f"fingerprint {info.fingerprint.hex()}")


@domain_app.command()
def export(
    file: OutputFile,
    to: Annotated[Path, typer.Option("--to", help="The other module's statement.")],
    fingerprint: Annotated[str, typer.Option(help="Its fingerprint, as its operator told it.")],
    config: ConfigPath = DEFAULT_CONFIG_PATH,
) -> None:
    """Write all keys, wrapped to another module, into a file; print what the other operator has to know.

    Nothing in the file is secret. Names and public keys in it are not signed: tell its digest by another way.
    """
    socket_path = load_config(config).socket_path
    wanted = ExportKeys(statement=read_file(to), fingerprint=digest_of("--fingerprint", fingerprint))
    own = ask_daemon(socket_path, operations.DOMAIN_EXCHANGE)
    assert isinstance(own, ExchangeInfo)
    digest = write_new(file, _pages(socket_path, wanted))
    typer.echo(f"sender {own.sender.hex()}\ndigest {digest}")


@domain_app.command(name="import")
def import_keys(
    file: Annotated[Path, typer.Argument(help="What the other module exported.")],
    sender: Annotated[str, typer.Option(help="The sender, as the other operator told it.")],
    digest: Annotated[str, typer.Option(help="The digest, as the other operator told it.")],
    config: ConfigPath = DEFAULT_CONFIG_PATH,
) -> None:
    """Take the keys that another module exported. May be repeated: what is there already stays as it is."""
    socket_path = load_config(config).socket_path
    who = digest_of("--sender", sender)
    keys = versions = 0
    for page in read_pages(file, digest_of("--digest", digest)):
        taken = ask_daemon(socket_path, operations.DOMAIN_IMPORT, ImportKeys(sender=who, page=page))
        assert isinstance(taken, ImportedKeys)
        keys += taken.keys
        versions += taken.versions
        for alias in taken.aliases_left_out:
            typer.echo(f"left out: {alias} names another key here", err=True)
    typer.echo(f"{keys} keys and {versions} versions taken")


def _pages(socket_path: Path, wanted: ExportKeys) -> Iterator[bytes]:
    """Every page as a line of JSON."""
    while True:
        exported = ask_daemon(socket_path, operations.DOMAIN_EXPORT, wanted)
        assert isinstance(exported, ExportedKeys)
        if exported.page is None:
            return
        yield msgspec.json.encode(exported.page) + b"\n"
        if exported.page.next is None:
            return
        wanted = msgspec.structs.replace(wanted, after=exported.page.next)


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
