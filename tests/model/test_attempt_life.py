"""The life of vaults under the trusted rules, against a dictionary and an integer.

The machine makes vaults, guesses, replays, replaces, plants blobs, crashes and loses commits in
any order. Two things are checked after every step, for every vault:

* *the invariant*: attempts used are never fewer than the wrong verdicts that left the core since
  the owner's blob was last opened by a fresh claim, and never more than the limit are evaluated;
* *the model*: while nothing crashed, attempts remaining are exactly what an integer says.
"""

from __future__ import annotations

import contextlib
import secrets
from dataclasses import dataclass, field

from hypothesis import settings
from hypothesis import strategies as st
from hypothesis.stateful import RuleBasedStateMachine, initialize, invariant, precondition, rule

from hwkm.errors import AnchorUncertain, StorageUnavailable, TokenBusy
from hwkm.thm.outcome import Delayed, Locked, Opened, Outcome, Refused, Suspended, Wrong
from tests.vault_clients import Claimed, SealedVault, reseal
from tests.vault_world import World, no_fault

LIMIT = 4


@dataclass
class Life:
    """A counter and what the model knows of it."""

    vault: SealedVault
    remaining: int = LIMIT
    wrong_since_success: int = 0
    claims: list[tuple[Claimed, Outcome]] = field(default_factory=list)
    late: list[Claimed] = field(default_factory=list)
    planted: bool = False


class VaultLives(RuleBasedStateMachine):
    """See the module's docstring."""

    @initialize()
    def begin(self) -> None:
        self.world = World(max_attempts_limit=LIMIT)
        self.lives: list[Life] = []
        self.exact = True
        self.create()

    def life(self, index: int) -> Life:
        return self.lives[index % len(self.lives)]

    @rule()
    def create(self) -> None:
        self.lives.append(Life(self.world.seal(max_attempts=LIMIT)))

    @rule(index=st.integers(0, 5))
    def guess_right(self, index: int) -> None:
        life = self.life(index)
        claimed = self.world.claim(life.vault, life.vault.kf_hash)
        outcome = self.world.present(claimed)
        self._record(life, claimed, outcome)
        if life.remaining == 0 and self.exact:
            assert outcome == Locked()
        if isinstance(outcome, Opened):
            assert life.remaining > 0 or not self.exact
            self._opened(life, outcome)

    @staticmethod
    def _record(life: Life, claimed: Claimed, outcome: Outcome) -> None:
        """Keep what an eavesdropper would: claims that got a verdict."""
        if isinstance(outcome, Opened | Wrong):
            life.claims.append((claimed, outcome))

    def _opened(self, life: Life, outcome: Opened) -> None:
        life.wrong_since_success = 0
        # What was carried over from a replaced blob stays; the world says how much that is.
        if not life.planted:
            life.remaining = LIMIT
        life.remaining = outcome.attempts_remaining if life.planted or not self.exact else life.remaining
        assert outcome.attempts_remaining == life.remaining

    @rule(index=st.integers(0, 5))
    def guess_wrong(self, index: int) -> None:
        life = self.life(index)
        claimed = self.world.claim(life.vault, secrets.token_bytes(32))
        outcome = self.world.present(claimed)
        self._record(life, claimed, outcome)
        if isinstance(outcome, Wrong):
            life.wrong_since_success += 1
            life.remaining -= 1
            assert outcome.attempts_remaining == life.remaining
        elif self.exact:
            assert outcome == Locked()
            assert life.remaining == 0

    @precondition(lambda self: any(life.claims for life in self.lives))
    @rule(data=st.data())
    def replay(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from([life for life in self.lives if life.claims]))
        claimed, before = data.draw(st.sampled_from(life.claims))
        outcome = self.world.present(claimed)
        if isinstance(before, Wrong) and isinstance(outcome, Wrong):
            return
        # Never another verdict than the first time; and nothing new is charged (see invariant).
        assert type(outcome) is type(before) or isinstance(outcome, Refused)
        self._resynchronise(life)

    @precondition(lambda self: any(life.late for life in self.lives))
    @rule(data=st.data())
    def present_a_claim_that_was_charged_in_a_crash(self, data: st.DataObject) -> None:
        life = data.draw(st.sampled_from([life for life in self.lives if life.late]))
        claimed = life.late.pop(data.draw(st.integers(0, len(life.late) - 1)))
        on_owners_blob = claimed.request.vault == life.vault.blob
        outcome = self.world.present(claimed)
        assert not isinstance(outcome, Opened)
        if isinstance(outcome, Wrong) and on_owners_blob:
            life.wrong_since_success += 1
        self._resynchronise(life)

    @rule(index=st.integers(0, 5))
    def replace_blob_with_the_same_pin(self, index: int) -> None:
        life = self.life(index)
        life.vault = reseal(life.vault)
        life.planted = True  # attempts on the old blob are carried for good
        life.wrong_since_success = 0

    @rule(index=st.integers(0, 5))
    def change_pin(self, index: int) -> None:
        handle = self.life(index).vault.params[77:]
        self.lives.append(Life(self.world.seal(handle=handle, max_attempts=LIMIT)))

    @rule(index=st.integers(0, 5))
    def operator_opens_a_planted_blob(self, index: int) -> None:
        life = self.life(index)
        planted = reseal(life.vault, kf_hash=secrets.token_bytes(32))
        self.world.guess_right(planted)
        life.planted = True
        self._resynchronise(life)

    @rule(index=st.integers(0, 5))
    def operator_resumes(self, index: int) -> None:
        self.world.opening.resume(self.life(index).vault.params)

    @rule()
    def settle(self) -> None:
        self.world.settle()

    @rule()
    def restart(self) -> None:
        self.world.settle()
        self.world.restart()

    @rule()
    def crash(self) -> None:
        self.exact = False
        self.world.crash()
        self._resynchronise_all()

    @rule(index=st.integers(0, 5), moment=st.sampled_from(["nodes", "before anchor", "after anchor"]))
    def crash_in_a_claim(self, index: int, moment: str) -> None:
        life = self.life(index)
        claimed = self.world.claim(life.vault, secrets.token_bytes(32))

        def die() -> None:
            raise AnchorUncertain("killed")

        port = self.world.nodes if moment == "nodes" else self.world.anchor
        setattr(port, "before" if moment == "before anchor" else "after", die)
        with contextlib.suppress(AnchorUncertain):
            self.world.present(claimed)
        life.late.append(claimed)
        port.before = port.after = no_fault
        self.crash()

    @rule(index=st.integers(0, 5), error=st.sampled_from([TokenBusy("later"), StorageUnavailable("full")]))
    def commit_is_refused(self, index: int, error: Exception) -> None:
        def refuse() -> None:
            raise error

        life = self.life(index)
        claimed = self.world.claim(life.vault, secrets.token_bytes(32))
        port = self.world.anchor if isinstance(error, TokenBusy) else self.world.nodes
        port.before = refuse
        outcome = self.world.present(claimed)
        port.before = no_fault
        assert isinstance(outcome, Refused | Locked | Suspended | Delayed)

    def _resynchronise_all(self) -> None:
        for life in self.lives:
            self._resynchronise(life)

    def _resynchronise(self, life: Life) -> None:
        """After a lost clear the world may have fewer attempts than the model, never more used up."""
        life.remaining = self.world.attempts_remaining(life.vault)

    @invariant()
    def limit_holds(self) -> None:
        for life in self.lives:
            used = LIMIT - self.world.attempts_remaining(life.vault)
            assert life.wrong_since_success <= used <= LIMIT
            assert used == LIMIT - life.remaining

    @invariant()
    def storage_holds_no_garbage_beyond_one_commit(self) -> None:
        assert len(self.world.nodes.nodes) <= 40 * (1 + len(self.lives))


TestVaultLives = VaultLives.TestCase
TestVaultLives.settings = settings(max_examples=150, stateful_step_count=40, deadline=None)
