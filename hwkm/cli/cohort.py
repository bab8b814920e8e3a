"""``hwkm cohort``: which cohort key is offered, and which is trusted."""

from __future__ import annotations

from typing import Annotated

import typer

from hwkm.cli.connection import connect
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.printing import print_facts, print_json, print_line
from hwkm.cli.reporting import reporting
from hwkm.client import KnownCohort
from hwkm.client.trust import fingerprint

app = typer.Typer(no_args_is_help=True, help="The key that vaults are made for.")


@app.command()
@reporting
def show(socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Show the offered and the trusted key.

    The first key that was ever offered on a socket is trusted. Compare its fingerprint with what
    the operator published.
    """
    trust = KnownCohort(socket)
    with connect(socket) as client:
        offered = client.agent.cohort().public_key
    trusted = trust.known()
    if as_json:
        print_json(
            {
                "offered": offered.hex(),
                "fingerprint": fingerprint(offered),
                "trusted": trusted.hex() if trusted else None,
                "match": trusted == offered,
                "file": str(trust.file),
            }
        )
        return
    verdict = "the one offered" if trusted == offered else fingerprint(trusted) if trusted else "none yet"
    print_facts(
        {
            "offered": fingerprint(offered),
            "trusted": verdict,
            "remembered in": trust.file,
            "key": offered.hex(),
        }
    )


@app.command()
@reporting
def trust(
    expected: Annotated[
        str | None,
        typer.Option("--fingerprint", metavar="HEX", help="Trust the key only if this is its fingerprint."),
    ] = None,
    yes: Annotated[bool, typer.Option("--yes", help="Do not ask.")] = False,
    socket: SocketOption = SOCKET_DEFAULT,
) -> None:
    """Trust the cohort key offered now.

    It replaces the one trusted before. Do this only when the operator announced a new key: somebody who makes you trust a key of
    theirs can guess the PINs of the vaults that you make for it.

    Example: `hwkm cohort trust --fingerprint 5f3c…`
    """
    known = KnownCohort(socket)
    with connect(socket) as client:
        offered = client.agent.cohort().public_key
    if expected is not None and expected.lower() != fingerprint(offered):
        raise typer.BadParameter(f"the daemon offers {fingerprint(offered)}", param_hint="--fingerprint")
    if expected is None and not yes:
        typer.confirm(f"Trust cohort key {fingerprint(offered)}?", abort=True, err=True)
    known.replace(offered)
    print_line(f"Trusted: {fingerprint(offered)}")
