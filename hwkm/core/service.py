"""Turns messages into calls of the trusted rules, and outcomes into messages."""

from __future__ import annotations

import os
from collections import Counter as Tally
from collections.abc import Callable, Sequence
from typing import assert_never

from hwkm.core.checkpoints import CheckpointSigner
from hwkm.core.clock import BootClock
from hwkm.core.counted import CountedAnchor, CountedCohortKey, CountedNodes
from hwkm.errors import (
    CohortMismatch,
    FormatError,
    LimitExceeded,
    LogError,
    ParamsRefused,
    StorageMismatch,
    StorageUnavailable,
    TokenBusy,
    TokenFull,
    VaultElsewhere,
)
from hwkm.formats.vault import CHALLENGE_BYTES
from hwkm.thm import outcome
from hwkm.thm.challenges import Challenges
from hwkm.thm.ledger import Ledger
from hwkm.thm.opening import AttemptRules, ClaimRequest, VaultOpening
from hwkm.wire import core_messages as wire
from hwkm.wire.key_messages import KeyStatistics

NOT_APPLIED = (TokenBusy, TokenFull, StorageUnavailable)
"""Errors after which the state is as before and the work may be tried again."""


_REFUSALS = (FormatError, CohortMismatch, VaultElsewhere, ParamsRefused, LimitExceeded, LogError)
_DECIDED = (outcome.Opened, outcome.Wrong, outcome.Faulted)


class Service:
    """The core's operations on one token. One thread."""

    def __init__(
        self,
        cohort_key: CountedCohortKey,
        anchor: CountedAnchor,
        nodes: CountedNodes,
        ledger: Ledger,
        signer: CheckpointSigner,
        settings: wire.CoreSettings,
        key_statistics: Callable[[], KeyStatistics],
    ) -> None:
        self._cohort_key, self._anchor, self._nodes, self._ledger = cohort_key, anchor, nodes, ledger
        self._challenges = Challenges(
            count_max=settings.challenges_max, lifetime_ms=settings.challenge_lifetime_ms
        )
        rules = AttemptRules(settings.max_attempts_limit, settings.delays_ms)
        self._opening = VaultOpening(cohort_key, ledger, self._challenges, rules)
        self._signer = signer
        self._clock = BootClock()
        self._first_epoch = ledger.state.epoch
        self._batch_sizes: Tally[int] = Tally()
        self._mismatch: StorageMismatch | None = None
        self._key_statistics = key_statistics

    @property
    def has_deferred(self) -> bool:
        """Whether :meth:`settle` has something to make durable."""
        return self._ledger.has_deferred and self._mismatch is None

    def settle(self) -> None:
        """Make deferred changes durable; where that is not possible now, keep them.

        Raises:
            TokenError: the anchor's state is unknown; this process must end.
        """
        try:
            self._ledger.commit({})
        except NOT_APPLIED:
            return
        except StorageMismatch as exc:
            self._mismatch = exc

    def open_vaults(
        self, requests: Sequence[wire.OpenVault], arriving: Callable[[], Sequence[wire.OpenVault]]
    ) -> list[wire.CoreReply | None]:
        """Decide a batch, and what is ``arriving`` until it is charged, in this order.

        None stands for a claim to be presented again in the next batch.

        Raises:
            TokenError: as :meth:`settle`.
        """
        taken = 0

        def claims(requests: Sequence[wire.OpenVault]) -> list[ClaimRequest]:
            nonlocal taken
            taken += len(requests)
            return [ClaimRequest(r.params, r.vault, r.challenge, r.claim) for r in requests]

        first = claims(requests)
        try:
            self._refuse_after_mismatch()
            outcomes = self._opening.open_claims(first, self._clock.now(), lambda: claims(arriving()))
        except StorageMismatch as exc:
            self._mismatch = exc
            return [wire.Failed(code=exc.code, message=str(exc))] * taken
        self._batch_sizes[sum(isinstance(o, _DECIDED) for o in outcomes)] += 1
        return [_reply_of(o) for o in outcomes]

    def answer(self, request: wire.VaultRequest) -> wire.CoreReply:
        """Answer anything but a claim.

        Raises:
            TokenError: as :meth:`settle`.
        """
        try:
            return self._answer(request)
        except StorageMismatch as exc:
            self._mismatch = exc
            return wire.Failed(code=exc.code, message=str(exc))
        except (*_REFUSALS, *NOT_APPLIED) as exc:
            return wire.Failed(code=exc.code, message=str(exc))

    def _answer(self, request: wire.VaultRequest) -> wire.CoreReply:
        match request:
            case wire.IssueChallenge():
                return self._issue_challenge(request)
            case wire.ReadCounter():
                return self._read_counter(request)
            case wire.ResumeVault():
                return self._resume(request)
            case wire.ReadStatistics():
                return self._statistics()
            case wire.SignCheckpoint(size=size, root=root, proof=proof):
                return wire.CheckpointSigned(signature=self._signer.sign(size, root, proof))
            case wire.Stop():
                self.settle()
                return wire.Done()
            case wire.OpenVault():
                raise AssertionError("claims go through open_vaults")
        assert_never(request)

    def _refuse_after_mismatch(self) -> None:
        """Once storage was found not to match, no later request may find a part that does."""
        if self._mismatch is not None:
            raise StorageMismatch(str(self._mismatch))

    def _issue_challenge(self, request: wire.IssueChallenge) -> wire.CoreReply:
        self._refuse_after_mismatch()
        now = self._clock.now()
        challenge = os.urandom(CHALLENGE_BYTES)
        expires = self._opening.issue_challenge(request.params, request.vault, challenge, now)
        status = self._opening.status(request.params, now)
        return wire.ChallengeIssued(
            challenge=challenge,
            expires_in_ms=expires.ms - now.ms,
            attempts_remaining=status.attempts_remaining,
            retry_after_ms=status.retry_after_ms,
            suspended=status.suspended,
        )

    def _read_counter(self, request: wire.ReadCounter) -> wire.CoreReply:
        self._refuse_after_mismatch()
        status = self._opening.status(request.params, self._clock.now())
        return wire.CounterRead(
            attempts_remaining=status.attempts_remaining,
            retry_after_ms=status.retry_after_ms,
            suspended=status.suspended,
        )

    def _resume(self, request: wire.ResumeVault) -> wire.CoreReply:
        self._refuse_after_mismatch()
        self._opening.resume(request.params)
        return wire.Done()

    def _statistics(self) -> wire.Statistics:
        return wire.Statistics(
            epoch=self._ledger.state.epoch,
            commits=self._ledger.state.epoch - self._first_epoch,
            anchor_writes=self._anchor.writes,
            key_agreements=self._cohort_key.agreements,
            nodes_stored=self._nodes.stored,
            challenges_open=len(self._challenges),
            batch_sizes=dict(self._batch_sizes),
            halted=self._mismatch is not None,
            keys=self._key_statistics(),
        )


def _reply_of(result: outcome.Outcome) -> wire.CoreReply | None:
    match result:
        case outcome.Opened(response, remaining):
            return wire.VaultOpened(response=response, attempts_remaining=remaining)
        case outcome.Wrong(remaining, retry_after_ms):
            return wire.VaultWrong(attempts_remaining=remaining, retry_after_ms=retry_after_ms)
        case outcome.Locked():
            return wire.VaultIsLocked()
        case outcome.Suspended():
            return wire.VaultIsSuspended()
        case outcome.Delayed(retry_after_ms):
            return wire.VaultDelayed(retry_after_ms=retry_after_ms)
        case outcome.Faulted(remaining):
            return wire.VaultFaulted(attempts_remaining=remaining)
        case outcome.Refused(code, message):
            return wire.Failed(code=code, message=message)
        case outcome.Deferred():
            return None
    assert_never(result)
