"""``hwkm vault``: make, open and replace vaults."""

from __future__ import annotations

from contextlib import nullcontext
from pathlib import Path
from typing import Annotated

import typer

from hwkm.cli.connection import connect_vaults
from hwkm.cli.options import (
    SOCKET_DEFAULT,
    CohortKeyFileOption,
    JsonOption,
    PinFileOption,
    RecoveryKeyOutOption,
    ShowRecoveryKeyOption,
    SocketOption,
    VaultArgument,
)
from hwkm.cli.pin import obtain_new_pin, obtain_pin
from hwkm.cli.printing import count, print_json, print_line
from hwkm.cli.recovery_key import RecoveryKeySink, read_recovery_key
from hwkm.cli.reporting import attempts, reporting
from hwkm.cli.vault_place import places_of
from hwkm.cli.vault_view import pin_word, print_vault, print_vaults, summary_of
from hwkm.client import FleetVaultClient, KfAlgorithm, KfType
from hwkm.client.framework import Recovered, fresh_kf_params
from hwkm.wire.api import VaultInfo

app = typer.Typer(no_args_is_help=True, help="Recovery keys under a PIN or password.")

TypeOption = Annotated[KfType, typer.Option("--type", help="What opens the vault.")]
NewPinFileOption = Annotated[
    Path | None,
    typer.Option(
        "--new-pin-file", metavar="FILE", help="Read the new PIN from a file that only you can read."
    ),
]
DropDamagedOption = Annotated[
    bool,
    typer.Option(
        "--drop-damaged-keys", help="Go on when application keys do not open; they are lost for good."
    ),
]


@app.command()
@reporting
def create(  # noqa: PLR0913, PLR0917  (the options of a command)
    name: Annotated[str, typer.Argument(metavar="NAME", help="A name for people, unique among your vaults.")],
    kf_type: TypeOption = KfType.PIN,
    max_attempts: Annotated[
        int | None,
        typer.Option("--max-attempts", metavar="N", help="Wrong attempts until the key is gone for good."),
    ] = None,
    algorithm: Annotated[
        KfAlgorithm, typer.Option("--algorithm", help="How the PIN is stretched.")
    ] = KfAlgorithm.ARGON2ID,
    pin_file: PinFileOption = None,
    out: RecoveryKeyOutOption = None,
    show_recovery_key: ShowRecoveryKeyOption = False,
    cohort_key_file: CohortKeyFileOption = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Make a vault under a PIN.

    Draws a recovery key and seals it. Only the right PIN gives the key back. After the last wrong attempt it is gone for good, for
    you and for everybody else.

    Example: `hwkm vault create "phone backup"`
    """
    sink = RecoveryKeySink(out, show_recovery_key)
    sink.check()
    with (
        obtain_new_pin(pin_word(kf_type), pin_file) as pin,
        connect_vaults(socket, cohort_key_file) as client,
    ):
        info, recovery_key = client.create(
            name, pin, kf_type, kf_params=fresh_kf_params(algorithm), max_attempts=max_attempts
        )
        with recovery_key:
            sink.write(recovery_key)
            if as_json:
                print_json(summary_of(info) | sink.facts(recovery_key))
            else:
                print_line(f"Created vault {info.name} ({info.handle}).")
                print_line(f"After {count(info.max_attempts, 'wrong attempt')} its key is gone for good.")
                sink.print(recovery_key)


@app.command(name="open")
@reporting
def open_(
    vault: VaultArgument,
    pin_file: PinFileOption = None,
    out: RecoveryKeyOutOption = None,
    show_recovery_key: ShowRecoveryKeyOption = False,
    cohort_key_file: CohortKeyFileOption = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Open a vault: prove the PIN.

    The recovery key comes back, and is forgotten again unless told otherwise.

    A wrong PIN costs an attempt and, after some, a growing delay. The right one gives all
    attempts back.

    Example: `hwkm vault open "phone backup" --out recovery-key.hex`
    """
    sink = RecoveryKeySink(out, show_recovery_key)
    sink.check()
    with connect_vaults(socket, cohort_key_file) as client:
        info = client.find(vault)
        with (
            obtain_pin(pin_word(info), pin_file) as pin,
            client.open(info.handle, pin) as recovered,
        ):
            sink.write(recovered.recovery_key)
            _print_opened(info, recovered, sink, as_json=as_json)


def _print_opened(info: VaultInfo, recovered: Recovered, sink: RecoveryKeySink, *, as_json: bool) -> None:
    ring = recovered.key_ring
    if as_json:
        print_json(
            {
                "handle": info.handle,
                "name": info.name,
                "snapshot_version": recovered.snapshot_version,
                "attempts_remaining": recovered.attempts_remaining,
                "application_keys": sorted(ring.keys),
                "damaged_application_keys": sorted(ring.damaged),
            }
            | sink.facts(recovered.recovery_key)
        )
        return
    print_line(f"Opened vault {info.name}: the recovery key came back.", style="green")
    print_line(f"{attempts(recovered.attempts_remaining)}; {count(len(ring.keys), 'application key')}")
    for alias in ring.damaged:
        print_line(f"application key {alias} is damaged and was left out", style="yellow")
    sink.print(recovered.recovery_key)


@app.command(name="list")
@reporting
def list_(socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """List the vaults that you may see."""
    with connect_vaults(socket) as client:
        vaults = client.list()
        places = places_of(client, vaults)
    if as_json:
        print_json([summary_of(info, places.get(info.handle)) for info in vaults])
    elif vaults:
        print_vaults(vaults, places)
    else:
        print_line("There is no vault.")


@app.command()
@reporting
def show(vault: VaultArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Show a vault.

    Attempts remaining, delay, application keys; nothing that is shown is secret.
    """
    with connect_vaults(socket) as client:
        info = client.find(vault)
        print_vault(info, places_of(client, [info]).get(info.handle), as_json=as_json)


@app.command()
@reporting
def rotate(  # noqa: PLR0913, PLR0917  (the options of a command)
    vault: VaultArgument,
    pin_file: PinFileOption = None,
    out: RecoveryKeyOutOption = None,
    show_recovery_key: ShowRecoveryKeyOption = False,
    drop_damaged_keys: DropDamagedOption = False,
    recovery_key_file: Annotated[
        Path | None,
        typer.Option(
            "--recovery-key-file",
            metavar="FILE",
            help="Take the vault away from its old cohort by its recovery key (64 hex digits), without a claim.",
        ),
    ] = None,
    leave_delisted: Annotated[
        bool,
        typer.Option(
            "--leave-delisted",
            help="Take the vault away from a cohort that the list does not name any more by one last claim: who "
            "holds that cohort's key may learn what it takes to guess the PIN.",
        ),
    ] = False,
    cohort_key_file: CohortKeyFileOption = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Give a vault a new recovery key.

    The PIN stays. Application keys are kept. So is the attempt counter: rotating gives no attempts back by itself.

    Where a list of cohorts is trusted and a newer one came out since the vault was made, the vault is made anew: for a cohort of the
    newest list, drawn at random, under a new attempt counter. The old vault is deleted when the new one was opened; what
    was interrupted is finished by running this again.
    """
    sink = RecoveryKeySink(out, show_recovery_key)
    sink.check()
    recovery_key = read_recovery_key(recovery_key_file) if recovery_key_file else None
    with connect_vaults(socket, cohort_key_file) as client, recovery_key or nullcontext():
        info = client.find(vault)
        with obtain_pin(pin_word(info), pin_file) as pin:
            if isinstance(client, FleetVaultClient):
                info, key = client.rotate(
                    info.handle,
                    pin,
                    drop_damaged=drop_damaged_keys,
                    recovery_key=recovery_key,
                    last_claim=leave_delisted,
                )
            else:
                _refuse_without_list(recovery_key_file, leave_delisted)
                info, key = client.rotate(info.handle, pin, drop_damaged=drop_damaged_keys)
        with key:
            sink.write(key)
            place = places_of(client, [info]).get(info.handle)
            if as_json:
                print_json(summary_of(info, place) | sink.facts(key))
                return
            print_line(f"Vault {info.name} has a new recovery key (snapshot {info.snapshot_version}).")
            if place is not None:
                print_line(f"It is for cohort {place.cohort}, {place.words}.")
            sink.print(key)


def _refuse_without_list(recovery_key_file: Path | None, leave_delisted: bool) -> None:
    if recovery_key_file or leave_delisted:
        raise typer.BadParameter(
            "only vaults of a trusted list of cohorts move; see `hwkm fleet trust`",
            param_hint="--recovery-key-file, --leave-delisted",
        )


@app.command(name="change-pin")
@reporting
def change_pin(
    vault: VaultArgument,
    pin_file: PinFileOption = None,
    new_pin_file: NewPinFileOption = None,
    kf_type: Annotated[
        KfType | None, typer.Option("--type", help="What will open the vault; by default what does now.")
    ] = None,
    drop_damaged_keys: DropDamagedOption = False,
    cohort_key_file: CohortKeyFileOption = None,
    socket: SocketOption = SOCKET_DEFAULT,
    as_json: JsonOption = False,
) -> None:
    """Change the PIN of a vault.

    It gets a new recovery key and a new attempt counter. Application keys are kept, so backups stay readable.
    """
    with connect_vaults(socket, cohort_key_file) as client:
        info = client.find(vault)
        with (
            obtain_pin(pin_word(info), pin_file) as pin,
            obtain_new_pin(
                f"new {pin_word(kf_type or info)}", new_pin_file, option="--new-pin-file"
            ) as new_pin,
        ):
            info, key = client.change_pin(
                info.handle, pin, new_pin, kf_type=kf_type, drop_damaged=drop_damaged_keys
            )
        key.wipe()
    if as_json:
        print_json(summary_of(info))
    else:
        print_line(f"Vault {info.name} opens with the new {pin_word(info)} only.")


@app.command()
@reporting
def delete(
    vault: VaultArgument,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    socket: SocketOption = SOCKET_DEFAULT,
) -> None:
    """Delete a vault.

    Its recovery key, and every backup under its keys, are lost for good.
    """
    with connect_vaults(socket) as client:
        info = client.find(vault)
        if not yes:
            typer.confirm(
                f"Delete vault {info.name}? What was encrypted under its keys is lost for good.",
                abort=True,
                err=True,
            )
        client.delete(info.handle)
    print_line(f"Deleted vault {info.name}.")


@app.command()
@reporting
def resume(vault: VaultArgument, socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Resume a suspended vault.

    A vault is suspended when hardware faults ate several attempts without a verdict. Resuming
    gives no attempts back.
    """
    with connect_vaults(socket) as client:
        print_vault(client.resume(client.find(vault).handle), as_json=as_json)
