"""A core that dies at any moment of a claim (attack 1).

Enumerated, not sampled: one claim is recorded, from its arrival to the clean end of the core, with
every hardware command, every change of storage, every sync and every reply. Then there is one life
for each of these events and each way to die at it.
"""

from __future__ import annotations

import enum
from collections.abc import Callable

import pytest

from tests.harness.plan import Act, Plan, Trace
from tests.harness.rig import Rig
from tests.harness.trial import Beginning, Guess, check_afterwards, claim_under

pytestmark = pytest.mark.attack


class Death(enum.Enum):
    """How the core dies at an event."""

    BEFORE = Act.KILL_BEFORE
    EXECUTED = Act.KILL_EXECUTED
    ANSWERED = Act.KILL_ANSWERED
    POWER_CUT = "power cut"

    @property
    def act(self) -> Act:
        return self.value if isinstance(self.value, Act) else Act.KILL_BEFORE

    def happens_at(self, kind: str) -> bool:
        """After a write has returned is before the next event: only hardware and replies take time."""
        return self is not Death.ANSWERED or not kind.startswith("storage.")


@pytest.fixture(scope="module")
def beginning(rig: Rig) -> Beginning:
    return Beginning.make(rig)


def recorded(beginning: Beginning, guess: Guess) -> Trace:
    """The events of a claim that nothing happens to."""
    witness = beginning.again()
    claiming = claim_under(beginning, witness, guess, None)
    check_afterwards(beginning, witness, claiming)
    return claiming.trace


@pytest.mark.parametrize("death", Death, ids=lambda death: death.name.lower())
@pytest.mark.parametrize("guess", Guess, ids=lambda guess: guess.value)
def test_crash_at_every_hardware_command_and_storage_write_of_a_claim_costs_no_attempt_and_gives_none(
    beginning: Beginning, guess: Guess, death: Death, record_property: Callable[[str, object], None]
) -> None:
    trace = recorded(beginning, guess)
    points = [number for number, kind in enumerate(trace.kinds, 1) if death.happens_at(kind)]
    for point in points:
        witness = beginning.again()
        claiming = claim_under(beginning, witness, guess, Plan.nth(point, death.act))
        assert claiming.struck == 1, f"event {point} of {trace} did not come"
        if death is Death.POWER_CUT:
            beginning.rig.power_cycle()
        try:
            check_afterwards(beginning, witness, claiming)
        except BaseException as exc:
            exc.add_note(f"crash {death.name} at event {point}, {trace.kinds[point - 1]}")
            raise
    record_property("crash_points", len(points))
