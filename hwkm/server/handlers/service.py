"""Operations on the daemon itself: status, cohort, checkpoint of the audit log."""

from __future__ import annotations

import hwkm
from hwkm.server.handlers.call import Call, Desk
from hwkm.wire.api import AuditCheckpoint, CohortInfo, Nothing, Status, TokenInfo
from hwkm.wire.core_messages import Ready, TokenFacts


async def status(desk: Desk, _call: Call[Nothing]) -> Status:
    """How the daemon is. It answers in whatever state the daemon is."""
    ready, supervisor = desk.supervisor.ready, desk.supervisor
    statistics = await desk.core.statistics()
    halted = statistics is not None and statistics.halted
    problems = (
        supervisor.detail,
        "the attempt state does not match the token: no vault is opened" if halted else "",
        desk.audit.failure,
        desk.checkpoints.failure,
    )
    return Status(
        version=hwkm.__version__,
        state="halted" if halted else supervisor.state,
        detail="; ".join(filter(None, problems)),
        cohort=None if ready is None else _cohort(desk, ready),
        audit_public_key=b"" if ready is None else ready.audit_public_key,
        epoch=statistics.epoch if statistics else ready.epoch if ready else 0,
        token=None if ready is None else _token(ready.token),
        core_restarts=supervisor.restarts,
        core_pid=supervisor.core_pid or 0,
        hardening=() if ready is None else ready.hardening,
        vaults=desk.records.vaults,
        keys=desk.book.keys,
    )


async def cohort(desk: Desk, _call: Call[Nothing]) -> CohortInfo:
    """The key that vaults are made for."""
    return _cohort(desk, desk.core.ready)


async def audit_checkpoint(desk: Desk, _call: Call[Nothing]) -> AuditCheckpoint:
    """A signed state of the audit log; the record of this very request comes after it."""
    note, key = await desk.checkpoints.newest()
    return AuditCheckpoint(checkpoint=note.encode().decode(), log_key=str(key))


def _cohort(desk: Desk, ready: Ready) -> CohortInfo:
    return CohortInfo(
        public_key=ready.cohort_public_key,
        max_attempts_limit=desk.max_attempts_limit,
        member=ready.member,
        members=ready.members,
    )


def _token(facts: TokenFacts) -> TokenInfo:
    return TokenInfo(
        kind=facts.kind,
        manufacturer=facts.manufacturer,
        model=facts.model,
        label=facts.label,
        serial=facts.serial,
        firmware=facts.firmware,
        nv_bytes_free=facts.nv_bytes_free,
        persistent_keys_free=facts.persistent_keys_free,
        domain_trusted=facts.domain_trusted,
    )
