"""Options and arguments of the commands about keys, and what people may write for them."""

from __future__ import annotations

import re
from collections.abc import Sequence
from pathlib import Path
from typing import Annotated, Final

import typer

from hwkm.client import DEFAULT_SOCKET, KeyClient
from hwkm.errors import FormatError, HwkmError
from hwkm.wire.key_api import ACCOUNT_PATTERN, ALIAS_PATTERN, ALIAS_PREFIX, KEY_ID_PATTERN

_KEY_ID: Final = re.compile(KEY_ID_PATTERN)
_ALIAS: Final = re.compile(ALIAS_PATTERN)
_ACCOUNT: Final = re.compile(ACCOUNT_PATTERN)
_COMPLETION_TIMEOUT_SECONDS: Final = 2.0


def key_name(text: str) -> str:
    """A key as the daemon takes it: an id, an ARN or an alias; any other word is an alias without ``alias/``."""
    if _KEY_ID.fullmatch(text) or text.startswith(("arn:", ALIAS_PREFIX)):
        return text
    return ALIAS_PREFIX + text


def alias_name(text: str) -> str:
    """An alias with its ``alias/``.

    Raises:
        FormatError: no alias can be called so.
    """
    name = text if text.startswith((ALIAS_PREFIX, "arn:")) else ALIAS_PREFIX + text
    if not name.startswith("arn:") and not _ALIAS.fullmatch(name):
        raise FormatError(f"{text!r} is no alias: 1 to 250 letters, digits, '/', '_' and '-'")
    return name


def checked_account(text: str | None) -> str | None:
    """An account as it was given. Raises FormatError if it is none."""
    if text is not None and not _ACCOUNT.fullmatch(text):
        raise FormatError(f"{text!r} is no account: exactly 12 digits")
    return text


def checked_days(option: str, days: int, least: int, most: int) -> int:
    """A number of days as it was given. Raises FormatError if it is out of range."""
    if not least <= days <= most:
        raise FormatError(f"{option} is {least:,} to {most:,} days, not {days:,}")
    return days


def pairs(texts: Sequence[str], what: str) -> dict[str, str]:
    """``NAME=VALUE`` texts as a map.

    Raises:
        typer.BadParameter: one is none, or a name is there twice.
    """
    found: dict[str, str] = {}
    for text in texts:
        name, equals, value = text.partition("=")
        if not equals or not name:
            raise typer.BadParameter(f"{what} {text!r} is not of the form NAME=VALUE")
        if name in found:
            raise typer.BadParameter(f"{what} {name!r} is given twice")
        found[name] = value
    return found


def complete_key(context: typer.Context, incomplete: str) -> list[str]:
    """Aliases and ids that begin so, as far as the daemon tells this user."""
    socket = context.params.get("socket") or DEFAULT_SOCKET
    try:
        with KeyClient(Path(socket), timeout_seconds=_COMPLETION_TIMEOUT_SECONDS) as client:
            keys = client.list()
    except HwkmError:
        return []
    names = [name for key in keys for name in (*key.aliases, key.key_id)]
    return [name for name in names if name.startswith(incomplete)]


KeyArgument = Annotated[
    str,
    typer.Argument(
        metavar="KEY",
        help="Key id, key ARN or alias (with or without `alias/`).",
        autocompletion=complete_key,
    ),
]
ContextOption = Annotated[
    list[str] | None,
    typer.Option(
        "--context",
        "-c",
        metavar="NAME=VALUE",
        help="A pair of the encryption context; may be repeated. It is bound to the data, and not secret.",
    ),
]
ToOption = Annotated[
    str | None,
    typer.Option(
        "--to",
        metavar="KEY",
        help="The key to bring data keys under. Without it: the newest version of the key they are under.",
        autocompletion=complete_key,
    ),
]
DryRunOption = Annotated[bool, typer.Option("--dry-run", help="Change nothing; say what would be done.")]
