"""The rules by which a vault is opened (blueprint section 4, rules 1 to 9).

The order is written once, in :meth:`VaultOpening.open_claims`, and no caller can rearrange it:

1. **check** everything that costs nothing: form, cohort, whose vault it is, limit, challenge, lock,
   delay, and that the claim itself opens;
2. **charge** all admitted claims in one durable commit;
3. **open**: only now evaluate the guesses;
4. **answer**, and defer what the verdict changes to the next commit; only a success that clears more
   than its own charge is made durable first.

Before step 2 has returned, a right and a wrong guess are treated the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, field
from typing import Final

from hwkm.crypto import securebox
from hwkm.errors import (
    ChallengeRefused,
    ClaimRefused,
    CohortMismatch,
    DecryptionError,
    FormatError,
    HwkmError,
    ParamsRefused,
    StorageMismatch,
    StorageUnavailable,
    TokenBusy,
    TokenError,
    TokenFull,
)
from hwkm.formats import vault as boxes
from hwkm.formats.counter import MAX_ATTEMPTS_CEILING, ClaimEntry, Counter, Instant, counter_key
from hwkm.formats.vault_params import VaultParams
from hwkm.thm.challenges import Challenges
from hwkm.thm.ledger import Ledger
from hwkm.thm.outcome import (
    CounterStatus,
    Deferred,
    Delayed,
    Faulted,
    Locked,
    Opened,
    Outcome,
    Refused,
    Suspended,
    Wrong,
)
from hwkm.thm.ports import CohortKey

Arriving = Callable[[], "Sequence[ClaimRequest]"]

UNRESOLVED_CHARGES_MAX: Final = 3
"""Charges in a row without a verdict after which a vault is no longer charged (rule 8)."""


_NOT_APPLIED: Final = (TokenBusy, TokenFull, StorageUnavailable)


@dataclass(frozen=True, slots=True)
class AttemptRules:
    """What the deployment allows.

    ``delays_ms[n]`` is the pause after the n-th attempt that counts, the last one for all above.
    """

    max_attempts_limit: int
    delays_ms: tuple[int, ...] = (0,)

    def __post_init__(self) -> None:
        if not 1 <= self.max_attempts_limit <= MAX_ATTEMPTS_CEILING:
            raise ParamsRefused(f"the limit of attempts must be 1 to {MAX_ATTEMPTS_CEILING}")
        if not self.delays_ms or min(self.delays_ms) < 0:
            raise ParamsRefused("there must be a delay for every number of attempts, none negative")

    def delay_ms(self, attempts: int) -> int:
        """The pause, in milliseconds, that a counter with so many attempts has to keep."""
        return self.delays_ms[min(attempts, len(self.delays_ms) - 1)]


@dataclass(frozen=True, slots=True, repr=False)
class ClaimRequest:
    """A claim as presented: params (94 bytes), vault (157), challenge (32), claim (143)."""

    params: bytes
    vault: bytes
    challenge: bytes
    claim: bytes


@dataclass(frozen=True, slots=True, repr=False)
class _Admitted:
    """A claim that passed every check but opening it. ``counter`` already includes its charge."""

    request: ClaimRequest
    max_attempts: int
    key: bytes
    counter: Counter
    entry: ClaimEntry
    is_new: bool


@dataclass(slots=True)
class _Batch:
    """Claims being decided, by their position: admitted so far, or with their outcome."""

    busy: set[bytes] = field(default_factory=set)
    size: int = 0
    admitted: dict[int, _Admitted] = field(default_factory=dict)
    proofs: dict[int, boxes.OpenedClaim] = field(default_factory=dict)
    outcomes: dict[int, Outcome] = field(default_factory=dict)

    def decide(self, position: int, outcome: Outcome) -> None:
        """Give a claim its outcome."""
        self.outcomes[position] = outcome
        self.admitted.pop(position, None)


class VaultOpening:
    """Issues challenges and opens claims for one cohort key and one ledger. One thread."""

    def __init__(
        self, cohort_key: CohortKey, ledger: Ledger, challenges: Challenges, rules: AttemptRules
    ) -> None:
        self._cohort_key = cohort_key
        self._ledger = ledger
        self._membership = ledger.state.membership
        self._challenges = challenges
        self._rules = rules

    # --- without a charge --------------------------------------------------------------------

    def issue_challenge(self, params: bytes, vault: bytes, challenge: bytes, now: Instant) -> Instant:
        """Bind a fresh random challenge (32 bytes) to a sealed vault; return when it dies.

        Raises:
            FormatError, CohortMismatch, VaultElsewhere, ParamsRefused, LimitExceeded: no challenge was issued.
        """
        self._checked_params(params)
        boxes.check_length("vault", vault, boxes.VAULT_BYTES)
        return self._challenges.issue(boxes.vault_digest(params, vault), challenge, now)

    def status(self, params: bytes, now: Instant) -> CounterStatus:
        """How the counter named in ``params`` stands.

        Raises:
            FormatError, CohortMismatch, VaultElsewhere, ParamsRefused, StorageMismatch.
        """
        parsed = self._checked_params(params)
        counter = self._ledger.counter(counter_key(parsed)) or Counter(bytes(32))
        return CounterStatus(
            attempts_remaining=max(0, parsed.max_attempts - counter.attempts),
            retry_after_ms=self._retry_after_ms(counter, now),
            suspended=counter.unresolved >= UNRESOLVED_CHARGES_MAX,
        )

    def resume(self, params: bytes) -> None:
        """Let a suspended counter be charged again. Durable when this returns.

        Raises:
            As :meth:`status`, and as :meth:`Ledger.commit`.
        """
        key = counter_key(self._checked_params(params))
        counter = self._ledger.counter(key)
        if counter is not None:
            self._ledger.commit({key: counter.resumed()})

    # --- with a charge -----------------------------------------------------------------------

    def open_claims(
        self, requests: Sequence[ClaimRequest], now: Instant, arriving: Arriving = tuple
    ) -> list[Outcome]:
        """Decide a batch of claims with one commit for all of them; outcomes in their order.

        At most one claim per counter is decided in a batch; the others are Deferred. ``arriving`` is
        asked for more claims as long as it has some: what came while others were being checked
        shares their commit.

        Raises:
            StorageMismatch: storage does not match the anchor; nothing was evaluated.
            TokenError: the anchor's state is unknown; no verdict leaves; the process must end and
                start again from the anchor.
        """
        batch = _Batch()
        while requests:
            self._admit(batch, requests, now)
            self._open_claims(batch)
            requests = arriving()
        self._charge(batch)
        self._evaluate(batch, now)
        return [batch.outcomes[position] for position in range(batch.size)]

    def _admit(self, batch: _Batch, requests: Sequence[ClaimRequest], now: Instant) -> None:
        """Step 1, without the hardware. Nothing here depends on the knowledge factor."""
        for position, request in enumerate(requests, batch.size):
            try:
                verdict = self._admit_one(request, now, batch.busy)
            except StorageMismatch:
                raise
            except HwkmError as exc:
                verdict = Refused(exc.code, str(exc))
            if isinstance(verdict, _Admitted):
                batch.busy.add(verdict.key)
                batch.admitted[position] = verdict
            else:
                batch.decide(position, verdict)
        batch.size += len(requests)

    def _admit_one(self, request: ClaimRequest, now: Instant, busy: set[bytes]) -> _Admitted | Outcome:
        params = self._checked_params(request.params)
        _check_lengths(request)
        key = counter_key(params)
        if key in busy:
            return Deferred()
        vault_digest = boxes.vault_digest(request.params, request.vault)
        digest = boxes.claim_digest(vault_digest, request.challenge, request.claim)
        counter = (self._ledger.counter(key) or Counter(vault_digest)).bound_to(vault_digest)
        paid = _paid_entry(counter, digest, now)
        if paid is not None:
            return _Admitted(request, params.max_attempts, key, counter, paid, is_new=False)
        expires = self._challenges.check(vault_digest, request.challenge, now)
        obstacle = self._obstacle(counter, params, now)
        if obstacle is not None:
            return obstacle
        entry = ClaimEntry(digest, expires)
        return _Admitted(request, params.max_attempts, key, counter.charged(entry, now), entry, is_new=True)

    def _open_claims(self, batch: _Batch) -> None:
        """Step 1, with the hardware: a claim that does not open tests no knowledge factor (rule 3)."""
        claims = {at: claim.request for at, claim in batch.admitted.items() if at not in batch.proofs}
        try:
            for position, agreed in self._agree({at: request.claim for at, request in claims.items()}):
                proof = _opened_claim(agreed, claims[position])
                if proof is not None:
                    batch.proofs[position] = proof
        except TokenError as exc:
            for position in list(batch.admitted):
                batch.decide(position, Refused(exc.code, str(exc)))
            return
        for position in claims.keys() - batch.proofs.keys():
            message = "the claim does not open under this cohort, vault and challenge"
            batch.decide(position, Refused(ClaimRefused.code, message))

    def _charge(self, batch: _Batch) -> None:
        """Step 2. Every new claim that is still admitted after this is paid for, durably."""
        new = {position: claim for position, claim in batch.admitted.items() if claim.is_new}
        if not new:
            return
        try:
            self._ledger.commit({claim.key: claim.counter for claim in new.values()})
        except _NOT_APPLIED as exc:
            for position in new:
                batch.decide(position, Refused(exc.code, str(exc)))
            return
        for claim in new.values():
            self._challenges.use(claim.request.challenge)

    def _evaluate(self, batch: _Batch, now: Instant) -> None:
        """Steps 3 and 4. Every claim that is still admitted is paid for."""
        paid = dict(batch.admitted)
        inners: dict[int, bytes | None] = {}
        try:
            for position, agreed in self._agree({at: claim.request.vault for at, claim in paid.items()}):
                hashed = batch.proofs[position].thm_kf_hash
                inners[position] = _opened_vault(agreed, hashed, paid[position].request)
        except TokenError:
            # What was evaluated before the fault is forgotten: no verdict leaves, none is recorded.
            for position, claim in paid.items():
                batch.decide(position, Faulted(_remaining(claim, claim.counter)))
            return
        clears: dict[int, tuple[bytes, Counter]] = {}
        for position, claim in paid.items():
            proof, inner = batch.proofs[position], inners.get(position)
            if inner is None:
                batch.decide(position, self._settle_wrong(claim, now))
                continue
            counter = self._settle_right(claim)
            if counter != claim.counter and not _may_wait(claim, counter):
                clears[position] = claim.key, counter
            response = boxes.seal_response(proof.claimant_key, claim.request.params, inner)
            batch.decide(position, Opened(response, _remaining(claim, counter)))
        self._clear_first(batch, clears)

    def _agree(self, sealed: Mapping[int, bytes]) -> Iterator[tuple[int, bytes]]:
        """Agree on the keys of boxes, all at once; a box without a proper point has none."""
        points = {}
        for position, box in sealed.items():
            with suppress(DecryptionError):
                points[position] = securebox.sender_point(box)
        if points:
            yield from zip(points, self._cohort_key.agree(list(points.values())), strict=True)

    def _settle_wrong(self, claim: _Admitted, now: Instant) -> Wrong:
        counter = claim.counter
        if claim.entry in counter.charges:
            counter = counter.failed(claim.entry)
        if counter != claim.counter:
            self._ledger.defer(claim.key, counter)
        return Wrong(_remaining(claim, counter), self._retry_after_ms(counter, now))

    def _settle_right(self, claim: _Admitted) -> Counter:
        """Only the first proof clears; a claim that opened the vault before clears nothing."""
        if claim.entry not in claim.counter.charges:
            return claim.counter
        counter = claim.counter.succeeded(claim.entry)
        if _may_wait(claim, counter):
            self._ledger.defer(claim.key, counter)
        return counter

    def _clear_first(self, batch: _Batch, clears: Mapping[int, tuple[bytes, Counter]]) -> None:
        """Make clears durable before their answers leave; where that fails the claims stay charged."""
        if not clears:
            return
        try:
            self._ledger.commit(dict(clears.values()))
        except _NOT_APPLIED as exc:
            for position in clears:
                batch.decide(position, Refused(exc.code, f"{exc}; present the same claim again"))

    # --- checks ------------------------------------------------------------------------------

    def _checked_params(self, data: bytes) -> VaultParams:
        params = VaultParams.parse(data)
        if params.cohort_public_key != self._cohort_key.public_key():
            raise CohortMismatch("the vault was made for another cohort key")
        self._membership.verify_owns(params.handle)
        limit = self._rules.max_attempts_limit
        if not 1 <= params.max_attempts <= limit:
            raise ParamsRefused(f"max attempts is {params.max_attempts}; allowed here: 1 to {limit}")
        return params

    def _obstacle(self, counter: Counter, params: VaultParams, now: Instant) -> Outcome | None:
        """Why a well-formed new claim may not be charged, if so."""
        if counter.attempts >= params.max_attempts:
            undecided_ms = counter.undecided_ms(now)
            return Delayed(undecided_ms) if undecided_ms else Locked()
        if counter.unresolved >= UNRESOLVED_CHARGES_MAX:
            return Suspended()
        retry_after_ms = self._retry_after_ms(counter, now)
        return Delayed(retry_after_ms) if retry_after_ms else None

    def _retry_after_ms(self, counter: Counter, now: Instant) -> int:
        if not counter.attempts:
            return 0
        return max(0, self._rules.delay_ms(counter.attempts) - now.ms_since(counter.charged_at))


def _check_lengths(request: ClaimRequest) -> None:
    """Fixed lengths, so that params and challenge cannot be cut differently and answers are equal."""
    boxes.check_length("vault", request.vault, boxes.VAULT_BYTES)
    boxes.check_length("claim", request.claim, boxes.CLAIM_BYTES)
    if len(request.challenge) != boxes.CHALLENGE_BYTES:
        raise ChallengeRefused(f"a challenge is {boxes.CHALLENGE_BYTES} bytes")


def _paid_entry(counter: Counter, digest: bytes, now: Instant) -> ClaimEntry | None:
    """The entry of this very claim if it was charged before and its challenge still lives (rule 6)."""
    known = counter.charges if counter.opened is None else (*counter.charges, counter.opened)
    for entry in known:
        if entry.digest == digest and now.is_before(entry.expires):
            return entry
    return None


def _opened_claim(agreed: bytes, request: ClaimRequest) -> boxes.OpenedClaim | None:
    try:
        return boxes.open_claim(agreed, request.params, request.challenge, request.claim)
    except (DecryptionError, FormatError):
        return None


def _opened_vault(agreed: bytes, thm_kf_hash: bytes, request: ClaimRequest) -> bytes | None:
    """The evaluation of a guess; a vault that is damaged is a wrong guess."""
    try:
        return boxes.open_vault(agreed, thm_kf_hash, request.params, request.vault)
    except DecryptionError:
        return None


def _may_wait(claim: _Admitted, cleared: Counter) -> bool:
    """Whether losing this clear in a crash costs no more than the claim's own charge.

    If earlier charges came back with it, claims among them that had no verdict yet could be
    evaluated after this success and then be cleared by its replay (``docs/model``).
    """
    attempts = claim.counter.attempts
    only_its_own = claim.is_new and attempts - cleared.attempts == 1
    return only_its_own and attempts < claim.max_attempts


def _remaining(claim: _Admitted, counter: Counter) -> int:
    return max(0, claim.max_attempts - counter.attempts)
