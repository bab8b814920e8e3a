"""A core that dies at any moment of a claim (attack 1).

Enumerated, not sampled: one claim is recorded, from its arrival to the clean end of the core, with
every hardware command, every change of storage, every sync and every reply. Then there is one life
for each of these events and each way to die at it.
"""

from __future__ import annotations

from collections.abc import Callable

import pytest

from hwkm.wire.core_messages import VaultWrong
from tests.harness.crashes import Death, crash_everywhere
from tests.harness.rig import Rig, make_rig
from tests.harness.trial import Beginning, Guess, claim_under

pytestmark = pytest.mark.attack


@pytest.fixture(scope="module")
def beginning(rig: Rig) -> Beginning:
    return Beginning.make(rig)


@pytest.mark.parametrize("death", Death, ids=lambda death: death.name.lower())
@pytest.mark.parametrize("guess", Guess, ids=lambda guess: guess.value)
def test_crash_at_every_hardware_command_and_storage_write_of_a_claim_costs_no_attempt_and_gives_none(
    beginning: Beginning, guess: Guess, death: Death, record_property: Callable[[str, object], None]
) -> None:
    record_property("crash_points", crash_everywhere(beginning, guess, death))


@pytest.mark.parametrize(
    ("bug", "death"),
    [
        ("charge-later", Death.ANSWERED),
        ("charge-twice", Death.ANSWERED),
        ("anchor-first", Death.EXECUTED),
        ("delete-early", Death.BEFORE),
        ("unsynced-nodes", Death.POWER_CUT),
    ],
)
@pytest.mark.needs("softhsm2-util")
def test_crashes_catch_a_seeded_bug(bug: str, death: Death) -> None:
    """The enumeration above would mean nothing if it could not fail."""
    with make_rig("softhsm", seeded_bug=bug) as broken:
        beginning = Beginning.make(broken)
        unhurt = claim_under(beginning, beginning.again(), Guess.WRONG, None)
        assert isinstance(unhurt.reply, VaultWrong), "the bug shows without a crash"
        with pytest.raises(AssertionError):
            crash_everywhere(beginning, Guess.WRONG, death)
