"""A scripted history of claims with a snapshot after every commit: what an attacker may have kept.

The core settles only when it is stopped, and no success here clears more than its own charge: so each
claim is one commit, and the last is that of the stop. Before the first there is the moment of a token
that was never used.
"""

from __future__ import annotations

import copy
from dataclasses import dataclass
from typing import Final, Self

from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess
from tests.harness.invariant import Witness
from tests.harness.rig import Rig
from tests.harness.snapshot import Files
from tests.harness.trial import END_DEADLINE_S, LIMIT, end, wrong
from tests.vault_clients import SealedVault, seal

SCRIPT: Final = (("spent", False), ("other", True), ("spent", False), ("third", False), ("other", True))
"""Which vault is claimed, and whether with the right guess."""


@dataclass(frozen=True)
class Moment:
    """What was durable when a commit had been answered for."""

    epoch: int
    remaining: dict[str, int]
    taken: dict[str, Files]


@dataclass
class History:
    """Three vaults on a rig; ``spent`` has one attempt of three left at the end, ``other`` all, ``third`` two."""

    rig: Rig
    vaults: dict[str, SealedVault]
    witnesses: dict[str, Witness]
    moments: list[Moment]

    @classmethod
    def make(cls, rig: Rig) -> Self:
        """Act the script on a rig, wherever that stands, and stop the core."""
        rig.reset()
        vaults = {
            name: seal(rig.cohort_public_key, max_attempts=LIMIT) for name in ("spent", "other", "third")
        }
        history = cls(rig, vaults, {name: Witness.of(vault) for name, vault in vaults.items()}, [])
        with rig.core() as core:
            history._note(core)
            for name, right in SCRIPT:
                history.guess(core, name, vaults[name].kf_hash if right else wrong())
                history._note(core)
            end(core)
        with rig.core() as core:
            history._note(core)
            end(core)
        return history

    @property
    def last(self) -> Moment:
        """The end of the script: what is true."""
        return self.moments[-1]

    def again(self, *parts: str) -> dict[str, Witness]:
        """Take the parts (all, if none is named) to the end; return witnesses who saw the script."""
        self.rig.board.arm()
        self.rig.machine.restore(self.last.taken, *parts)
        self.rig.storage.begin()
        return copy.deepcopy(self.witnesses)

    def guess(self, core: CoreProcess, name: str, kf_hash: bytes) -> wire.CoreReply:
        """Guess at a vault of the script, seen by its witness."""
        return self.witnesses[name].guess(core, self.vaults[name], kf_hash)

    def remaining(self, core: CoreProcess) -> dict[str, int]:
        """The attempts that remain of every vault, as the core says."""
        return {name: core.attempts_remaining(vault) for name, vault in self.vaults.items()}

    def _note(self, core: CoreProcess) -> None:
        statistics = core.call(wire.ReadStatistics())
        assert isinstance(statistics, wire.Statistics)
        self.moments.append(Moment(statistics.epoch, self.remaining(core), self.rig.machine.take()))


def start(rig: Rig) -> wire.CoreStarted:
    """Begin a life of the core, kill it at once; return what it said of its start."""
    with rig.nursery.core() as core:
        return core.start(wire.Serve(settings=rig.settings))


def refusal(rig: Rig) -> str:
    """The code by which the core refuses to start; it ends by itself."""
    with rig.nursery.core() as core:
        started = core.start(wire.Serve(settings=rig.settings))
        assert isinstance(started, wire.Failed), f"the core started: {started}"
        assert core.process.wait(END_DEADLINE_S) == 1
        return started.code
