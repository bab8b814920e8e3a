"""One life of the core for every event of a claim and every way to die at it."""

from __future__ import annotations

import enum

from tests.harness.plan import Act, Plan, Trace
from tests.harness.trial import Beginning, Guess, check_afterwards, claim_under


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


def recorded(beginning: Beginning, guess: Guess) -> Trace:
    """The events of a claim that nothing happens to, up to the clean end of the core."""
    witness = beginning.again()
    claiming = claim_under(beginning, witness, guess, None)
    check_afterwards(beginning, witness, claiming)
    return claiming.trace


def crash_everywhere(beginning: Beginning, guess: Guess, death: Death) -> int:
    """Let a core die at every event; return how many there are.

    Raises:
        AssertionError: an attempt was lost or given, or the same claim was answered differently.
    """
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
    return len(points)
