"""``hwkmd cohort``: make a cohort of several members. The daemon must not run meanwhile."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Annotated, Final

import typer
import uvloop

from hwkm.errors import ConfigError
from hwkm.formats.cohort_invitation import REQUEST_BYTES_MAX
from hwkm.server import cohort_setup
from hwkm.server.cohort_setup import MadeMember, digest
from hwkm.server.config import DEFAULT_CONFIG_PATH, load_config
from hwkm.server.config_option import ConfigPath
from hwkm.server.moved_file import digest_of, read_file
from hwkm.wire.core_messages import CohortRead

cohort_app: Final = typer.Typer(no_args_is_help=True, help="A cohort of several members, step by step.")

_OutputFile = Annotated[Path, typer.Option("--out", help="Written; it must not be there yet.")]
_DestroyExisting = Annotated[
    str | None,
    typer.Option(metavar="DIGEST", help="Destroy what is there; the digest is printed by a run without it."),
]
_OfficerPin = Annotated[
    Path | None,
    typer.Option(
        metavar="FILE", help="PIN of a PKCS#11 token's security officer: domain keys are trusted ones."
    ),
]


@cohort_app.command()
def create(
    members: Annotated[
        int, typer.Option(min=2, max=16, help="How many members it will have, this one among them.")
    ],
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    destroy_existing: _DestroyExisting = None,
    so_pin_file: _OfficerPin = None,
    named: Annotated[
        list[Path] | None,
        typer.Option("--request", help="TPM only: the request of member 1, then of 2, and so on."),
    ] = None,
    expect: Annotated[
        list[str] | None,
        typer.Option(
            metavar="FINGERPRINT", help="For each request its fingerprint, as its operator told it."
        ),
    ] = None,
) -> None:
    """Provision this token as the first member, in place of init. It serves no vault until it is sealed.

    A TPM's cohort key names its members when it is made: make their requests first (hwkmd cohort request).
    """
    files, prints = named or [], expect or []
    if len(files) != len(prints):
        raise ConfigError("give --expect once for each --request, in the same order")
    requests = [
        (read_file(file, REQUEST_BYTES_MAX), digest_of("--expect", one))
        for file, one in zip(files, prints, strict=True)
    ]
    made = uvloop.run(
        cohort_setup.create(load_config(config), members, destroy_existing, so_pin_file, requests)
    )
    _print_made(made)
    typer.echo(f"cohort {digest(made.read.public_key)}\nmember 0 of {members}")
    if requests:
        typer.echo(
            "next, here, for each request: hwkmd cohort invite FILE --expect FINGERPRINT --member K --out FILE"
        )
    else:
        typer.echo("next, on each other member: hwkmd cohort request --out FILE")


@cohort_app.command()
def request(
    out: _OutputFile,
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    destroy_existing: _DestroyExisting = None,
    so_pin_file: _OfficerPin = None,
) -> None:
    """Provision this token as a further member, in place of init, and ask the first for the cohort key.

    Hand over the file, and tell the first member's operator the fingerprint by another way.
    """
    asked = cohort_setup.request(load_config(config), out, destroy_existing, so_pin_file)
    made = uvloop.run(asked)
    _print_made(made)
    fingerprint = made.read.fingerprint.hex()
    typer.echo(f"fingerprint {fingerprint}")
    typer.echo("of TPMs, the first member is made from all requests: hwkmd cohort create --request FILE ...")
    typer.echo(
        f"next, on the first member: hwkmd cohort invite FILE --expect {fingerprint} --member K --out INVITATION"
    )


@cohort_app.command()
def invite(
    file: Annotated[Path, typer.Argument(help="The other member's request.")],
    expect: Annotated[
        str, typer.Option(metavar="FINGERPRINT", help="Its fingerprint, as its operator told it.")
    ],
    member: Annotated[int, typer.Option(min=1, max=15, help="Its number, which no other member has.")],
    out: _OutputFile,
    config: ConfigPath = DEFAULT_CONFIG_PATH,
) -> None:
    """On the first member: wrap the cohort key to the one that asked.

    Hand over the file, and tell its operator the sender's digest by another way.
    """
    fingerprint = digest_of("--expect", expect)
    read = uvloop.run(
        cohort_setup.invite(load_config(config), read_file(file, REQUEST_BYTES_MAX), fingerprint, member, out)
    )
    sender = digest(read.audit_public_key)
    typer.echo(f"member {member} of {read.members}\nsender {sender}")
    typer.echo(f"next, there: hwkmd cohort join INVITATION --expect {sender}")


@cohort_app.command()
def join(
    file: Annotated[Path, typer.Argument(help="The invitation.")],
    expect: Annotated[
        str,
        typer.Option(metavar="DIGEST", help="The sender's digest, as the first member's operator told it."),
    ],
    config: ConfigPath = DEFAULT_CONFIG_PATH,
) -> None:
    """Take the cohort key into this token. Run it again if it was interrupted."""
    sender = digest_of("--expect", expect)
    read = uvloop.run(cohort_setup.join(load_config(config), read_file(file, REQUEST_BYTES_MAX), sender))
    typer.echo(f"member {read.number} of {read.members}\ncohort {digest(read.public_key)}")


@cohort_app.command()
def seal(
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    incomplete: Annotated[
        bool, typer.Option("--incomplete", help="Although some member has no invitation: it never gets one.")
    ] = False,
) -> None:
    """On the first member: let the cohort key go to nobody any more, for good. Run it again if it was interrupted."""
    read = uvloop.run(cohort_setup.seal(load_config(config), incomplete=incomplete))
    typer.echo(f"sealed cohort {digest(read.public_key)}: members {_members(read)}")


@cohort_app.command()
def show(
    config: ConfigPath = DEFAULT_CONFIG_PATH,
    as_json: Annotated[bool, typer.Option("--json", help="Print JSON.")] = False,
) -> None:
    """Show how far this member is. While the daemon runs, hwkm status shows number and members."""
    facts = _facts(uvloop.run(cohort_setup.show(load_config(config))))
    if as_json:
        typer.echo(json.dumps(facts, indent=2))
        return
    for name, value in facts.items():
        shown = (
            ", ".join(f"{number} ({to})" for number, to in value.items())
            if isinstance(value, dict)
            else value
        )
        typer.echo(f"{name:<11} {shown}")


def _facts(read: CohortRead) -> dict[str, object]:
    """What is shown; what does not apply is left out."""
    facts: dict[str, object] = {"state": read.stage}
    if read.members > 1:
        facts |= {"member": read.number, "members": read.members}
    if read.public_key:
        facts["cohort"] = digest(read.public_key)
    if read.audit_public_key:
        facts["sender"] = digest(read.audit_public_key)
    if read.fingerprint:
        facts["fingerprint"] = read.fingerprint.hex()
    if read.invited:
        facts["invited"] = {str(number): to.hex() for number, to in sorted(read.invited.items())}
    return facts


def _members(read: CohortRead) -> str:
    return ", ".join(str(number) for number in sorted({0, *read.invited}))


def _print_made(made: MadeMember) -> None:
    if made.pin_file_made:
        typer.echo(f"made PIN file {made.pin_file_made}: whoever has it and the token has the keys")
    for line in made.read.objects:
        typer.echo(f"made {line}")
