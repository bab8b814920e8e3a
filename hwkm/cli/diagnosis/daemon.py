"""What the daemon says of itself, and whether its cohort key is the trusted one."""

from __future__ import annotations

from pathlib import Path
from typing import Final

import hwkm
from hwkm.cli.connection import trusted_list
from hwkm.cli.diagnosis.finding import Finding, ok, problem, warning
from hwkm.client import CohortMismatch, HwkmError, KnownCohort, RecoveryAgent
from hwkm.client.cohort import CohortSource
from hwkm.client.trust import fingerprint
from hwkm.wire.api import CohortInfo, Status, TokenInfo

NV_BYTES_LOW: Final = 256
"""Less than what ``hwkmd init`` and a few objects of others need."""

CORE_RESTARTS_MANY: Final = 3
MEMORY_LOCKED: Final = "memory-locked"


def check_daemon(socket_path: Path) -> list[Finding]:
    """Ask the daemon how it is."""
    with RecoveryAgent(socket_path) as agent:
        try:
            status = agent.status()
        except HwkmError as exc:
            return [_no_status(exc)]
    findings = [_check_state(status), *_check_version(status), *_check_core(status)]
    if status.token:
        findings += _check_token(status.token)
    if status.cohort:
        source = trusted_list()
        if source is None:
            findings.append(check_cohort(status.cohort, KnownCohort(socket_path)))
        else:
            findings.append(check_listed(status.cohort, source))
    return findings


def _no_status(exc: HwkmError) -> Finding:
    return problem(
        "daemon",
        f"the daemon does not say how it is: {exc}",
        "without that nothing more can be found out from here",
        "look into its log: journalctl -u hwkmd",
    )


def _check_state(status: Status) -> Finding:
    if status.state == "ready":
        return ok("daemon", f"hwkmd {status.version} is ready, with {status.vaults} vaults")
    return problem(
        "daemon",
        f"hwkmd is {status.state}: {status.detail}",
        "until it is ready no vault can be opened",
        "if this does not pass by itself: journalctl -u hwkmd, and hwkmd check on the daemon's machine",
    )


def _check_version(status: Status) -> list[Finding]:
    if status.version == hwkm.__version__:
        return []
    return [
        warning(
            "version",
            f"hwkm is {hwkm.__version__}, hwkmd is {status.version}",
            "messages are strict: one may refuse what the other says",
            "install the same version of both, and restart the daemon",
        )
    ]


def _check_core(status: Status) -> list[Finding]:
    findings = []
    if status.core_restarts >= CORE_RESTARTS_MANY:
        findings.append(
            warning(
                "core",
                f"the trusted core was restarted {status.core_restarts} times",
                "it ends itself when the token fails or its state is uncertain",
                "look for the reason: journalctl -u hwkmd",
            )
        )
    if status.state == "ready" and MEMORY_LOCKED not in status.hardening:
        findings.append(
            warning(
                "memory",
                "the trusted core's memory is not locked",
                "what passes through it could be written to swap space",
                "set LimitMEMLOCK=infinity in the unit (or run hwkmd as root), and restart it",
            )
        )
    return findings


def _check_token(token: TokenInfo) -> list[Finding]:
    what = f"{token.kind} token {token.label or token.model}".strip()
    if token.nv_bytes_free is not None and token.nv_bytes_free < NV_BYTES_LOW:
        return [
            warning(
                "token memory",
                f"{what} has {token.nv_bytes_free} bytes of non-volatile memory left",
                "hwkm itself needs no more than it has, but init on a full token fails",
                "remove what nobody uses: tpm2_getcap handles-nv-index, or pkcs11-tool --list-objects",
            )
        ]
    return [ok("token", f"{what} answers")]


def check_listed(cohort: CohortInfo, source: CohortSource) -> Finding:
    """Look the offered cohort key up in the list that this user trusts."""
    offered = fingerprint(cohort.public_key)
    try:
        fleet = source.refresh()
    except HwkmError as exc:
        return problem(
            "cohort key",
            f"the trusted list does not verify: {exc}",
            "no vault is made or opened without it",
            "ask operator and auditor; docs/operations/trust.md says what the errors mean",
        )
    listed = fleet.cohort_of(cohort.public_key)
    if listed is None:
        return problem(
            "cohort key",
            f"{offered} is not in the trusted list of epoch {fleet.epoch}",
            "nothing is claimed from this daemon, and no vault made for it",
            "take vaults away: hwkm vault rotate; if nobody took it off the list, this is another's daemon",
        )
    return ok("cohort key", f"{listed.name} of the trusted list of epoch {fleet.epoch}: {offered}")


def check_cohort(cohort: CohortInfo, trust: KnownCohort) -> Finding:
    """Compare the offered cohort key with the one that this user trusts."""
    offered = fingerprint(cohort.public_key)
    try:
        if trust.trusted() is None:
            return ok("cohort key", f"none is trusted yet; the first use would trust {offered}")
        trust.verify(cohort.public_key)
    except CohortMismatch as exc:
        return problem(
            "cohort key",
            str(exc),
            "vaults made for the trusted key do not open here, and this may be another's daemon",
            "ask the operator; if the new key is announced: hwkm cohort trust",
        )
    except HwkmError as exc:
        return problem("cohort key", str(exc), "no vault is opened without it", f"mend {trust.file}")
    return ok("cohort key", f"the trusted one: {offered}")
