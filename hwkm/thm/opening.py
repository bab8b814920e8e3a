"""The rules by which a vault is opened (blueprint section 4, rules 1 to 9).

The order is written once, in :meth:`VaultOpening.open_claims`, and no caller can rearrange it:

1. **check** everything that costs nothing: form, cohort, limit, challenge, lock, delay, and that
   the claim itself opens;
2. **charge** all admitted claims in one durable commit;
3. **open**: only now evaluate the guesses;
4. **answer**, and defer what the verdict changes to the next commit; only a success that clears more
   than its own charge is made durable first.

Before step 2 has returned, a right and a wrong guess are treated the same, byte for byte.
"""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from typing import Final

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

UNRESOLVED_CHARGES_MAX: Final = 3
"""Charges in a row without a verdict after which a vault is no longer charged (rule 8)."""


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
    """A claim that passed every check. ``counter`` already includes its charge."""

    request: ClaimRequest
    max_attempts: int
    proof: boxes.OpenedClaim
    key: bytes
    counter: Counter
    entry: ClaimEntry
    is_new: bool


class VaultOpening:
    """Issues challenges and opens claims for one cohort key and one ledger. One thread."""

    def __init__(
        self, cohort_key: CohortKey, ledger: Ledger, challenges: Challenges, rules: AttemptRules
    ) -> None:
        self._cohort_key = cohort_key
        self._ledger = ledger
        self._challenges = challenges
        self._rules = rules

    # --- without a charge --------------------------------------------------------------------

    def issue_challenge(self, params: bytes, vault: bytes, challenge: bytes, now: Instant) -> Instant:
        """Bind a fresh random challenge (32 bytes) to a sealed vault; return when it dies.

        Raises:
            FormatError, CohortMismatch, ParamsRefused, LimitExceeded: no challenge was issued.
        """
        self._checked_params(params)
        boxes.check_length("vault", vault, boxes.VAULT_BYTES)
        return self._challenges.issue(boxes.vault_digest(params, vault), challenge, now)

    def status(self, params: bytes, now: Instant) -> CounterStatus:
        """How the counter named in ``params`` stands.

        Raises:
            FormatError, CohortMismatch, ParamsRefused, StorageMismatch.
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

    def open_claims(self, requests: Sequence[ClaimRequest], now: Instant) -> list[Outcome]:
        """Decide a batch of claims with one commit for all of them; outcomes in their order.

        At most one claim per counter is decided in a batch; the others are Deferred.

        Raises:
            StorageMismatch: storage does not match the anchor; nothing was evaluated.
            TokenError: the anchor's state is unknown; no verdict leaves; the process must end and
                start again from the anchor.
        """
        outcomes: dict[int, Outcome] = {}
        clears: dict[bytes, Counter] = {}
        admitted: dict[int, _Admitted] = {}
        busy: set[bytes] = set()
        for position, request in enumerate(requests):
            verdict = self._admit(request, now, busy)
            if isinstance(verdict, _Admitted):
                admitted[position] = verdict
                busy.add(verdict.key)
            else:
                outcomes[position] = verdict
        refusal = self._charge(list(admitted.values()))
        for position, claim in admitted.items():
            refused = refusal is not None and claim.is_new
            outcomes[position] = refusal if refusal and refused else self._evaluate(claim, now, clears)
        refusal = self._clear_first(clears)
        if refusal is not None:
            outcomes |= {position: refusal for position, claim in admitted.items() if claim.key in clears}
        return [outcomes[position] for position in range(len(requests))]

    def _admit(self, request: ClaimRequest, now: Instant, busy: set[bytes]) -> _Admitted | Outcome:
        """Step 1. Nothing here depends on the knowledge factor."""
        try:
            params = self._checked_params(request.params)
            _check_lengths(request)
            key = counter_key(params)
            if key in busy:
                return Deferred()
            return self._admit_to_counter(request, params, key, now)
        except StorageMismatch:
            raise
        except HwkmError as exc:
            return Refused(exc.code, str(exc))

    def _admit_to_counter(
        self, request: ClaimRequest, params: VaultParams, key: bytes, now: Instant
    ) -> _Admitted | Outcome:
        vault_digest = boxes.vault_digest(request.params, request.vault)
        digest = boxes.claim_digest(vault_digest, request.challenge, request.claim)
        counter = (self._ledger.counter(key) or Counter(vault_digest)).bound_to(vault_digest)
        paid = _paid_entry(counter, digest, now)
        if paid is not None:
            return self._admitted(request, params, key, counter, paid, is_new=False)
        expires = self._challenges.check(vault_digest, request.challenge, now)
        obstacle = self._obstacle(counter, params, now)
        if obstacle is not None:
            return obstacle
        entry = ClaimEntry(digest, expires)
        return self._admitted(request, params, key, counter.charged(entry, now), entry, is_new=True)

    def _admitted(
        self,
        request: ClaimRequest,
        params: VaultParams,
        key: bytes,
        counter: Counter,
        entry: ClaimEntry,
        *,
        is_new: bool,
    ) -> _Admitted:
        try:
            proof = boxes.open_claim(self._cohort_key.agree, request.params, request.challenge, request.claim)
        except (DecryptionError, FormatError):
            raise ClaimRefused("the claim does not open under this cohort, vault and challenge") from None
        return _Admitted(request, params.max_attempts, proof, key, counter, entry, is_new)

    def _charge(self, claims: Sequence[_Admitted]) -> Refused | None:
        """Step 2. When this returns None, every new claim is paid for, durably."""
        new = [claim for claim in claims if claim.is_new]
        if not new:
            return None
        try:
            self._ledger.commit({claim.key: claim.counter for claim in new})
        except (TokenBusy, TokenFull, StorageUnavailable) as exc:
            return Refused(exc.code, str(exc))
        for claim in new:
            self._challenges.use(claim.request.challenge)
        return None

    def _evaluate(self, claim: _Admitted, now: Instant, clears: dict[bytes, Counter]) -> Outcome:
        """Steps 3 and 4. The claim is paid for. What must be durable first goes into ``clears``."""
        try:
            inner = boxes.open_vault(
                self._cohort_key.agree, claim.proof.thm_kf_hash, claim.request.params, claim.request.vault
            )
        except DecryptionError:
            return self._settle_wrong(claim, now)
        except TokenError:
            return Faulted(_remaining(claim, claim.counter))
        return self._settle_right(claim, inner, clears)

    def _settle_wrong(self, claim: _Admitted, now: Instant) -> Wrong:
        counter = claim.counter
        if claim.entry in counter.charges:
            counter = counter.failed(claim.entry)
        if counter != claim.counter:
            self._ledger.defer(claim.key, counter)
        return Wrong(_remaining(claim, counter), self._retry_after_ms(counter, now))

    def _settle_right(self, claim: _Admitted, inner: bytes, clears: dict[bytes, Counter]) -> Opened:
        counter = claim.counter
        if claim.entry in counter.charges:
            # Only the first proof clears; a claim that opened the vault before clears nothing.
            counter = counter.succeeded(claim.entry)
            if self._may_wait(claim, counter):
                self._ledger.defer(claim.key, counter)
            else:
                clears[claim.key] = counter
        response = boxes.seal_response(claim.proof.claimant_key, claim.request.params, inner)
        return Opened(response, _remaining(claim, counter))

    @staticmethod
    def _may_wait(claim: _Admitted, cleared: Counter) -> bool:
        """Whether losing this clear in a crash costs no more than the claim's own charge.

        If earlier charges came back with it, claims among them that had no verdict yet could be
        evaluated after this success and then be cleared by its replay (``docs/model``).
        """
        attempts = claim.counter.attempts
        only_its_own = claim.is_new and attempts - cleared.attempts == 1
        return only_its_own and attempts < claim.max_attempts

    def _clear_first(self, clears: Mapping[bytes, Counter]) -> Refused | None:
        """When this returns None, the clears are durable; otherwise their claims stay charged."""
        if not clears:
            return None
        try:
            self._ledger.commit(clears)
        except (TokenBusy, TokenFull, StorageUnavailable) as exc:
            return Refused(exc.code, f"{exc}; present the same claim again")
        return None

    # --- checks ------------------------------------------------------------------------------

    def _checked_params(self, data: bytes) -> VaultParams:
        params = VaultParams.parse(data)
        if params.cohort_public_key != self._cohort_key.public_key():
            raise CohortMismatch("the vault was made for another cohort key")
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


def _remaining(claim: _Admitted, counter: Counter) -> int:
    return max(0, claim.max_attempts - counter.attempts)
