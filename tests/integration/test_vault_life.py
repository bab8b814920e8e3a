"""The whole life of vaults through the real daemon, against a dictionary and an integer.

A Hypothesis machine creates, opens with right and wrong PINs, replays, rotates, changes PINs and
deletes, while the daemon is restarted and it or its core is killed. The model of a vault is its PIN,
its recovery key, and how many attempts remain.
"""

from __future__ import annotations

from collections.abc import Callable
from contextlib import ExitStack
from dataclasses import dataclass
from pathlib import Path

import pytest
from hypothesis import HealthCheck, settings
from hypothesis import strategies as st
from hypothesis.stateful import (
    RuleBasedStateMachine,
    initialize,
    invariant,
    precondition,
    rule,
    run_state_machine_as_test,
)

from hwkm.client import FixedCohort, VaultClient, VerifiedCohort, encode_credential, framework
from hwkm.client.cohort import by_hand
from hwkm.crypto.knowledge_factor import sha256_params
from hwkm.errors import (
    ChallengeRefused,
    HwkmError,
    VaultLocked,
    VaultNotFound,
    WrongKnowledgeFactor,
)
from hwkm.wire import api
from tests.daemon import Daemon
from tests.devices import REAL, make_device

LIMIT = 3
FAST = sha256_params(bytes(16))
vault_numbers = st.integers(0, 3)


@dataclass
class Life:
    """What the model knows of a vault. ``ceiling`` is what a success restores."""

    handle: str
    pin: str
    recovery_key: bytes
    remaining: int = LIMIT
    ceiling: int = LIMIT
    kills: int = 0
    last_claim: api.OpenVault | None = None
    last_outcome: type[object] | None = None


class VaultLives(RuleBasedStateMachine):
    """See the module's docstring."""

    daemon: Daemon
    client: VaultClient
    cohort: VerifiedCohort

    @initialize()
    def begin(self) -> None:
        self.lives: dict[int, Life] = {}
        self.number = 0
        self.create()

    @property
    def has_room(self) -> bool:
        return len(self.lives) < 3

    def life(self, number: int) -> Life:
        return list(self.lives.values())[number % len(self.lives)]

    @precondition(lambda self: self.has_room)
    @rule()
    def create(self) -> None:
        self.number += 1
        pin = f"{self.number:04d}"
        with encode_credential(pin) as credential:
            name = f"{id(self)} {self.number}"
            info, key = self.client.create(name, credential, kf_params=FAST, max_attempts=LIMIT)
        self.lives[self.number] = Life(info.handle, pin, key.expose())

    @precondition(lambda self: self.lives)
    @rule(number=vault_numbers)
    def open_right(self, number: int) -> None:
        life = self.life(number)
        if life.remaining == 0:
            with pytest.raises(VaultLocked):
                self.claim(life, life.pin)
            return
        recovered = self.claim(life, life.pin)
        assert recovered is not None
        with recovered:
            assert recovered.recovery_key.expose() == life.recovery_key
        self.restored(life)

    @precondition(lambda self: self.lives)
    @rule(number=vault_numbers)
    def open_wrong(self, number: int) -> None:
        life = self.life(number)
        with pytest.raises((WrongKnowledgeFactor, VaultLocked)) as caught:
            self.claim(life, "not it")
        if life.remaining == 0:
            assert isinstance(caught.value, VaultLocked)
            return
        assert isinstance(caught.value, WrongKnowledgeFactor)
        life.remaining -= 1
        assert caught.value.attempts_remaining == life.remaining

    def claim(self, life: Life, pin: str) -> framework.Recovered | None:
        challenge = self.client.agent.challenge(life.handle)
        with encode_credential(pin) as credential:
            pending = framework.claim(challenge, credential, self.cohort)
        life.last_claim, life.last_outcome = pending.request, WrongKnowledgeFactor
        opened = self.client.agent.open_vault(life.handle, pending.request)
        life.last_outcome = api.VaultOpened
        return pending.finish(opened)

    @precondition(lambda self: any(life.last_claim for life in self.lives.values()))
    @rule(number=vault_numbers)
    def replay_the_last_claim(self, number: int) -> None:
        life = self.life(number)
        if life.last_claim is None:
            return
        try:
            outcome: object = self.client.agent.open_vault(life.handle, life.last_claim)
        except HwkmError as exc:
            outcome = exc
        assert isinstance(outcome, (life.last_outcome or object, ChallengeRefused, VaultLocked))

    @precondition(lambda self: self.lives)
    @rule(number=vault_numbers)
    def rotate(self, number: int) -> None:
        life = self.life(number)
        self.replace(life, lambda old: self.client.rotate(life.handle, old))

    @precondition(lambda self: self.lives)
    @rule(number=vault_numbers)
    def change_pin(self, number: int) -> None:
        life, new_pin = self.life(number), f"new {self.number}"
        with encode_credential(new_pin) as new:
            done = self.replace(
                life, lambda old: self.client.change_pin(life.handle, old, new, kf_params=FAST)
            )
        if done:
            life.pin, life.remaining, life.ceiling, life.kills = new_pin, LIMIT, LIMIT, 0

    def replace(self, life: Life, change: Callable) -> bool:  # type: ignore[type-arg]
        with encode_credential(life.pin) as old:
            if life.remaining == 0:
                with pytest.raises(VaultLocked):
                    change(old)
                return False
            _, key = change(old)
        life.recovery_key, life.last_claim = key.expose(), None
        self.restored(life)
        return True

    def restored(self, life: Life) -> None:
        """A success gives back all attempts, but for those a kill made stay with a replaced blob."""
        actual = self.client.show(life.handle).attempts_remaining
        assert actual == life.ceiling or (life.kills and LIMIT - life.kills <= actual <= LIMIT)
        life.remaining = life.ceiling = actual

    @precondition(lambda self: len(self.lives) > 1)
    @rule(number=vault_numbers)
    def delete(self, number: int) -> None:
        life = self.life(number)
        self.client.delete(life.handle)
        self.lives = {key: other for key, other in self.lives.items() if other is not life}
        with pytest.raises(VaultNotFound):
            self.client.show(life.handle)

    @rule()
    def restart_the_daemon(self) -> None:
        self.daemon.restart()
        self.daemon.wait_until_ready()

    @rule()
    def kill_the_core(self) -> None:
        pid = self.daemon.kill_core()
        while self.daemon.wait_until_ready().core_pid == pid:
            pass
        self.after_a_kill()

    @rule()
    def kill_the_daemon(self) -> None:
        self.daemon.kill()
        self.daemon.start()
        self.daemon.wait_until_ready()
        self.after_a_kill()

    def after_a_kill(self) -> None:
        """A kill costs at most the claim whose verdict was not recorded yet."""
        for life in self.lives.values():
            info = self.client.show(life.handle)
            if info.suspended:
                self.client.resume(life.handle)
            assert life.remaining - 1 <= info.attempts_remaining <= life.remaining
            life.kills += 1
            life.remaining = info.attempts_remaining

    @invariant()
    def attempts_remaining_are_those_of_the_model(self) -> None:
        for life in self.lives.values():
            info = self.client.show(life.handle)
            assert info.attempts_remaining == life.remaining
            assert (info.state == "locked") <= (life.remaining == 0)


@pytest.mark.slow
@pytest.mark.parametrize("kind", ["memory", *REAL])
def test_vaults_live_as_the_model_says(kind: str, tmp_path: Path) -> None:
    with ExitStack() as stack:
        device = make_device(kind, tmp_path, stack)
        daemon = stack.enter_context(Daemon(device))
        cohort = daemon.wait_until_ready().cohort
        assert cohort is not None
        client = stack.enter_context(VaultClient(daemon.socket_path, trust=FixedCohort(cohort.public_key)))

        class Lives(VaultLives):
            pass

        Lives.daemon, Lives.client, Lives.cohort = daemon, client, by_hand(cohort.public_key)
        run_state_machine_as_test(
            Lives,
            settings=settings(
                max_examples=5 if kind == "memory" else 2,
                stateful_step_count=25,
                deadline=None,
                suppress_health_check=list(HealthCheck),
            ),
        )
