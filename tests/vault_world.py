"""A small world around the trusted rules: software key, dictionary storage, a clock to turn.

Reads as the protocol does. ``World.crash`` throws away everything that was not durable; the
ports can be told to fail, with or without having applied what they were asked for.
"""

from __future__ import annotations

import hashlib
import secrets
from collections.abc import Callable, Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field

from cryptography.hazmat.primitives.asymmetric import ec

from hwkm.crypto import p256
from hwkm.formats.anchor import EMPTY_ROOT, AnchorState
from hwkm.formats.counter import Instant
from hwkm.formats.membership import ALONE, Membership
from hwkm.thm.challenges import Challenges
from hwkm.thm.ledger import Ledger
from hwkm.thm.opening import AttemptRules, VaultOpening
from hwkm.thm.outcome import Opened, Outcome
from tests import vault_clients
from tests.vault_clients import Claimed, SealedVault, finish, make_claim

BOOT = bytes(range(16))
LIFETIME_MS = 60_000

Fault = Callable[[], None]


def no_fault() -> None:
    """The port works."""


class SoftwareKey:
    """A cohort key in memory that can be told to fail."""

    def __init__(self) -> None:
        self._private = ec.generate_private_key(ec.SECP256R1())
        self._public = p256.encode_point(self._private.public_key())
        self.fault: Fault = no_fault
        self.agreements = 0

    def public_key(self) -> bytes:
        return self._public

    def agree(self, points: Sequence[bytes]) -> Iterator[bytes]:
        for point in points:
            self.agreements += 1
            self.fault()
            yield self._private.exchange(ec.ECDH(), p256.load_point(point))


class DictionaryAnchor:
    """An anchor in memory. ``before`` and ``after`` run around the write and may raise."""

    def __init__(self, state: AnchorState) -> None:
        self.state = state
        self.writes = 0
        self.before: Fault = no_fault
        self.after: Fault = no_fault

    def read(self) -> AnchorState:
        return self.state

    def advance(self, state: AnchorState) -> None:
        self.before()
        if state.epoch != self.state.epoch + 1:
            raise AssertionError("epochs rise by one")
        self.state = state
        self.writes += 1
        self.after()


class DictionaryNodes:
    """A node store in memory. ``before`` and ``after`` run around the write and may raise."""

    def __init__(self) -> None:
        self.nodes: dict[bytes, bytes] = {}
        self.before: Fault = no_fault
        self.after: Fault = no_fault

    def get(self, digest: bytes) -> bytes | None:
        return self.nodes.get(digest)

    def put(self, nodes: Mapping[bytes, bytes], obsolete: Iterable[bytes]) -> None:
        self.before()
        for digest in set(obsolete) - set(nodes):
            self.nodes.pop(digest, None)
        self.nodes.update(nodes)
        self.after()


@dataclass
class World:
    """One module with its hardware and storage, and the clients around it."""

    max_attempts_limit: int = 10
    delays_ms: tuple[int, ...] = (0,)
    key: SoftwareKey = field(default_factory=SoftwareKey)
    nodes: DictionaryNodes = field(default_factory=DictionaryNodes)
    now: Instant = field(default_factory=lambda: Instant(BOOT, 1_000_000))
    membership: Membership = ALONE

    def __post_init__(self) -> None:
        self.cohort = hashlib.sha256(self.key.public_key()).digest()
        self.anchor = DictionaryAnchor(AnchorState(0, EMPTY_ROOT, self.cohort, self.membership))
        self.restart()

    def restart(self) -> None:
        """Begin a new life of the core from what is durable."""
        self.ledger = Ledger(self.anchor, self.nodes, self.cohort, self.membership)
        challenges = Challenges(count_max=10_000, lifetime_ms=LIFETIME_MS)
        rules = AttemptRules(self.max_attempts_limit, self.delays_ms)
        self.opening = VaultOpening(self.key, self.ledger, challenges, rules)

    crash = restart

    def pass_time(self, ms: int) -> None:
        self.now = Instant(self.now.boot_id, self.now.ms + ms)

    def reboot(self) -> None:
        """A new boot: the core restarts and the clock begins again."""
        self.now = Instant(secrets.token_bytes(16), 0)
        self.restart()

    # --- clients -----------------------------------------------------------------------------

    def seal(
        self,
        *,
        kf_hash: bytes | None = None,
        counter_id: int | None = None,
        handle: bytes | None = None,
        max_attempts: int = 10,
    ) -> SealedVault:
        """Make a vault for this module; give a counter id and handle to replace one."""
        return vault_clients.seal(
            self.key.public_key(),
            kf_hash=kf_hash,
            counter_id=counter_id,
            handle=handle,
            max_attempts=max_attempts,
        )

    def claim(self, vault: SealedVault, kf_hash: bytes, challenge: bytes | None = None) -> Claimed:
        """Take a challenge, if none is given, and make a claim."""
        if challenge is None:
            challenge = secrets.token_bytes(32)
            self.opening.issue_challenge(vault.params, vault.blob, challenge, self.now)
        return make_claim(vault, kf_hash, challenge)

    def present(self, claimed: Claimed) -> Outcome:
        (outcome,) = self.opening.open_claims([claimed.request], self.now)
        return outcome

    def guess(self, vault: SealedVault, kf_hash: bytes) -> Outcome:
        return self.present(self.claim(vault, kf_hash))

    def guess_right(self, vault: SealedVault) -> Outcome:
        return self.guess(vault, vault.kf_hash)

    def guess_wrong(self, vault: SealedVault) -> Outcome:
        return self.guess(vault, secrets.token_bytes(32))

    def settle(self) -> None:
        self.ledger.commit({})

    def attempts_remaining(self, vault: SealedVault) -> int:
        return self.opening.status(vault.params, self.now).attempts_remaining


def recover(vault: SealedVault, claimed: Claimed, outcome: Outcome) -> bytes:
    """Finish a recovery and return the recovery key."""
    assert isinstance(outcome, Opened)
    return finish(vault, claimed, outcome.response)
