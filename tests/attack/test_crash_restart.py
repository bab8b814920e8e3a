"""A core that dies again while it starts after a crash (attack 1): starting is as safe as claiming."""

from __future__ import annotations

import copy
from collections.abc import Callable
from contextlib import suppress

import pytest

from tests.core_process import CoreEnded
from tests.harness.plan import Act, Plan, Trace
from tests.harness.rig import Rig
from tests.harness.trial import Beginning, Guess, check_afterwards, claim_under

pytestmark = pytest.mark.attack

COMMIT = {"softhsm": "pkcs11.C_CreateObject", "swtpm": "tpm.NV_Write", "memory": "storage.rename"}


@pytest.fixture(scope="module")
def beginning(rig: Rig) -> Beginning:
    return Beginning.make(rig)


def start_under(rig: Rig, plan: Plan | None) -> tuple[Trace, int]:
    """Start a core under a plan and kill it, if it lives to be ready."""
    rig.board.arm(plan)
    with suppress(CoreEnded), rig.core() as core:
        core.kill()
    trace, struck = rig.board.trace(), rig.board.struck
    rig.board.arm()
    return trace, struck


def is_a_point(kind: str, act: Act) -> bool:
    """After a command that only reads is the same as before the next one."""
    return act is Act.KILL_BEFORE or not any(word in kind for word in ("Get", "Read", "Find"))


@pytest.mark.parametrize("act", [Act.KILL_BEFORE, Act.KILL_EXECUTED], ids=["before", "executed"])
def test_crash_at_every_event_of_a_restart_after_a_crash_in_the_middle_of_a_commit_loses_nothing(
    beginning: Beginning, act: Act, record_property: Callable[[str, object], None]
) -> None:
    rig = beginning.rig
    witness = beginning.again()
    claiming = claim_under(beginning, witness, Guess.WRONG, Plan.nth(1, Act.KILL_EXECUTED, COMMIT[rig.kind]))
    assert claiming.struck == 1
    crashed = rig.machine.take()
    rig.machine.restore(crashed)
    trace, _ = start_under(rig, None)
    points = [number for number, kind in enumerate(trace.kinds, 1) if is_a_point(kind, act)]
    for point in points:
        rig.machine.restore(crashed)
        _, struck = start_under(rig, Plan.nth(point, act))
        assert struck == 1, f"event {point} of {trace} did not come"
        check_afterwards(beginning, copy.deepcopy(witness), claiming)
    record_property("crash_points", len(points))
