"""The rules of opening, one scenario a test (blueprint section 4, rules 1 to 9)."""

from __future__ import annotations

import secrets
from collections.abc import Callable

import pytest

from hwkm.errors import (
    AnchorUncertain,
    CohortMismatch,
    FormatError,
    ParamsRefused,
    StorageMismatch,
    StorageUnavailable,
    TokenBusy,
    TokenUnavailable,
)
from hwkm.formats import vault as boxes
from hwkm.formats.vault_params import VaultParams
from hwkm.thm.opening import UNRESOLVED_CHARGES_MAX, ClaimRequest
from hwkm.thm.outcome import (
    Deferred,
    Delayed,
    Faulted,
    Locked,
    Opened,
    Refused,
    Suspended,
    Wrong,
)
from tests.vault_clients import Claimed, SealedVault, make_claim, reseal
from tests.vault_world import LIFETIME_MS, World, recover


@pytest.fixture
def world() -> World:
    return World()


@pytest.fixture
def vault(world: World) -> SealedVault:
    return world.seal()


def raising(error: Exception):  # type: ignore[no-untyped-def]
    def fault() -> None:
        raise error

    return fault


def failing_after(world: World, agreements: int) -> None:
    """Let the token fail once it has agreed so often."""

    def fault() -> None:
        if world.key.agreements > agreements:
            raise TokenUnavailable("gone")

    world.key.fault = fault


def guesses(vaults: list[SealedVault]) -> list[bytes]:
    """Right for all but the second."""
    return [vault.kf_hash if vault is not vaults[1] else secrets.token_bytes(32) for vault in vaults]


class TestRightAndWrong:
    def test_right_guess_returns_the_recovery_key(self, world: World, vault: SealedVault) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        assert recover(vault, claimed, world.present(claimed)) == vault.recovery_key

    def test_right_guess_leaves_all_attempts(self, world: World, vault: SealedVault) -> None:
        outcome = world.guess_right(vault)
        assert isinstance(outcome, Opened)
        assert outcome.attempts_remaining == 10

    def test_wrong_guess_costs_one_attempt(self, world: World, vault: SealedVault) -> None:
        assert world.guess_wrong(vault) == Wrong(9, 0)
        assert world.attempts_remaining(vault) == 9

    def test_success_clears_what_was_charged_to_the_same_blob(self, world: World, vault: SealedVault) -> None:
        for _ in range(9):
            world.guess_wrong(vault)
        assert isinstance(world.guess_right(vault), Opened)
        assert world.attempts_remaining(vault) == 10

    def test_limit_is_final_even_for_the_right_guess(self, world: World, vault: SealedVault) -> None:
        for remaining in range(9, -1, -1):
            assert world.guess_wrong(vault) == Wrong(remaining, 0)
        assert world.guess_right(vault) == Locked()
        world.settle()
        world.restart()
        assert world.guess_right(vault) == Locked()

    def test_the_last_attempt_may_be_the_right_one(self, world: World, vault: SealedVault) -> None:
        for _ in range(9):
            world.guess_wrong(vault)
        assert isinstance(world.guess_right(vault), Opened)

    def test_a_limit_of_one_gives_one_attempt(self, world: World) -> None:
        vault = world.seal(max_attempts=1)
        assert world.guess_wrong(vault) == Wrong(0, 0)
        assert world.guess_right(vault) == Locked()

    def test_a_damaged_vault_looks_like_a_wrong_guess(self, world: World, vault: SealedVault) -> None:
        damaged = SealedVault(vault.params, vault.blob[:-1] + b"\0", vault.kf_hash, vault.recovery_key)
        assert world.guess_right(damaged) == Wrong(9, 0)


class TestChargeFirst:
    def test_the_vault_is_not_tried_before_the_charge_is_durable(
        self, world: World, vault: SealedVault
    ) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        agreements_at_anchor: list[int] = []
        world.anchor.before = lambda: agreements_at_anchor.append(world.key.agreements)
        world.present(claimed)
        assert agreements_at_anchor == [1]  # the claim was opened, the vault was not
        assert world.key.agreements == 2

    @pytest.mark.parametrize("guess", ["right", "wrong"])
    def test_right_and_wrong_store_the_same_sizes_before_the_charge(self, world: World, guess: str) -> None:
        vault = world.seal()
        for _ in range(3):
            world.guess_wrong(vault)
        world.settle()
        sizes: list[list[int]] = []
        world.nodes.after = lambda: sizes.append(sorted(map(len, world.nodes.nodes.values())))
        world.guess(vault, vault.kf_hash if guess == "right" else secrets.token_bytes(32))
        before_the_charge = sizes[0]
        assert before_the_charge == [1 + 32 + 116 + 56 * 3, 1 + 32 + 116 + 56 * 4]

    def test_refused_anchor_write_charges_nothing_and_keeps_the_challenge(
        self, world: World, vault: SealedVault
    ) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        world.anchor.before = raising(TokenBusy("wear protection"))
        assert world.present(claimed) == Refused("token_busy", "wear protection")
        world.anchor.before = lambda: None
        assert isinstance(world.present(claimed), Opened)
        assert world.attempts_remaining(vault) == 10

    def test_full_disk_charges_nothing(self, world: World, vault: SealedVault) -> None:
        world.nodes.before = raising(StorageUnavailable("disk full"))
        assert world.guess_right(vault) == Refused("storage_unavailable", "disk full")
        world.nodes.before = lambda: None
        assert world.attempts_remaining(vault) == 10

    def test_anchor_write_of_unknown_outcome_releases_no_verdict(
        self, world: World, vault: SealedVault
    ) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        world.anchor.after = raising(AnchorUncertain("no answer"))
        with pytest.raises(AnchorUncertain):
            world.present(claimed)
        assert world.key.agreements == 1

    def test_crash_after_the_charge_costs_one_attempt_and_the_same_claim_is_answered(
        self, world: World, vault: SealedVault
    ) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        world.anchor.after = raising(AnchorUncertain("killed"))
        with pytest.raises(AnchorUncertain):
            world.present(claimed)
        world.anchor.after = lambda: None
        world.crash()
        assert world.attempts_remaining(vault) == 9
        writes = world.anchor.writes
        assert recover(vault, claimed, world.present(claimed)) == vault.recovery_key
        assert world.anchor.writes == writes + 1  # not a charge: the clear, durable before the answer
        assert world.attempts_remaining(vault) == 10

    def test_crash_before_the_anchor_costs_nothing(self, world: World, vault: SealedVault) -> None:
        claimed = world.claim(vault, secrets.token_bytes(32))
        world.nodes.after = raising(AnchorUncertain("killed between nodes and anchor"))
        with pytest.raises(AnchorUncertain):
            world.present(claimed)
        world.nodes.after = lambda: None
        world.crash()
        assert world.attempts_remaining(vault) == 10


class TestSameClaimSameAnswer:
    def test_claim_presented_again_is_answered_without_a_charge(
        self, world: World, vault: SealedVault
    ) -> None:
        claimed = world.claim(vault, secrets.token_bytes(32))
        assert world.present(claimed) == world.present(claimed) == Wrong(9, 0)

    def test_after_a_restart_too(self, world: World, vault: SealedVault) -> None:
        right, wrong = world.claim(vault, vault.kf_hash), world.claim(vault, secrets.token_bytes(32))
        world.present(wrong)
        world.present(right)
        world.settle()
        world.restart()
        assert recover(vault, right, world.present(right)) == vault.recovery_key

    def test_not_after_its_challenge_died(self, world: World, vault: SealedVault) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        world.present(claimed)
        world.pass_time(LIFETIME_MS)
        assert isinstance(world.present(claimed), Refused)

    def test_not_after_a_reboot(self, world: World, vault: SealedVault) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        world.present(claimed)
        world.reboot()
        outcome = world.present(claimed)
        assert isinstance(outcome, Refused)
        assert outcome.code == "challenge_refused"

    def test_the_claim_that_locked_the_vault_is_answered_again(self, world: World) -> None:
        vault = world.seal(max_attempts=1)
        claimed = world.claim(vault, secrets.token_bytes(32))
        assert world.present(claimed) == world.present(claimed) == Wrong(0, 0)

    def test_replaying_a_right_claim_does_not_clear_later_guesses(
        self, world: World, vault: SealedVault
    ) -> None:
        """An operator who kept the owner's claim must not buy himself fresh guesses with it."""
        owners = world.claim(vault, vault.kf_hash)
        world.present(owners)
        for remaining in range(9, -1, -1):
            assert world.guess_wrong(vault) == Wrong(remaining, 0)
            assert isinstance(world.present(owners), Opened)
        assert world.guess_wrong(vault) == Locked()

    def test_a_crash_between_verdict_and_clear_does_not_make_the_replay_clear_more(
        self, world: World, vault: SealedVault
    ) -> None:
        owners = world.claim(vault, vault.kf_hash)
        world.present(owners)
        world.crash()  # the clear is lost, the charge stays
        for _ in range(3):
            world.guess_wrong(vault)
        world.present(owners)
        assert world.attempts_remaining(vault) == 7


class TestChallenges:
    def test_unknown_challenge_is_refused(self, world: World, vault: SealedVault) -> None:
        claimed = world.claim(vault, vault.kf_hash, challenge=secrets.token_bytes(32))
        outcome = world.present(claimed)
        assert isinstance(outcome, Refused)
        assert outcome.code == "challenge_refused"

    def test_expired_challenge_is_refused(self, world: World, vault: SealedVault) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        world.pass_time(LIFETIME_MS)
        assert isinstance(world.present(claimed), Refused)
        assert world.attempts_remaining(vault) == 10

    def test_challenge_of_another_vault_is_refused(self, world: World, vault: SealedVault) -> None:
        other = world.claim(world.seal(), vault.kf_hash)
        claimed = world.claim(vault, vault.kf_hash, challenge=other.request.challenge)
        assert isinstance(world.present(claimed), Refused)

    def test_a_used_challenge_serves_no_second_claim(self, world: World, vault: SealedVault) -> None:
        first = world.claim(vault, secrets.token_bytes(32))
        world.present(first)
        second = world.claim(vault, vault.kf_hash, challenge=first.request.challenge)
        assert isinstance(world.present(second), Refused)
        assert world.attempts_remaining(vault) == 9

    def test_challenge_for_a_replaced_blob_is_refused(self, world: World, vault: SealedVault) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        new = reseal(vault)
        moved = ClaimRequest(new.params, new.blob, claimed.request.challenge, claimed.request.claim)
        assert isinstance(world.present(Claimed(moved, b"")), Refused)


class TestClaimsThatTestNoPin:
    @pytest.mark.parametrize("part", ["claim", "challenge"])
    def test_flipped_bits_charge_nothing(self, world: World, vault: SealedVault, part: str) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        fields = {name: getattr(claimed.request, name) for name in ("params", "vault", "challenge", "claim")}
        fields[part] = bytes([*fields[part][:-1], fields[part][-1] ^ 1])
        outcome = world.present(Claimed(ClaimRequest(**fields), b""))
        assert isinstance(outcome, Refused)
        assert world.attempts_remaining(vault) == 10
        assert isinstance(world.present(claimed), Opened)

    def test_claim_for_another_cohort_charges_nothing(self, world: World, vault: SealedVault) -> None:
        stranger = World()
        foreign = stranger.seal()
        with pytest.raises(CohortMismatch):
            world.opening.issue_challenge(foreign.params, foreign.blob, secrets.token_bytes(32), world.now)
        request = ClaimRequest(foreign.params, foreign.blob, bytes(32), bytes(boxes.CLAIM_BYTES))
        outcome = world.present(Claimed(request, b""))
        assert isinstance(outcome, Refused)
        assert outcome.code == "cohort_mismatch"

    @pytest.mark.parametrize("max_attempts", [0, 11, 2**32 - 1])
    def test_max_attempts_out_of_range_is_refused(self, world: World, max_attempts: int) -> None:
        vault = world.seal(max_attempts=max_attempts)
        with pytest.raises(ParamsRefused):
            world.opening.issue_challenge(vault.params, vault.blob, secrets.token_bytes(32), world.now)

    @pytest.mark.parametrize("length", [0, 93, 95, 1000])
    def test_params_of_another_length_are_refused(self, world: World, length: int) -> None:
        with pytest.raises(FormatError):
            world.opening.status(bytes(length), world.now)

    @pytest.mark.parametrize("length", [0, 156, 158])
    def test_vault_of_another_length_is_refused(self, world: World, vault: SealedVault, length: int) -> None:
        with pytest.raises(FormatError):
            world.opening.issue_challenge(vault.params, bytes(length), secrets.token_bytes(32), world.now)


class TestCountersBelongToHandleAndCounterId:
    def test_two_vaults_do_not_share_attempts(self, world: World) -> None:
        one, two = world.seal(), world.seal()
        world.guess_wrong(one)
        assert world.attempts_remaining(two) == 10

    def test_replacing_the_blob_keeps_the_attempts(self, world: World, vault: SealedVault) -> None:
        for _ in range(4):
            world.guess_wrong(vault)
        replaced = reseal(vault)
        assert world.attempts_remaining(replaced) == 6
        assert world.guess_wrong(replaced) == Wrong(5, 0)

    def test_opening_ones_own_blob_does_not_clear_the_owners_attempts(
        self, world: World, vault: SealedVault
    ) -> None:
        """The operator knows the params: he can make a blob for a PIN of his own and open it."""
        planted = reseal(vault, kf_hash=secrets.token_bytes(32))
        evaluations = 0
        for _ in range(30):
            if isinstance(world.guess_wrong(vault), Wrong):
                evaluations += 1
            world.guess_right(planted)
        assert evaluations <= 10
        assert world.guess_right(vault) == Locked()

    def test_another_limit_in_the_params_meets_the_same_counter(
        self, world: World, vault: SealedVault
    ) -> None:
        params = VaultParams.parse(vault.params)
        altered = world.seal(counter_id=params.counter_id, handle=params.handle, max_attempts=5)
        world.guess_wrong(altered)
        assert world.attempts_remaining(vault) == 9

    def test_a_new_counter_id_starts_afresh(self, world: World, vault: SealedVault) -> None:
        world.guess_wrong(vault)
        changed = world.seal(handle=VaultParams.parse(vault.params).handle)
        assert world.attempts_remaining(changed) == 10


class TestClaimsThatArriveMeanwhile:
    def arriving(self, *rounds: list[Claimed]) -> Callable[[], list[ClaimRequest]]:
        """Claims that arrive while others are being checked, and then none."""
        left = iter(rounds)
        return lambda: [claimed.request for claimed in next(left, [])]

    def test_they_share_the_commit_and_are_answered_in_their_order(self, world: World) -> None:
        vaults = [world.seal() for _ in range(4)]
        claims = [world.claim(vault, vault.kf_hash) for vault in vaults[:3]]
        claims.append(world.claim(vaults[3], secrets.token_bytes(32)))
        arriving = self.arriving(claims[1:2], claims[2:])
        before = world.anchor.writes
        outcomes = world.opening.open_claims([claims[0].request], world.now, arriving)
        assert world.anchor.writes == before + 1
        for vault, claimed, outcome in zip(vaults[:3], claims, outcomes, strict=False):
            assert recover(vault, claimed, outcome) == vault.recovery_key
        assert outcomes[3] == Wrong(9, 0)
        assert world.key.agreements == 2 * len(claims)

    def test_one_for_a_counter_of_the_batch_waits_for_the_next(
        self, world: World, vault: SealedVault
    ) -> None:
        first, second = (world.claim(vault, secrets.token_bytes(32)) for _ in range(2))
        outcomes = world.opening.open_claims([first.request], world.now, self.arriving([second]))
        assert outcomes == [Wrong(9, 0), Deferred()]
        assert world.attempts_remaining(vault) == 9

    def test_one_that_is_refused_takes_nothing_from_the_others(
        self, world: World, vault: SealedVault
    ) -> None:
        good, stale = world.claim(vault, vault.kf_hash), make_claim(world.seal(), bytes(32), bytes(32))
        outcomes = world.opening.open_claims([good.request], world.now, self.arriving([stale]))
        assert [type(outcome) for outcome in outcomes] == [Opened, Refused]

    def test_a_token_that_fails_at_one_of_them_charges_none(self, world: World) -> None:
        vaults = [world.seal() for _ in range(2)]
        first, second = (world.claim(vault, vault.kf_hash) for vault in vaults)
        failing_after(world, world.key.agreements + 1)
        outcomes = world.opening.open_claims([first.request], world.now, self.arriving([second]))
        world.key.fault = lambda: None
        assert outcomes == [Refused("token_unavailable", "gone")] * 2
        assert [world.attempts_remaining(vault) for vault in vaults] == [10, 10]


class TestHardwareFaults:
    def _fault_after_charge(self, world: World, vault: SealedVault) -> Claimed:
        claimed = world.claim(vault, vault.kf_hash)
        world.anchor.after = lambda: setattr(world.key, "fault", raising(TokenUnavailable("gone")))
        assert isinstance(world.present(claimed), Faulted)
        world.anchor.after = world.key.fault = lambda: None
        return claimed

    def test_fault_before_the_charge_charges_nothing(self, world: World, vault: SealedVault) -> None:
        claimed = world.claim(vault, vault.kf_hash)
        world.key.fault = raising(TokenUnavailable("gone"))
        assert world.present(claimed) == Refused("token_unavailable", "gone")
        world.key.fault = lambda: None
        assert world.attempts_remaining(vault) == 10

    def test_fault_after_the_charge_is_reported_and_the_claim_is_free(
        self, world: World, vault: SealedVault
    ) -> None:
        claimed = self._fault_after_charge(world, vault)
        assert world.attempts_remaining(vault) == 9
        assert recover(vault, claimed, world.present(claimed)) == vault.recovery_key
        assert world.attempts_remaining(vault) == 10

    @pytest.mark.parametrize("agreements", range(1, 6))
    def test_a_fault_in_the_middle_of_a_batch_gives_no_verdict_to_any_of_it(
        self, world: World, agreements: int
    ) -> None:
        """Three claims are six agreements; what was evaluated before the fault does not leave, nor stay."""
        vaults = [world.seal() for _ in range(3)]
        claims = [world.claim(vault, kf) for vault, kf in zip(vaults, guesses(vaults), strict=True)]
        done = world.key.agreements
        failing_after(world, done + agreements)
        outcomes = world.opening.open_claims([claimed.request for claimed in claims], world.now)
        world.key.fault = lambda: None
        charged = agreements >= 3
        assert {type(outcome) for outcome in outcomes} == {Faulted if charged else Refused}
        assert not world.ledger.has_deferred
        assert [world.attempts_remaining(vault) for vault in vaults] == [9 if charged else 10] * 3
        outcomes = world.opening.open_claims([claimed.request for claimed in claims], world.now)
        assert [type(outcome) for outcome in outcomes] == [Opened, Wrong, Opened]
        assert [world.attempts_remaining(vault) for vault in vaults] == [10, 9, 10]

    def test_three_verdictless_charges_suspend_the_vault(self, world: World, vault: SealedVault) -> None:
        for _ in range(UNRESOLVED_CHARGES_MAX):
            self._fault_after_charge(world, vault)
            world.crash()
        assert world.guess_right(vault) == Suspended()
        assert world.attempts_remaining(vault) == 10 - UNRESOLVED_CHARGES_MAX
        world.opening.resume(vault.params)
        world.crash()
        assert isinstance(world.guess_right(vault), Opened)

    def test_replaying_a_claim_that_had_its_verdict_does_not_lift_a_suspension(
        self, world: World, vault: SealedVault
    ) -> None:
        decided = world.claim(vault, secrets.token_bytes(32))
        world.present(decided)
        for _ in range(UNRESOLVED_CHARGES_MAX):
            self._fault_after_charge(world, vault)
        assert world.present(decided) == Wrong(6, 0)
        assert world.guess_right(vault) == Suspended()

    def test_not_called_locked_while_a_paid_claim_may_still_prove_right(self, world: World) -> None:
        vault = world.seal(max_attempts=1)
        claimed = self._fault_after_charge(world, vault)
        assert world.guess_wrong(vault) == Delayed(LIFETIME_MS)
        assert recover(vault, claimed, world.present(claimed)) == vault.recovery_key
        assert world.attempts_remaining(vault) == 1

    def test_locked_once_the_paid_claim_is_dead(self, world: World) -> None:
        vault = world.seal(max_attempts=1)
        self._fault_after_charge(world, vault)
        world.pass_time(LIFETIME_MS)
        assert world.guess_right(vault) == Locked()

    def test_a_verdict_ends_the_row(self, world: World, vault: SealedVault) -> None:
        for _ in range(UNRESOLVED_CHARGES_MAX - 1):
            self._fault_after_charge(world, vault)
        world.guess_wrong(vault)
        self._fault_after_charge(world, vault)
        assert isinstance(world.guess_right(vault), Opened)


class TestDelays:
    @pytest.fixture
    def world(self) -> World:
        return World(delays_ms=(0, 0, 1_000, 60_000))

    def test_pause_grows_with_failures_and_charges_nothing(self, world: World, vault: SealedVault) -> None:
        assert world.guess_wrong(vault) == Wrong(9, 0)
        assert world.guess_wrong(vault) == Wrong(8, 1_000)
        assert world.guess_right(vault) == Delayed(1_000)
        world.pass_time(999)
        assert world.guess_right(vault) == Delayed(1)
        world.pass_time(1)
        assert world.guess_wrong(vault) == Wrong(7, 60_000)
        assert world.attempts_remaining(vault) == 7

    def test_restart_does_not_shorten_it(self, world: World, vault: SealedVault) -> None:
        world.guess_wrong(vault)
        world.guess_wrong(vault)
        world.pass_time(400)
        world.crash()
        assert world.guess_right(vault) == Delayed(600)

    def test_reboot_does_not_shorten_it(self, world: World, vault: SealedVault) -> None:
        for _ in range(2):
            world.guess_wrong(vault)
        world.pass_time(900)
        world.reboot()
        assert world.guess_right(vault) == Delayed(1_000)
        world.pass_time(1_000)
        assert isinstance(world.guess_right(vault), Opened)

    def test_success_ends_it(self, world: World, vault: SealedVault) -> None:
        world.guess_wrong(vault)
        world.guess_right(vault)
        assert isinstance(world.guess_right(vault), Opened)

    def test_swapping_the_blob_does_not_end_it(self, world: World, vault: SealedVault) -> None:
        world.guess_wrong(vault)
        world.guess_wrong(vault)
        assert world.guess_right(reseal(vault)) == Delayed(1_000)


class TestClearFirst:
    def test_a_guess_charged_before_a_success_and_evaluated_after_it_is_not_cleared_by_a_replay(self) -> None:
        """Found by docs/model: SEEDED_CLEAR_AFTER_RELEASE."""
        world = World(max_attempts_limit=3)
        vault = world.seal(max_attempts=3)
        late = world.claim(vault, secrets.token_bytes(32))
        world.anchor.after = raising(AnchorUncertain("killed between charge and verdict"))
        with pytest.raises(AnchorUncertain):
            world.present(late)
        world.anchor.after = lambda: None
        world.crash()
        owners = world.claim(vault, vault.kf_hash)
        assert isinstance(world.present(owners), Opened)
        world.crash()
        outcomes = [world.present(late), world.present(owners)]
        outcomes += [world.guess_wrong(vault) for _ in range(5)]
        assert sum(isinstance(outcome, Wrong) for outcome in outcomes) <= 3

    def test_a_crash_after_a_success_with_the_last_attempt_does_not_lock(
        self, world: World, vault: SealedVault
    ) -> None:
        for _ in range(9):
            world.guess_wrong(vault)
        assert isinstance(world.guess_right(vault), Opened)
        world.crash()
        assert world.attempts_remaining(vault) == 10

    def test_a_clear_that_is_refused_gives_no_answer_and_the_claim_stays_paid(
        self, world: World, vault: SealedVault
    ) -> None:
        world.guess_wrong(vault)
        claimed = world.claim(vault, vault.kf_hash)
        world.anchor.after = lambda: setattr(world.anchor, "before", raising(TokenBusy("later")))
        assert isinstance(world.present(claimed), Refused)
        world.anchor.before = world.anchor.after = lambda: None
        assert isinstance(world.present(claimed), Opened)
        assert world.attempts_remaining(vault) == 10


class TestBatches:
    def test_many_vaults_share_one_anchor_write(self, world: World) -> None:
        vaults = [world.seal() for _ in range(20)]
        claims = [world.claim(vault, vault.kf_hash) for vault in vaults]
        outcomes = world.opening.open_claims([claimed.request for claimed in claims], world.now)
        assert all(isinstance(outcome, Opened) for outcome in outcomes)
        assert world.anchor.writes == 1

    def test_clears_ride_along_with_the_next_commit(self, world: World, vault: SealedVault) -> None:
        world.guess_right(vault)
        world.guess_right(world.seal())
        world.crash()
        assert world.attempts_remaining(vault) == 10
        assert world.anchor.writes == 2

    def test_one_claim_a_counter_and_batch(self, world: World, vault: SealedVault) -> None:
        claims = [world.claim(vault, secrets.token_bytes(32)) for _ in range(3)]
        outcomes = world.opening.open_claims([claimed.request for claimed in claims], world.now)
        assert outcomes == [Wrong(9, 0), Deferred(), Deferred()]

    def test_refused_commit_still_answers_a_paid_claim(self, world: World, vault: SealedVault) -> None:
        paid = world.claim(vault, vault.kf_hash)
        world.present(paid)
        fresh = world.claim(world.seal(), bytes(32))
        world.anchor.before = raising(TokenBusy("later"))
        outcomes = world.opening.open_claims([paid.request, fresh.request], world.now)
        assert isinstance(outcomes[0], Opened)
        assert outcomes[1] == Refused("token_busy", "later")


class TestStorageThatDoesNotMatch:
    def test_missing_nodes_refuse_everything(self, world: World, vault: SealedVault) -> None:
        world.guess_wrong(vault)
        world.nodes.nodes.clear()
        with pytest.raises(StorageMismatch):
            world.restart()

    def test_altered_leaf_is_refused(self, world: World) -> None:
        vaults = [world.seal() for _ in range(3)]
        for vault in vaults:
            world.guess_wrong(vault)
        root = world.anchor.state.root
        for digest in world.nodes.nodes.keys() - {root}:
            world.nodes.nodes[digest] = world.nodes.nodes[digest][:-1] + b"\xff"
        world.restart()
        with pytest.raises(StorageMismatch):
            world.guess_right(vaults[0])

    def test_an_older_snapshot_is_refused(self, world: World, vault: SealedVault) -> None:
        world.guess_wrong(vault)
        world.settle()
        snapshot = dict(world.nodes.nodes)
        world.guess_wrong(vault)
        world.nodes.nodes = snapshot
        with pytest.raises(StorageMismatch):
            world.restart()
