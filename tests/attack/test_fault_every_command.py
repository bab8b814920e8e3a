"""Hardware and storage that fail once, at any command of a claim.

Enumerated as the crashes are: every hardware command and every change of storage of a claim, with every
answer that a token in trouble gives. *Refused*: the command was not carried out, as the answer says.
*Lied*: it was, and something between the core and the hardware puts the error in place of the answer.
"""

from __future__ import annotations

import errno
from collections.abc import Callable
from contextlib import suppress
from typing import Final

import pytest

from hwkm.wire import core_messages as wire
from tests.core_process import CoreEnded
from tests.harness import pkcs11_shim as ckr
from tests.harness import tpm_proxy as rc
from tests.harness.invariant import Witness, verdict_of
from tests.harness.plan import Act, Plan, Trace
from tests.harness.rig import Rig
from tests.harness.trial import END_DEADLINE_S, LIMIT, Beginning, Guess, claim_under, end, use_up, wrong
from tests.vault_clients import Claimed, seal

pytestmark = pytest.mark.attack

CODES: Final = {
    "tpm.": [rc.RC_RETRY, rc.RC_NV_RATE, rc.RC_NV_SPACE, rc.RC_LOCKOUT, rc.RC_FAILURE],
    "pkcs11.": [ckr.CKR_DEVICE_REMOVED, ckr.CKR_SESSION_HANDLE_INVALID, ckr.CKR_DEVICE_MEMORY],
    "storage.": [errno.EIO, errno.ENOSPC],
}


@pytest.fixture(scope="module")
def beginning(rig: Rig) -> Beginning:
    return Beginning.make(rig)


def recorded(beginning: Beginning, guess: Guess) -> Trace:
    return claim_under(beginning, beginning.again(), guess, None).trace


def claim_and_go_on(beginning: Beginning, witness: Witness, guess: Guess, plan: Plan) -> list[Claimed]:
    """A claim under a plan, the same claim again, and another one, as long as the core lives."""
    rig, vault = beginning.rig, beginning.vault
    with rig.core() as core:
        claims = [core.claim(vault, vault.kf_hash if guess is Guess.RIGHT else wrong())]
        rig.board.arm(plan)
        try:
            for _ in range(2):
                witness.present(core, claims[0])
            claims.append(core.claim(vault, wrong()))
            witness.present(core, claims[1])
            core.call(wire.Stop())
        except CoreEnded:
            pass
        core.process.wait(END_DEADLINE_S)
    return claims


def check_after_faults(beginning: Beginning, witness: Witness, claims: list[Claimed]) -> None:
    """Nothing was given and, the claims repeated, nothing was lost."""
    vault = beginning.vault
    with beginning.rig.core() as core:
        for claimed in claims:
            left = core.attempts_remaining(vault)
            again = witness.present(core, claimed)
            opened = isinstance(again, wire.VaultOpened)
            assert opened or core.attempts_remaining(vault) == left, "the same claim was charged twice"
            if verdict_of(again) is None:
                assert isinstance(again, wire.Failed), again
                assert again.code == "challenge_refused"
        use_up(core, vault, witness)
    assert len(witness.evaluated) == witness.limit, "an attempt was lost"


def points(beginning: Beginning, guess: Guess, *prefixes: str) -> list[tuple[int, str, int]]:
    """Every event of a claim with every code that its kind of instrument can answer."""
    found = []
    for number, kind in enumerate(recorded(beginning, guess).kinds, 1):
        prefix = kind[: kind.index(".") + 1]
        if prefix in prefixes:
            found += [(number, kind, code) for code in CODES[prefix]]
    return found


@pytest.mark.parametrize("act", [Act.REFUSE, Act.LIE], ids=["refused", "lied"])
@pytest.mark.parametrize("guess", Guess, ids=lambda guess: guess.value)
def test_error_at_every_hardware_command_and_storage_write_of_a_claim_costs_no_attempt_and_gives_none(
    beginning: Beginning, guess: Guess, act: Act, record_property: Callable[[str, object], None]
) -> None:
    rig = beginning.rig
    with_storage = act is Act.REFUSE or rig.kind == "memory"
    tried = points(beginning, guess, rig.hardware, *(["storage."] if with_storage else []))
    for number, kind, code in tried:
        witness = beginning.again()
        try:
            claims = claim_and_go_on(beginning, witness, guess, Plan.nth(number, act, code=code))
            beginning.rig.board.arm()
            check_after_faults(beginning, witness, claims)
        except BaseException as exc:
            exc.add_note(f"event {number}, {kind}, answered 0x{code:x}")
            raise
    record_property("faults", len(tried))


@pytest.mark.parametrize("kind", ["tpm.ECDH_ZGen", "tpm.NV_Write"])
@pytest.mark.parametrize("code", [rc.RC_RETRY, rc.RC_NV_RATE, rc.RC_LOCKOUT, rc.RC_FAILURE])
def test_one_false_answer_on_the_bus_ends_at_most_one_life_of_the_core(
    swtpm_rig: Rig, kind: str, code: int
) -> None:
    """The TPM's session has gone on and the core's has not: this life can never use it again."""
    vault = seal(swtpm_rig.cohort_public_key, max_attempts=LIMIT)
    witness = Witness.of(vault)
    with swtpm_rig.core() as core:
        claimed = core.claim(vault, vault.kf_hash)
        swtpm_rig.board.arm(Plan.nth(1, Act.LIE, kind, code=code))
        replies: list[wire.CoreReply] = []
        with suppress(CoreEnded):
            while len(replies) < 3:
                replies.append(witness.present(core, claimed))
    swtpm_rig.board.arm()
    assert len(replies) < 3, f"the core goes on for ever, and answers {replies}"
    with swtpm_rig.core() as core:
        assert isinstance(witness.guess(core, vault, vault.kf_hash), wire.VaultOpened)
        end(core)
