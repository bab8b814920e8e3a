"""A token, or something on the way to it, that says no and did it all the same.

A TPM's refusal is not authenticated: who sits on the bus can put it in place of any answer. What a
refusal says must therefore never be the ground for deleting what the anchor may refer to.
"""

from __future__ import annotations

from contextlib import suppress
from typing import Final

import pytest

from hwkm.wire import core_messages as wire
from tests.core_process import CoreEnded
from tests.harness import pkcs11_shim as ckr
from tests.harness import tpm_proxy as rc
from tests.harness.invariant import Witness
from tests.harness.plan import Act, Plan, Rule
from tests.harness.rig import Rig
from tests.harness.trial import END_DEADLINE_S, LIMIT, end, use_up, wrong
from tests.vault_clients import seal

pytestmark = pytest.mark.attack

WRITE: Final = {"softhsm": "pkcs11.C_CreateObject", "swtpm": "tpm.NV_Write"}
LIES: Final = {"softhsm": ckr.CKR_DEVICE_MEMORY, "swtpm": rc.RC_NV_RATE}


@pytest.mark.parametrize(
    "then", [None, Act.KILL_BEFORE, Act.KILL_EXECUTED], ids=["stop", "kill", "kill-late"]
)
def test_a_write_of_the_anchor_that_is_falsely_refused_does_not_cost_the_attempt_state(
    real_rig: Rig, then: Act | None
) -> None:
    """The refused state is the true one now; the next commit, of a verdict, must not remove its nodes."""
    rig = real_rig
    kind = WRITE[rig.kind]
    lie = Rule(Act.LIE, kind, 1, 1, LIES[rig.kind])
    after = [Rule(then, kind, 2, 2)] if then else []
    first, second = (seal(rig.cohort_public_key, max_attempts=LIMIT) for _ in range(2))
    witnesses = Witness.of(first), Witness.of(second)
    with rig.core() as core:
        bad = core.claim(first, wrong())
        assert isinstance(witnesses[0].present(core, bad), wire.VaultWrong)
        claimed = core.claim(second, wrong())
        rig.board.arm(Plan((lie, *after)))
        with suppress(CoreEnded):
            assert isinstance(witnesses[1].present(core, claimed), wire.Failed)
            core.call(wire.Stop())
        core.process.wait(END_DEADLINE_S)
    rig.board.arm()
    with rig.core() as core:
        assert isinstance(witnesses[0].present(core, bad), wire.VaultWrong)
        witnesses[1].present(core, claimed)
        for vault, witness in zip((first, second), witnesses, strict=True):
            use_up(core, vault, witness)
            assert len(witness.evaluated) == LIMIT
        end(core)
