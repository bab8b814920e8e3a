"""``hwkm key``: customer master keys and their life."""

from __future__ import annotations

import base64
from pathlib import Path
from typing import Annotated, Final

import typer

from hwkm.cli.key_options import KeyArgument, alias_name, checked_account, checked_days, key_name, pairs
from hwkm.cli.key_view import as_data, names_of, pairs_of, print_key, state_of, when
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.printing import count, print_json, print_line, print_table, say
from hwkm.cli.reporting import reporting
from hwkm.client import KeyClient
from hwkm.client.backup.output import new_file, refuse_existing
from hwkm.formats.key_kind import KeyKind
from hwkm.wire.key_api import (
    PENDING_DAYS_MAX,
    PENDING_DAYS_MIN,
    PERIOD_DAYS_MAX,
    PERIOD_DAYS_MIN,
    DeletionScheduled,
    KeyInfo,
)

app = typer.Typer(no_args_is_help=True, help="Master keys in the hardware, and their life.")

ORPHANS_SHOWN: Final = 10

TagsOption = Annotated[
    list[str] | None, typer.Option("--tag", metavar="NAME=VALUE", help="A tag; may be repeated.")
]
AliasArgument = Annotated[str, typer.Argument(metavar="ALIAS", help="An alias, with or without `alias/`.")]


@app.command()
@reporting
def create(
    alias: Annotated[
        str | None, typer.Argument(metavar="[ALIAS]", help="A name for the key, such as `documents`.")
    ] = None,
    kind: Annotated[KeyKind, typer.Option("--kind", help="What it is for.")] = KeyKind.SYMMETRIC,
    description: Annotated[str, typer.Option("--description", metavar="TEXT", help="For people.")] = "",
    tags: TagsOption = None,
    rotate_every: Annotated[
        int | None,
        typer.Option("--rotate-every", metavar="DAYS", help="Rotate it by itself, every 90 to 2,560 days."),
    ] = None,
    account: Annotated[
        str | None,
        typer.Option("--account", metavar="NUMBER", help="The tenant, 12 digits; yours if left out."),
    ] = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Make a key.

    It is made in the hardware and never leaves it in the clear. A symmetric key, the default, makes and opens data keys.

    Example: `hwkm key create documents --description "Scanned letters"`
    """
    _check_period("--rotate-every", rotate_every)
    with KeyClient(socket) as client:
        info = client.create(
            alias_name(alias) if alias else None,
            kind=kind,
            description=description,
            tags=pairs(tags or [], "the tag"),
            rotation_period_days=rotate_every,
            account=checked_account(account),
        )
    print_key(info, as_json=as_json)


@app.command(name="list")
@reporting
def list_(
    account: Annotated[
        str | None, typer.Option("--account", metavar="NUMBER", help="Keys of this tenant only.")
    ] = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """List the keys that you may see."""
    with KeyClient(socket) as client:
        keys = client.list(checked_account(account))
    if as_json:
        print_json(as_data(keys))
    elif keys:
        print_table(
            ("key id", "aliases", "kind", "state"),
            ((k.key_id, ", ".join(k.aliases), k.kind.value, state_of(k.state)) for k in keys),
        )
    else:
        print_line("There is no key.")


@app.command()
@reporting
def show(key: KeyArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Show a key: state, version, rotation, last use, aliases, tags."""
    with KeyClient(socket) as client:
        print_key(client.show(key_name(key)), as_json=as_json)


@app.command()
@reporting
def describe(
    key: KeyArgument,
    description: Annotated[str, typer.Argument(metavar="TEXT", help="The new description.")],
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Change the description of a key."""
    with KeyClient(socket) as client:
        print_key(client.update(key_name(key), description), as_json=as_json)


@app.command()
@reporting
def rotate(key: KeyArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Give a key a new version now.

    New data keys are under the new version. What is under older versions still decrypts; no data is touched. `hwkm rewrap` brings
    files under the new version.
    """
    with KeyClient(socket) as client:
        info = client.rotate(key_name(key))
    _say_or_json(
        info, f"{names_of(info.aliases, info.key_id)} has version {info.version} now.", as_json=as_json
    )


@app.command()
@reporting
def rotation(
    key: KeyArgument,
    every: Annotated[
        int | None,
        typer.Option("--every", metavar="DAYS", help="From now on rotate it every 90 to 2,560 days."),
    ] = None,
    off: Annotated[bool, typer.Option("--off", help="Rotate it no more by itself.")] = False,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Show the versions of a key, or set how often it rotates by itself."""
    if off and every is not None:
        raise typer.BadParameter("--every and --off exclude each other")
    _check_period("--every", every)
    with KeyClient(socket) as client:
        name = key_name(key)
        info = client.set_rotation(name, every) if off or every is not None else client.show(name)
        versions = client.rotations(name)
    if as_json:
        print_json({"key": as_data(info), "versions": as_data(versions)})
        return
    if info.rotation_period_days:
        print_line(f"Rotated every {info.rotation_period_days} days, next {when(info.next_rotation_at_ms)}.")
    else:
        print_line("Rotated on demand only.")
    print_table(
        ("version", "made", "cause"),
        ((v.version, when(v.created_at_ms), v.cause.replace("_", " ")) for v in versions),
    )


@app.command()
@reporting
def enable(key: KeyArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Let a key be used again."""
    with KeyClient(socket) as client:
        info = client.enable(key_name(key))
    _say_or_json(info, f"{names_of(info.aliases, info.key_id)} is enabled.", as_json=as_json)


@app.command()
@reporting
def disable(key: KeyArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Let a key not be used until it is enabled.

    Nothing that was encrypted under it can be read meanwhile; nothing is lost.
    """
    with KeyClient(socket) as client:
        info = client.disable(key_name(key))
    _say_or_json(info, f"{names_of(info.aliases, info.key_id)} is disabled.", as_json=as_json)


@app.command(name="schedule-deletion")
@reporting
def schedule_deletion(
    key: KeyArgument,
    days: Annotated[
        int, typer.Option("--days", metavar="N", help="Delete it after so many days, 7 to 30.")
    ] = 30,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Delete a key for good, after a waiting period.

    It cannot be used from now on. Once it is deleted, whatever was encrypted under it is lost for good. Until then `hwkm key
    cancel-deletion` keeps it.
    """
    checked_days("--days", days, PENDING_DAYS_MIN, PENDING_DAYS_MAX)
    with KeyClient(socket) as client:
        info = client.show(key_name(key))
        name = names_of(info.aliases, info.key_id)
        if not yes:
            typer.confirm(
                f"Delete {name} in {count(days, 'day')}? Whatever was encrypted under it is lost then.",
                abort=True,
                err=True,
            )
        done = client.schedule_deletion(info.arn, days)
    if as_json:
        print_json(as_data(done))
    else:
        print_line(f"{name} will be deleted on {when(done.key.deletion_at_ms)}.")
        _print_orphans(done)


def _check_period(option: str, days: int | None) -> None:
    if days is not None:
        checked_days(option, days, PERIOD_DAYS_MIN, PERIOD_DAYS_MAX)


def _print_orphans(done: DeletionScheduled) -> None:
    orphans = done.orphans
    if not orphans.total:
        return
    say(f"{count(orphans.total, 'recorded data key')} will be lost with it:", style="yellow")
    for item in orphans.items[:ORPHANS_SHOWN]:
        say(f"  {item.label}")
    if orphans.total > ORPHANS_SHOWN:
        say(f"  and {orphans.total - ORPHANS_SHOWN} more: `hwkm key recorded {done.key.key_id}`")


@app.command(name="cancel-deletion")
@reporting
def cancel_deletion(
    key: KeyArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False
) -> None:
    """Keep a key that was to be deleted. It is disabled then."""
    with KeyClient(socket) as client:
        info = client.cancel_deletion(key_name(key))
    name = names_of(info.aliases, info.key_id)
    _say_or_json(info, f"{name} is kept, and {state_of(info.state)}: `hwkm key enable`.", as_json=as_json)


@app.command()
@reporting
def alias(
    alias: AliasArgument,
    key: KeyArgument,
    move: Annotated[
        bool, typer.Option("--move", help="It names another key now; let it name this one.")
    ] = False,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Give a key a name.

    Aliases are of one tenant. Data remembers the key, not the alias: moving an alias changes what is encrypted from then on.
    """
    with KeyClient(socket) as client:
        give = client.update_alias if move else client.create_alias
        given = give(alias_name(alias), key_name(key))
    if as_json:
        print_json(as_data(given))
    else:
        print_line(f"{given.alias} is {given.key_id}.")


@app.command()
@reporting
def unalias(alias: AliasArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Remove an alias. Its key stays."""
    name = alias_name(alias)
    with KeyClient(socket) as client:
        client.delete_alias(name)
    if as_json:
        print_json({"alias": name, "removed": True})
    else:
        print_line(f"Removed {name}.")


@app.command()
@reporting
def tag(
    key: KeyArgument,
    tags: Annotated[
        list[str] | None, typer.Argument(metavar="[NAME=VALUE]...", help="Tags to add or change.")
    ] = None,
    remove: Annotated[
        list[str] | None, typer.Option("--remove", metavar="NAME", help="A tag to remove; may be repeated.")
    ] = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Add, change or remove tags of a key; without any, show them."""
    wanted, name = pairs(tags or [], "the tag"), key_name(key)
    with KeyClient(socket) as client:
        info = client.untag(name, remove) if remove else None
        info = client.tag(name, wanted) if wanted else info
        info = info or client.show(name)
    if as_json:
        print_json(info.tags)
    else:
        print_line(pairs_of(info.tags) or "It has no tags.")


@app.command()
@reporting
def recorded(key: KeyArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """List the data keys that were recorded under labels when they were made."""
    with KeyClient(socket) as client:
        found = client.recorded(key_name(key))
    if as_json:
        print_json(as_data(found))
    elif found:
        print_table(
            ("label", "version", "made", "SHA-256 of the wrapped key"),
            ((r.label, r.version, when(r.created_at_ms), r.digest.hex()) for r in found),
        )
    else:
        print_line("No data key of it was recorded.")


@app.command(name="public-key")
@reporting
def public_key(
    key: KeyArgument,
    out: Annotated[
        Path | None, typer.Option("--out", "-o", metavar="FILE", help="Write it to a new file.")
    ] = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Print the public half of a key pair, as PEM."""
    if out:
        refuse_existing(out)
    with KeyClient(socket) as client:
        found = client.public_key(key_name(key))
    if as_json:
        print_json(as_data(found))
        return
    pem = _pem(found.public_key)
    if out:
        with new_file(out) as file:
            file.write(pem.encode("ascii"))
    else:
        print(pem, end="")


def _pem(der: bytes) -> str:
    body = base64.encodebytes(der).decode("ascii").replace("\n", "")
    lines = [body[start : start + 64] for start in range(0, len(body), 64)]
    return "\n".join(["-----BEGIN PUBLIC KEY-----", *lines, "-----END PUBLIC KEY-----", ""])


def _say_or_json(info: KeyInfo, sentence: str, *, as_json: bool) -> None:
    if as_json:
        print_json(as_data(info))
    else:
        print_line(sentence)
