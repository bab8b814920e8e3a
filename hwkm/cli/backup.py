"""``hwkm backup``: encrypt and restore files and directories under a key of a vault."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Annotated, Any, Final

import typer

from hwkm.cli.connection import AnyVaultClient, connect_vaults
from hwkm.cli.options import (
    SOCKET_DEFAULT,
    CohortKeyFileOption,
    JsonOption,
    PinFileOption,
    SocketOption,
)
from hwkm.cli.pin import obtain_pin
from hwkm.cli.printing import count, print_json, print_line, say, size
from hwkm.cli.progress import bytes_bar
from hwkm.cli.reporting import reporting
from hwkm.cli.vault_view import pin_word
from hwkm.client import backup
from hwkm.client.backup import Tally
from hwkm.client.backup.output import refuse_existing
from hwkm.client.framework import Recovered
from hwkm.wire.api import VaultInfo

app = typer.Typer(no_args_is_help=True, help="Encrypt and restore files and directories.")

PURPOSE: Final = "backup"
"""First word of the aliases of the application keys that backups are under."""


@app.command()
@reporting
def encrypt(
    path: Annotated[Path, typer.Argument(metavar="PATH", help="A file or a directory.")],
    vault: Annotated[str, typer.Option("--vault", metavar="VAULT", help="Name or handle of the vault.")],
    output: Annotated[Path, typer.Option("--output", "-o", metavar="FILE", help="The new backup file.")],
    pin_file: PinFileOption = None,
    cohort_key_file: CohortKeyFileOption = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Encrypt a file or directory under a key of a vault.

    Asks the vault's PIN, because the key is kept under it. The backup is written whole or not at all.

    Example: `hwkm backup encrypt ~/photos --vault "phone backup" -o photos.hwkm`
    """
    refuse_existing(output)
    total = backup.content_bytes(path)
    with (
        connect_vaults(socket, cohort_key_file) as client,
        _opened(client, vault, pin_file) as (info, recovered),
    ):
        key = client.ensure_application_key(recovered, PURPOSE)
        with bytes_bar("encrypting", total) as progress:
            tally = backup.encrypt(path, output, bytes.fromhex(info.handle), key, progress)
    for left_out in tally.left_out:
        say(f"left out: {left_out} (a socket, pipe or device)", style="yellow")
    if as_json:
        print_json(_facts(tally, info) | {"file": str(output), "application_key": key.alias})
    else:
        print_line(f"Encrypted {_amount(tally)} into {output}, under vault {info.name}.")


@app.command()
@reporting
def restore(
    file: Annotated[Path, typer.Argument(metavar="FILE", help="A backup file.")],
    output: Annotated[
        Path, typer.Option("--output", "-o", metavar="DIRECTORY", help="A new directory to restore into.")
    ],
    pin_file: PinFileOption = None,
    cohort_key_file: CohortKeyFileOption = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Restore a backup: ask the PIN, recover the key, decrypt.

    The backup says which vault it is under. The directory appears whole or not at all.

    Example: `hwkm backup restore photos.hwkm -o restored`
    """
    refuse_existing(output)
    header = backup.unverified_header(file)
    total = file.stat().st_size
    with (
        connect_vaults(socket, cohort_key_file) as client,
        _opened(client, header.handle.hex(), pin_file) as (info, recovered),
        bytes_bar("restoring", total) as progress,
    ):
        tally = backup.restore(file, output, recovered.key_ring, progress)
    if as_json:
        print_json(_facts(tally, info) | {"directory": str(output), "application_key": header.alias})
    else:
        print_line(f"Restored {_amount(tally)} into {output}.")


@contextmanager
def _opened(
    client: AnyVaultClient, vault: str, pin_file: Path | None
) -> Iterator[tuple[VaultInfo, Recovered]]:
    info = client.find(vault)
    with obtain_pin(f"{pin_word(info)} of vault {info.name}", pin_file) as pin:
        recovered = client.open(info.handle, pin)
    with recovered:
        yield info, recovered


def _amount(tally: Tally) -> str:
    return f"{count(tally.files, 'file')} ({size(tally.content_bytes)})"


def _facts(tally: Tally, info: VaultInfo) -> dict[str, Any]:
    return {
        "vault": info.handle,
        "files": tally.files,
        "content_bytes": tally.content_bytes,
        "left_out": tally.left_out,
    }
