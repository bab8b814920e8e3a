"""One claim under a plan, from a known beginning, and what must hold after it."""

from __future__ import annotations

import copy
import secrets
from dataclasses import dataclass
from enum import Enum
from typing import Final, Self

from hwkm.wire import core_messages as wire
from tests.core_process import CoreEnded, CoreProcess
from tests.harness.invariant import Witness, same_answer, verdict_of
from tests.harness.plan import Plan, Trace
from tests.harness.rig import Rig
from tests.harness.snapshot import Files
from tests.vault_clients import Claimed, SealedVault, seal

LIMIT: Final = 3
END_DEADLINE_S: Final = 20.0


class Guess(Enum):
    """Whether the claimant knows the PIN."""

    RIGHT = "right"
    WRONG = "wrong"


def wrong() -> bytes:
    """A guess that is wrong."""
    return secrets.token_bytes(32)


@dataclass
class Beginning:
    """A vault of which one attempt of three is gone, beside another vault, all durable."""

    rig: Rig
    vault: SealedVault
    witness: Witness
    taken: dict[str, Files]
    remaining: int

    @classmethod
    def make(cls, rig: Rig) -> Self:
        """Make it on a rig, wherever that stands."""
        rig.reset()
        vault = seal(rig.cohort_public_key, max_attempts=LIMIT)
        witness = Witness.of(vault)
        with rig.core() as core:
            core.guess(seal(rig.cohort_public_key), wrong())
            witness.guess(core, vault, wrong())
            remaining = core.attempts_remaining(vault)
            end(core)
        return cls(rig, vault, witness, rig.machine.take(), remaining)

    def again(self) -> Witness:
        """Take device and storage back to it; return a witness who saw what happened before it."""
        self.rig.board.arm()
        self.rig.machine.restore(self.taken)
        self.rig.storage.begin()
        return copy.deepcopy(self.witness)


@dataclass
class Claiming:
    """What came of a claim."""

    claimed: Claimed
    reply: wire.CoreReply | None
    trace: Trace
    struck: int


def end(core: CoreProcess) -> None:
    """Let a core settle and end."""
    core.call(wire.Stop())
    core.process.wait(END_DEADLINE_S)


def claim_under(beginning: Beginning, witness: Witness, guess: Guess, plan: Plan | None) -> Claiming:
    """Present one claim under a plan and stop the core, if it lives to be stopped."""
    rig, vault = beginning.rig, beginning.vault
    reply: wire.CoreReply | None = None
    with rig.core() as core:
        claimed = core.claim(vault, vault.kf_hash if guess is Guess.RIGHT else wrong())
        rig.board.arm(plan)
        try:
            reply = witness.present(core, claimed)
            core.call(wire.Stop())
        except CoreEnded:
            pass
        core.process.wait(END_DEADLINE_S)
    result = Claiming(claimed, reply, rig.board.trace(), rig.board.struck)
    rig.board.arm()
    return result


def check_afterwards(beginning: Beginning, witness: Witness, claiming: Claiming) -> None:
    """Start again; nothing was lost, nothing was given, and the same claim has the same answer.

    Raises:
        AssertionError: one of it is not so.
    """
    vault, claimed, reply = beginning.vault, claiming.claimed, claiming.reply
    with beginning.rig.core() as core:
        left = core.attempts_remaining(vault)
        assert left >= beginning.remaining - 1, "more than one attempt was lost"
        again = witness.present(core, claimed)
        if reply is not None and verdict_of(reply) is not None:
            assert same_answer(vault, claimed, reply, again), (reply, again)
        _check_no_second_charge(core, beginning, left, again)
        use_up(core, vault, witness)
        assert len(witness.evaluated) == witness.limit, "an attempt was lost although its claim was repeated"


def _check_no_second_charge(
    core: CoreProcess, beginning: Beginning, left: int, again: wire.CoreReply
) -> None:
    after = core.attempts_remaining(beginning.vault)
    if isinstance(again, wire.VaultOpened):
        assert after in {left, LIMIT}
        return
    assert after == left, "the same claim was charged twice"
    if not isinstance(again, wire.VaultWrong):
        # A claim whose charge did not become durable: its challenge died with the core.
        assert isinstance(again, wire.Failed), again
        assert again.code == "challenge_refused"
        assert left == beginning.remaining, "a charge was kept, but its claim is not known"


def use_up(core: CoreProcess, vault: SealedVault, witness: Witness) -> None:
    """Guess wrongly until the vault is locked; then it is locked for the owner, too."""
    while core.attempts_remaining(vault):
        reply = witness.guess(core, vault, wrong())
        assert isinstance(reply, wire.VaultWrong), reply
    for kf_hash in (wrong(), vault.kf_hash):
        reply = witness.guess(core, vault, kf_hash)
        assert isinstance(reply, wire.VaultIsLocked), reply
