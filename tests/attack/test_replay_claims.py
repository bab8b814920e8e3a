"""Captured claims presented again (attack 6): refused, or the same sealed answer; never a charge, never a clear."""

from __future__ import annotations

import itertools
from collections.abc import Callable
from dataclasses import dataclass, field, replace

import pytest

from hwkm.errors import ChallengeRefused, HwkmError, VaultLocked, WrongKnowledgeFactor
from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess
from tests.harness.daemon_state import make_installed
from tests.harness.invariant import Witness, same_answer
from tests.harness.rig import Rig
from tests.harness.trial import LIMIT, end, use_up, wrong
from tests.vault_clients import Claimed, SealedVault, reseal, seal
from tests.vault_http import VaultHttp

pytestmark = pytest.mark.attack

REFUSED = ("challenge_refused", "claim_refused")


@dataclass
class Captured:
    """What a listener has: claims on one vault, each with the answer it got."""

    rig: Rig
    vault: SealedVault
    witness: Witness
    claims: list[tuple[Claimed, wire.CoreReply]] = field(default_factory=list)

    @classmethod
    def of(cls, rig: Rig) -> Captured:
        vault = seal(rig.cohort_public_key, max_attempts=LIMIT)
        return cls(rig, vault, Witness.of(vault))

    def guess(self, core: CoreProcess, *, right: bool = False) -> wire.CoreReply:
        claimed = core.claim(self.vault, self.vault.kf_hash if right else wrong())
        reply = self.witness.present(core, claimed)
        self.claims.append((claimed, reply))
        return reply

    def replay(self, core: CoreProcess, number: int) -> bool:
        """Present a claim again; return whether it was answered, and then as before."""
        claimed, first = self.claims[number]
        before = core.attempts_remaining(self.vault), commits(core)
        again = self.witness.present(core, claimed)
        assert (core.attempts_remaining(self.vault), commits(core)) == before, "a replay moved the counter"
        if isinstance(again, wire.Failed):
            assert again.code in REFUSED
            return False
        assert same_answer(self.vault, claimed, first, again), (first, again)
        return True


def commits(core: CoreProcess) -> int:
    statistics = core.call(wire.ReadStatistics())
    assert isinstance(statistics, wire.Statistics)
    return statistics.epoch


@pytest.fixture
def captured(rig: Rig) -> Captured:
    return Captured.of(rig)


@pytest.mark.parametrize("right", [False, True], ids=["wrong", "right"])
def test_claim_replayed_at_once_any_number_of_times_gets_the_same_answer_for_one_charge(
    captured: Captured, right: bool
) -> None:
    with captured.rig.core() as core:
        captured.guess(core, right=right)
        assert all(captured.replay(core, 0) for _ in range(50))
        use_up(core, captured.vault, captured.witness)


def test_right_claim_replayed_after_later_failures_clears_none_of_them(captured: Captured) -> None:
    with captured.rig.core() as core:
        captured.guess(core, right=True)
        for left in (2, 1):
            captured.guess(core)
            assert captured.replay(core, 0)
            assert core.attempts_remaining(captured.vault) == left
        use_up(core, captured.vault, captured.witness)


def test_right_claim_replayed_after_the_lock_unlocks_nothing(captured: Captured) -> None:
    with captured.rig.core() as core:
        captured.guess(core, right=True)
        use_up(core, captured.vault, captured.witness)
        captured.replay(core, 0)
        assert isinstance(captured.guess(core, right=True), wire.VaultIsLocked)
        end(core)
    with captured.rig.core() as core:
        captured.replay(core, 0)
        assert isinstance(captured.guess(core, right=True), wire.VaultIsLocked)


def test_wrong_claims_replayed_after_the_lock_tell_nothing_new(captured: Captured) -> None:
    with captured.rig.core() as core:
        for _ in range(LIMIT):
            captured.guess(core)
        assert all(captured.replay(core, number) for number in range(LIMIT))
        assert isinstance(captured.guess(core), wire.VaultIsLocked)


def test_claims_of_before_a_success_are_refused_after_it(captured: Captured) -> None:
    with captured.rig.core() as core:
        captured.guess(core)
        captured.guess(core, right=True)
        captured.guess(core, right=True)
        assert [captured.replay(core, number) for number in range(3)] == [False, False, True]
        use_up(core, captured.vault, captured.witness)


@pytest.mark.parametrize("right", [False, True], ids=["wrong", "right"])
def test_claim_replayed_when_its_challenge_is_dead_is_refused(captured: Captured, right: bool) -> None:
    with captured.rig.core(challenge_lifetime_ms=400) as core:
        captured.guess(core, right=right)
        left = core.attempts_remaining(captured.vault)
        while captured.replay(core, 0):
            pass
        assert core.attempts_remaining(captured.vault) == left
        end(core)
    with captured.rig.core() as core:
        assert not captured.replay(core, 0)
        assert core.attempts_remaining(captured.vault) == left


def killed(core: CoreProcess, _: Rig) -> None:
    core.kill()


def stopped(core: CoreProcess, _: Rig) -> None:
    end(core)


def power_cycled(core: CoreProcess, rig: Rig) -> None:
    core.kill()
    rig.power_cycle()


@pytest.mark.parametrize("ending", [killed, stopped, power_cycled])
def test_claims_replayed_after_a_restart_get_the_same_answer_without_a_charge_or_a_clear(
    captured: Captured, ending: Callable[[CoreProcess, Rig], None]
) -> None:
    """But one whose challenge was not used is refused: challenges live in memory only."""
    with captured.rig.core() as core:
        captured.guess(core)
        captured.guess(core)
        never_presented = core.claim(captured.vault, captured.vault.kf_hash)
        left = core.attempts_remaining(captured.vault)
        ending(core, captured.rig)
    with captured.rig.core() as core:
        assert core.attempts_remaining(captured.vault) == left
        assert [captured.replay(core, number) for number in (0, 1, 0)] == [True] * 3
        refused = captured.witness.present(core, never_presented)
        assert isinstance(refused, wire.Failed)
        assert refused.code == "challenge_refused"
        use_up(core, captured.vault, captured.witness)


@pytest.mark.parametrize("ending", [killed, stopped])
def test_right_claim_replayed_after_a_restart_clears_at_most_its_own_charge(
    captured: Captured, ending: Callable[[CoreProcess, Rig], None]
) -> None:
    """A core that was killed may have lost the clear of a first guess; the claim itself brings it back."""
    with captured.rig.core() as core:
        captured.guess(core, right=True)
        ending(core, captured.rig)
    with captured.rig.core() as core:
        lost = core.attempts_remaining(captured.vault) < LIMIT
        assert lost == (ending is killed)
        claimed, first = captured.claims[0]
        assert same_answer(captured.vault, claimed, first, captured.witness.present(core, claimed))
        assert core.attempts_remaining(captured.vault) == LIMIT
        captured.guess(core)
        assert captured.replay(core, 0)
        assert core.attempts_remaining(captured.vault) == LIMIT - 1
        use_up(core, captured.vault, captured.witness)


def test_every_order_of_replays_after_a_restart_moves_no_counter(captured: Captured) -> None:
    """Four captured claims, a right one among them, in all their orders."""
    with captured.rig.core() as core:
        for right in (False, True, False, False):
            captured.guess(core, right=right)
        end(core)
    with captured.rig.core() as core:
        for order in itertools.permutations(range(4)):
            answered = {number for number in order if captured.replay(core, number)}
            assert answered == {1, 2, 3}
        use_up(core, captured.vault, captured.witness)


# --- on another vault ------------------------------------------------------------------------


def test_claim_presented_on_another_vault_is_refused_and_charges_neither(captured: Captured) -> None:
    """With its own challenge or one of the other vault; with blob, params, or both of the other."""
    vault, other = captured.vault, seal(captured.rig.cohort_public_key, max_attempts=LIMIT)
    with captured.rig.core() as core:
        claims = [core.claim(vault, vault.kf_hash) for _ in range(2)]
        assert isinstance(core.present(claims[0]), wire.VaultOpened)  # one used, one not
        before = core.attempts_remaining(vault), core.attempts_remaining(other), commits(core)
        fresh = core.claim(other, other.kf_hash).request.challenge
        for claimed, changes in itertools.product(claims, other_vaults(vault, other)):
            for challenge in (claimed.request.challenge, fresh):
                request = replace(claimed.request, challenge=challenge, **changes)
                reply = core.present(replace(claimed, request=request))
                assert isinstance(reply, wire.Failed), reply
                assert reply.code in REFUSED
        after = core.attempts_remaining(vault), core.attempts_remaining(other), commits(core)
        assert after == before
        assert isinstance(core.present(claims[1]), wire.VaultOpened)


def other_vaults(vault: SealedVault, other: SealedVault) -> list[dict[str, bytes]]:
    return [
        {"params": other.params, "vault": other.blob},
        {"vault": other.blob},
        {"vault": reseal(vault).blob},
        {"params": other.params},
    ]


# --- through the daemon ----------------------------------------------------------------------


def test_daemon_refuses_claims_captured_before_a_lock_a_replacement_or_a_new_life() -> None:
    with make_installed("memory") as installed, installed.anew() as daemon:
        daemon.start()
        with daemon.http() as http:
            vaults = VaultHttp(http)
            locked, replaced, renewed = (new_vault(vaults) for _ in range(3))
            rights = {id(vault): vaults.claim(vault, vault.kf_hash) for vault in (locked, replaced, renewed)}
            for vault in (locked, replaced, renewed):
                vaults.present(vault, rights[id(vault)])
            for _ in range(LIMIT):
                assert refusal(vaults, locked, vaults.claim(locked, wrong())) is WrongKnowledgeFactor
            assert refusal(vaults, locked, rights[id(locked)]) is VaultLocked
            vaults.replace(reseal(replaced), 1)
            assert refusal(vaults, replaced, rights[id(replaced)]) is ChallengeRefused
            vaults.delete(renewed)
            vaults.create(reseal(renewed))
            assert refusal(vaults, renewed, rights[id(renewed)]) is ChallengeRefused
            assert vaults.show(replaced).attempts_remaining == LIMIT
            assert vaults.show(renewed).attempts_remaining == LIMIT


def new_vault(vaults: VaultHttp) -> SealedVault:
    vault = seal(vaults.cohort(), max_attempts=LIMIT)
    vaults.create(vault)
    return vault


def refusal(vaults: VaultHttp, vault: SealedVault, claimed: Claimed) -> type[HwkmError]:
    with pytest.raises(HwkmError) as refused:
        vaults.present(vault, claimed)
    return refused.type
