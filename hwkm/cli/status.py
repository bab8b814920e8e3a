"""``hwkm status``: how the daemon is."""

from __future__ import annotations

from hwkm.cli.connection import connect
from hwkm.cli.options import SOCKET_DEFAULT, JsonOption, SocketOption
from hwkm.cli.printing import print_facts, print_json, size
from hwkm.cli.reporting import reporting
from hwkm.client.trust import fingerprint
from hwkm.wire.api import Status


@reporting
def status(socket: SocketOption = SOCKET_DEFAULT, as_json: JsonOption = False) -> None:
    """Show how daemon, core and token are."""
    with connect(socket) as client:
        found = client.status()
    if as_json:
        print_json(found)
    else:
        print_facts(_facts(found))


def _facts(found: Status) -> dict[str, object]:
    facts: dict[str, object] = {
        "daemon": f"hwkmd {found.version}",
        "state": found.state + (f" ({found.detail})" if found.detail else ""),
        "vaults": found.vaults,
        "keys": found.keys,
        "epoch": found.epoch,
        "core restarts": found.core_restarts,
        "hardening": ", ".join(found.hardening) or "none",
    }
    if found.token:
        token = found.token
        facts["token"] = f"{token.kind}: {token.label} ({token.manufacturer} {token.model})".replace(
            " )", ")"
        )
        if token.domain_trusted is not None:
            facts["domain key"] = (
                "trusted (marked by the security officer)" if token.domain_trusted else "not trusted"
            )
        if token.nv_bytes_free is not None:
            facts["token memory"] = f"{size(token.nv_bytes_free)} free"
    if found.cohort:
        facts["cohort key"] = fingerprint(found.cohort.public_key)
        if found.cohort.members > 1:
            facts["member"] = (
                f"{found.cohort.member} (counted from 0) of {found.cohort.members} of its cohort"
            )
        facts["attempts, at most"] = found.cohort.max_attempts_limit
    return facts
