"""Options that several commands share, each written once."""

from __future__ import annotations

from contextvars import ContextVar
from pathlib import Path
from typing import Annotated, Final

import typer

from hwkm.client import DEFAULT_SOCKET

SOCKET_VARIABLE: Final = "HWKM_SOCKET"

_socket_was_chosen: Final = ContextVar("_socket_was_chosen", default=False)


def socket_was_chosen() -> bool:
    """Whether this command was given a socket, by the option or by the variable."""
    return _socket_was_chosen.get()


def _note_choice(context: typer.Context, value: Path) -> Path:
    source = context.get_parameter_source("socket")
    _socket_was_chosen.set(source is not None and source.name != "DEFAULT")
    return value


SocketOption = Annotated[
    Path,
    typer.Option(
        "--socket",
        "-S",
        envvar=SOCKET_VARIABLE,
        metavar="PATH",
        # A caller who may not use the socket is told so by the transport, with exit code and reason.
        readable=False,
        help="The daemon's Unix socket.",
        callback=_note_choice,
    ),
]
SOCKET_DEFAULT: Final = DEFAULT_SOCKET

CohortKeyFileOption = Annotated[
    Path | None,
    typer.Option(
        "--cohort-key-file",
        metavar="FILE",
        help="Trust exactly the cohort key in this file (130 hex digits), instead of the one that was "
        "offered first.",
    ),
]
JsonOption = Annotated[bool, typer.Option("--json", help="Print JSON.")]
PinFileOption = Annotated[
    Path | None,
    typer.Option(
        "--pin-file",
        metavar="FILE",
        help="Read the PIN from a file that only you can read, instead of asking.",
    ),
]
VaultArgument = Annotated[str, typer.Argument(metavar="VAULT", help="Name or handle of the vault.")]
RecoveryKeyOutOption = Annotated[
    Path | None,
    typer.Option(
        "--out", metavar="FILE", help="Write the recovery key, in hex, to a new file that only you can read."
    ),
]
ShowRecoveryKeyOption = Annotated[
    bool,
    typer.Option(
        "--show-recovery-key", help="Print the recovery key. Dangerous: screens are seen and logged."
    ),
]
