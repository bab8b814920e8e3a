"""Opening a vault: the challenge, and what follows from the core's verdict.

The order is: verdict of the core (charged and durable by then), destruction of the record if the
counter is dead, audit record durable, reply. If one of these fails the verdict is withheld. That
is safe and costs nothing: the same claim may be presented again while its challenge lives, and
is answered again without a charge.
"""

from __future__ import annotations

import asyncio

from hwkm.errors import (
    HardwareFault,
    HwkmError,
    LimitExceeded,
    RateLimited,
    VaultLocked,
    VaultSuspended,
    WrongKnowledgeFactor,
)
from hwkm.server.handlers.call import Call, Desk, now_ms, vault_to_open
from hwkm.server.handlers.vault_info import knowledge_factor_of, wrapped_keys
from hwkm.server.handlers.vaults import refuse_locked
from hwkm.server.limits import RETRY_AFTER_MS
from hwkm.server.record_thread import VaultSnapshot
from hwkm.store.vault_record import VaultRecord
from hwkm.wire import core_messages as core
from hwkm.wire.api import ChallengeIssued, Nothing, OpenVault, VaultOpened


async def challenge(desk: Desk, call: Call[Nothing]) -> ChallengeIssued:
    """Issue a challenge for a vault, with all that a claimant needs."""
    snapshot = await vault_to_open(desk, call)
    refuse_locked(snapshot)
    record = snapshot.record
    with desk.challenges.place(call.peer.uid):
        issued = await _issue(desk, record)
        desk.challenges.issued(call.peer.uid, issued.challenge, issued.expires_in_ms)
    factor = knowledge_factor_of(record)
    assert factor is not None, "an active vault has a knowledge factor"
    return ChallengeIssued(
        challenge=issued.challenge,
        expires_in_ms=issued.expires_in_ms,
        params=record.params,
        knowledge_factor=factor,
        snapshot_version=record.snapshot_version,
        attempts_remaining=issued.attempts_remaining,
        retry_after_ms=issued.retry_after_ms,
    )


async def _issue(desk: Desk, record: VaultRecord) -> core.ChallengeIssued:
    request = core.IssueChallenge(params=record.params, vault=record.vault)
    try:
        return await desk.core.ask(request, core.ChallengeIssued)
    except LimitExceeded as exc:
        # In the core it is a full table; to a caller it is a matter of waiting.
        raise RateLimited(str(exc), RETRY_AFTER_MS) from exc


async def open_vault(desk: Desk, call: Call[OpenVault]) -> VaultOpened:
    """Present a claim to the core and do what its verdict demands."""
    snapshot = await vault_to_open(desk, call)
    refuse_locked(snapshot)
    try:
        opened = await _decide(desk, snapshot, call.body)
    except HwkmError as exc:
        desk.metrics.claims.labels(exc.code).inc()
        raise
    desk.metrics.claims.labels("opened").inc()
    return opened


async def _decide(desk: Desk, snapshot: VaultSnapshot, claim: OpenVault) -> VaultOpened:
    record = snapshot.record
    verdict = await desk.core.send(
        core.OpenVault(params=record.params, vault=record.vault, challenge=claim.challenge, claim=claim.claim)
    )
    if isinstance(verdict, core.VaultOpened | core.VaultWrong | core.VaultFaulted):
        desk.challenges.used(claim.challenge)
    if isinstance(verdict, core.VaultOpened):
        return VaultOpened(
            response=verdict.response,
            attempts_remaining=verdict.attempts_remaining,
            application_keys=wrapped_keys(snapshot.keys),
        )
    if _is_dead(verdict):
        # Not left undone by a caller who hangs up: nothing can bring this vault back.
        await asyncio.shield(desk.records.destroy_locked(record.handle, record.params, now_ms=now_ms()))
    raise _refusal_of(verdict)


def _is_dead(verdict: core.CoreReply) -> bool:
    """Whether the counter has reached its limit."""
    match verdict:
        case core.VaultIsLocked():
            return True
        case core.VaultWrong(attempts_remaining=remaining):
            return remaining == 0
        case _:
            return False


def _refusal_of(verdict: core.CoreReply) -> HwkmError:
    """The error that stands for a verdict, which is any but success."""
    match verdict:
        case core.VaultWrong():
            return WrongKnowledgeFactor(verdict.attempts_remaining, verdict.retry_after_ms)
        case core.VaultIsLocked():
            return VaultLocked("the attempt limit was reached; the recovery key is gone for good")
        case core.VaultIsSuspended():
            return VaultSuspended(
                "three charges in a row ended without a verdict; see what is wrong with the token, then"
                " resume the vault"
            )
        case core.VaultDelayed():
            return RateLimited("too soon after a failed opening; nothing was charged", verdict.retry_after_ms)
        case core.VaultFaulted():
            return HardwareFault(
                "the hardware failed after the attempt was charged; present the same claim again, it"
                f" costs nothing; attempts remaining: {verdict.attempts_remaining}"
            )
        case _:
            return HwkmError("the trusted core answered out of turn")
