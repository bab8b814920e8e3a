"""A token that fails on every attempt (attack 9): it costs three attempts, then the vault says so and waits.

A charge without a verdict is an attempt that its owner paid for nothing. After three in a row hwkm
charges no more, whether the token failed or the core died, and whoever guesses.
"""

from __future__ import annotations

import time
from contextlib import suppress
from typing import Final

import pytest

from hwkm.thm.opening import UNRESOLVED_CHARGES_MAX
from hwkm.wire import core_messages as wire
from tests.core_process import CoreEnded, CoreProcess
from tests.harness import pkcs11_shim as ckr
from tests.harness import tpm_proxy as rc
from tests.harness.invariant import Witness
from tests.harness.plan import Act, Plan
from tests.harness.rig import Rig
from tests.harness.trial import END_DEADLINE_S, end, use_up, wrong
from tests.vault_clients import Claimed, SealedVault, reseal, seal

pytestmark = pytest.mark.attack

# The second key agreement of a claim is the one on the vault: the charge is durable, no verdict yet.
AGREEMENT: Final = {"softhsm": "pkcs11.C_DeriveKey", "swtpm": "tpm.ECDH_ZGen"}
BROKEN: Final = {
    "softhsm": [ckr.CKR_DEVICE_REMOVED, ckr.CKR_SESSION_HANDLE_INVALID, ckr.CKR_DEVICE_MEMORY],
    "swtpm": [rc.RC_FAILURE, rc.RC_LOCKOUT, rc.RC_RETRY],
}
FAULTS: Final = [
    pytest.param(Act.REFUSE, 0, id="refused-0"),
    pytest.param(Act.REFUSE, 1, id="refused-1"),
    pytest.param(Act.REFUSE, 2, id="refused-2"),
    pytest.param(Act.KILL_BEFORE, 0, id="killed-before"),
    pytest.param(Act.KILL_EXECUTED, 0, id="killed-after"),
]


def broken(rig: Rig, act: Act, code: int) -> Plan:
    """Every agreement on a vault fails; those on claims go well."""
    return Plan.always(act, AGREEMENT[rig.kind], code=BROKEN[rig.kind][code], after=1)


def attempt_under(rig: Rig, witness: Witness, vault: SealedVault, plan: Plan) -> Claimed:
    """One wrong claim, in a life of its own, on hardware that does as planned."""
    with rig.core() as core:
        claimed = core.claim(vault, wrong())
        rig.board.arm(plan)
        with suppress(CoreEnded):
            reply = witness.present(core, claimed)
            assert isinstance(reply, wire.VaultFaulted), reply
            core.process.wait(END_DEADLINE_S)
    rig.board.arm()
    return claimed


def suspend(rig: Rig, witness: Witness, vault: SealedVault, plan: Plan) -> list[Claimed]:
    """Three verdict-less charges in a row."""
    return [attempt_under(rig, witness, vault, plan) for _ in range(UNRESOLVED_CHARGES_MAX)]


def state_of(core: CoreProcess, vault: SealedVault) -> tuple[int, bool]:
    counter = core.call(wire.ReadCounter(params=vault.params))
    assert isinstance(counter, wire.CounterRead)
    return counter.attempts_remaining, counter.suspended


@pytest.mark.parametrize(("act", "code"), FAULTS)
def test_faults_on_every_attempt_cost_three_attempts_then_the_vault_is_suspended_until_resumed(
    real_rig: Rig, act: Act, code: int
) -> None:
    rig, plan = real_rig, broken(real_rig, act, code)
    vault = seal(rig.cohort_public_key)
    witness = Witness.of(vault)
    suspend(rig, witness, vault, plan)
    for _ in range(2):  # a restart changes nothing
        with rig.core() as core:
            rig.board.arm(plan)
            for kf_hash in (wrong(), vault.kf_hash):
                assert isinstance(witness.guess(core, vault, kf_hash), wire.VaultIsSuspended)
            assert state_of(core, vault) == (7, True)
            end(core)
        rig.board.arm()
    with rig.core() as core:
        assert isinstance(witness.guess(core, vault, vault.kf_hash), wire.VaultIsSuspended)
        assert core.call(wire.ResumeVault(params=vault.params)) == wire.Done()
        assert state_of(core, vault) == (7, False)
        assert isinstance(witness.guess(core, vault, vault.kf_hash), wire.VaultOpened)
        assert state_of(core, vault) == (10, False)
        end(core)


def test_a_suspended_vault_that_is_resumed_again_and_again_still_has_its_limit(real_rig: Rig) -> None:
    """Resuming gives no attempt back: an operator who breaks the token and resumes gains nothing."""
    rig, plan = real_rig, broken(real_rig, Act.REFUSE, 0)
    vault = seal(rig.cohort_public_key, max_attempts=5)
    witness = Witness.of(vault)
    suspend(rig, witness, vault, plan)
    with rig.core() as core:
        core.call(wire.ResumeVault(params=vault.params))
        end(core)
    for left in (1, 0):
        attempt_under(rig, witness, vault, plan)
        with rig.core() as core:
            core.call(wire.ResumeVault(params=vault.params))
            assert state_of(core, vault) == (left, False)
            end(core)
    with rig.core() as core:
        use_up(core, vault, witness)
        end(core)
    assert not witness.evaluated


def test_claims_that_a_fault_left_without_a_verdict_get_it_later_without_another_charge(
    real_rig: Rig,
) -> None:
    """The owner loses nothing: also not while the vault is suspended, because it is paid for."""
    rig = real_rig
    vault = seal(rig.cohort_public_key, max_attempts=4)
    witness = Witness.of(vault)
    claims = suspend(rig, witness, vault, broken(rig, Act.REFUSE, 0))
    with rig.core() as core:
        assert state_of(core, vault) == (1, True)
        for claimed in claims:
            assert isinstance(witness.present(core, claimed), wire.VaultWrong)
        assert state_of(core, vault) == (1, False)
        use_up(core, vault, witness)
        end(core)
    assert len(witness.evaluated) == witness.limit


def test_one_suspended_vault_does_not_stop_another(real_rig: Rig) -> None:
    rig = real_rig
    vault, other = seal(rig.cohort_public_key), seal(rig.cohort_public_key)
    suspend(rig, Witness.of(vault), vault, broken(rig, Act.REFUSE, 0))
    with rig.core() as core:
        assert isinstance(core.guess(vault, vault.kf_hash), wire.VaultIsSuspended)
        assert isinstance(core.guess(other, other.kf_hash), wire.VaultOpened)
        end(core)


def test_replacing_the_blob_does_not_end_a_suspension(real_rig: Rig) -> None:
    rig = real_rig
    vault = seal(rig.cohort_public_key)
    suspend(rig, Witness.of(vault), vault, broken(rig, Act.REFUSE, 0))
    replaced = reseal(vault)
    with rig.core() as core:
        assert isinstance(core.guess(replaced, replaced.kf_hash), wire.VaultIsSuspended)
        assert state_of(core, replaced) == (7, True)
        end(core)


def test_a_token_that_fails_before_the_charge_costs_nothing_however_often(real_rig: Rig) -> None:
    rig = real_rig
    vault = seal(rig.cohort_public_key)
    witness = Witness.of(vault)
    for code in BROKEN[rig.kind]:
        for _ in range(UNRESOLVED_CHARGES_MAX + 1):
            with rig.core() as core:
                claimed = core.claim(vault, wrong())
                rig.board.arm(Plan.always(Act.REFUSE, AGREEMENT[rig.kind], code=code))
                reply = witness.present(core, claimed)
                assert isinstance(reply, wire.Failed), reply
                assert reply.code in {"token_unavailable", "token_busy", "token_full"}
            rig.board.arm()
    with rig.core() as core:
        assert state_of(core, vault) == (10, False)
        end(core)


@pytest.mark.parametrize("act", [Act.DROP, Act.DROP_ANSWER], ids=["command", "answer"])
def test_a_token_that_hangs_after_the_charge_costs_at_most_that_attempt(real_rig: Rig, act: Act) -> None:
    """The daemon kills a core that does not answer, as this test does."""
    rig = real_rig
    vault = seal(rig.cohort_public_key)
    witness = Witness.of(vault)
    with rig.core() as core:
        claimed = core.claim(vault, vault.kf_hash)
        rig.board.arm(Plan.nth(2, act, AGREEMENT[rig.kind]))
        core.send_claim(claimed)
        while not rig.board.struck:
            time.sleep(0.001)
        core.kill()
    rig.board.arm()
    with rig.core() as core:
        assert state_of(core, vault) == (9, False)
        assert isinstance(witness.present(core, claimed), wire.VaultOpened)
        assert state_of(core, vault) == (10, False)
        end(core)
