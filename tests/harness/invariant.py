"""The invariant, once, for every attack.

    For each vault, the number of knowledge-factor evaluations whose result can have left the
    trusted core since the last proven success is never more than its limit.

A :class:`Witness` stands outside the core and is shown everything that leaves it about one vault,
over any number of crashes, restarts and rollbacks. One guess that is answered twice is one
evaluation: it teaches nothing new.
"""

from __future__ import annotations

import enum
import hashlib
from dataclasses import dataclass, field

from hwkm.formats.vault_params import VaultParams
from hwkm.wire import core_messages as wire
from tests.core_process import CoreProcess
from tests.vault_clients import Claimed, SealedVault, finish


class Verdict(enum.Enum):
    """What an answer tells about a guess."""

    RIGHT = "right"
    WRONG = "wrong"


class InvariantBroken(AssertionError):
    """The core gave away more than it may."""


@dataclass
class Witness:
    """Counts the evaluations of one vault whose results have left the core."""

    limit: int
    evaluated: dict[bytes, Verdict] = field(default_factory=dict)
    """Guesses (digests of claims) answered since the last proven success."""
    answered: dict[bytes, Verdict] = field(default_factory=dict)
    """All guesses ever answered."""

    @classmethod
    def of(cls, vault: SealedVault) -> Witness:
        """A witness for a vault that nobody has tried yet."""
        return cls(VaultParams.parse(vault.params).max_attempts)

    def saw(self, guess: bytes, verdict: Verdict) -> None:
        """Take note of a verdict that left the core about a guess (any bytes that name it).

        Raises:
            InvariantBroken: it is one too many, or another than was given before.
        """
        if guess in self.answered:
            if self.answered[guess] is not verdict:
                raise InvariantBroken(
                    f"one guess was called {self.answered[guess].value} and {verdict.value}"
                )
            return
        self.answered[guess] = verdict
        if len(self.evaluated) >= self.limit:
            raise InvariantBroken(
                f"evaluation {len(self.evaluated) + 1} left the core; the limit is {self.limit}"
            )
        if verdict is Verdict.RIGHT:
            self.evaluated.clear()
        else:
            self.evaluated[guess] = verdict

    def present(self, core: CoreProcess, claimed: Claimed) -> wire.CoreReply:
        """Present a claim and take note of what comes back."""
        return self.hear(core, claimed, core.send_claim(claimed))

    def hear(self, core: CoreProcess, claimed: Claimed, number: int) -> wire.CoreReply:
        """Wait for the reply to a claim sent before, and take note of it."""
        reply = core.reply(number)
        self.saw_reply(claimed, reply)
        return reply

    def guess(self, core: CoreProcess, vault: SealedVault, kf_hash: bytes) -> wire.CoreReply:
        """Make a claim, present it, take note."""
        return self.present(core, core.claim(vault, kf_hash))

    def saw_reply(self, claimed: Claimed, reply: wire.CoreReply) -> None:
        """Take note of a reply of the core, whatever it is."""
        verdict = verdict_of(reply)
        if verdict is not None:
            self.saw(hashlib.sha256(claimed.request.challenge + claimed.request.claim).digest(), verdict)


def verdict_of(reply: wire.CoreReply) -> Verdict | None:
    """What a reply tells about the guess, if it tells anything."""
    if isinstance(reply, wire.VaultOpened):
        return Verdict.RIGHT
    return Verdict.WRONG if isinstance(reply, wire.VaultWrong) else None


def same_answer(vault: SealedVault, claimed: Claimed, first: wire.CoreReply, second: wire.CoreReply) -> bool:
    """Whether two replies to one claim tell its claimant the same."""
    if isinstance(first, wire.VaultOpened) and isinstance(second, wire.VaultOpened):
        keys = {finish(vault, claimed, reply.response) for reply in (first, second)}
        return keys == {vault.recovery_key}
    return type(first) is type(second) and verdict_of(first) is not None
