"""What can be seen before the charge is durable (attack 12): the same for a right guess and a wrong one.

Seen are: frames on the core's channel, changes of the node store's and the token's files with their
sizes, PKCS#11 functions, TPM commands and answers with their sizes. Times are compared by Welch's
t-test and reported, not judged: they depend on the machine.
"""

from __future__ import annotations

import math
import random
import shutil
import statistics
import time
from collections.abc import Callable, Iterator
from contextlib import ExitStack, contextmanager
from dataclasses import dataclass, field
from typing import Final

import msgspec
import pytest

from hwkm.wire import core_messages as wire
from tests.contract.bus import Bus
from tests.core_process import CoreProcess, Device, core_settings, provision
from tests.devices import ALL, make_device
from tests.hardware import SoftHsm, Swtpm, short_directory
from tests.harness.board import Board
from tests.harness.lossy_storage import Change, Recorder
from tests.harness.nursery import Nursery
from tests.harness.pkcs11_shim import shimmed
from tests.harness.rig import NEVER_MS, Rig
from tests.harness.snapshot import DirectoryPart, Machine, device_part
from tests.harness.tpm_proxy import TpmProxy
from tests.harness.trial import Guess, end, wrong
from tests.vault_clients import Claimed, SealedVault, seal

pytestmark = pytest.mark.attack

REPETITIONS: Final = 6
CLAIMS_TIMED: Final = 300
COMMIT: Final = {"softhsm": "pkcs11.C_CreateObject", "swtpm": "tpm.NV_Write", "memory": "storage.rename"}
REPLY: Final = "channel.reply"


@dataclass
class Stand:
    """A device whose every move can be seen, and a vault of which one attempt may be gone."""

    kind: str
    settings: wire.CoreSettings
    board: Board
    storage: Recorder
    nursery: Nursery
    machine: Machine
    cohort_public_key: bytes
    bus: Bus | None

    def core(self) -> CoreProcess:
        core = self.nursery.core()
        core.serve(self.settings)
        return core


@dataclass(frozen=True)
class Seen:
    """What was seen of one claim, in order, from its arrival to a certain event."""

    request_bytes: int
    kinds: tuple[str, ...]
    """Hardware commands, changes of storage, replies."""
    written: tuple[tuple[int, int], ...]
    """Offset and length of every write to a file of the node store or the token."""
    bus: tuple[tuple[int, int], ...]
    """Length of every TPM command and of its answer."""

    def until(self, kind: str) -> Seen:
        """What was seen up to the first event of a kind, and of its own size."""
        kinds = self.kinds[: self.kinds.index(kind) + 1]
        commands = sum(kind.startswith("tpm.") for kind in kinds)
        return Seen(
            self.request_bytes, kinds, self.written[: kinds.count("storage.write")], self.bus[:commands]
        )


@contextmanager
def make_stand(kind: str) -> Iterator[Stand]:
    with ExitStack() as stack:
        directory = short_directory()
        stack.callback(shutil.rmtree, directory, ignore_errors=True)
        nodes, token = directory / "disk/nodes", directory / "disk/token"
        nodes.mkdir(parents=True)
        token.mkdir(mode=0o700)
        device: Device = SoftHsm(token) if kind == "softhsm" else make_device(kind, token, stack)
        settings = core_settings(device, nodes / "nodes.db", settle_delay_ms=NEVER_MS)
        made = provision(device, settings)
        assert isinstance(made, wire.Inventory), made
        uri, board, bus = device.uri, Board.create(directory / "board"), None
        if isinstance(device, SoftHsm):
            uri, board = shimmed(device.uri, directory)
        elif isinstance(device, Swtpm):
            bus = stack.enter_context(Bus(device))
            listened_to = device.directory / "bus.sock"
            uri = stack.enter_context(TpmProxy(listened_to, directory / "proxy", board)).uri
        storage = Recorder(directory / "disk", directory / "log", board.path)
        yield Stand(
            kind=kind,
            settings=msgspec.structs.replace(settings, token_uri=uri),
            board=board,
            storage=storage,
            nursery=stack.enter_context(Nursery({**device.environment, **storage.environment})),
            machine=Machine({"device": device_part(device), "nodes": DirectoryPart(nodes)}),
            cohort_public_key=made.cohort_public_key,
            bus=bus,
        )


@pytest.fixture(scope="module", params=ALL)
def stand(request: pytest.FixtureRequest) -> Iterator[Stand]:
    with make_stand(request.param) as made:
        yield made


@dataclass
class Scene:
    """A vault with so many failures, as often as needed."""

    stand: Stand
    vault: SealedVault
    taken: dict[str, dict[str, bytes]]

    @classmethod
    def make(cls, stand: Stand, failures: int) -> Scene:
        vault = seal(stand.cohort_public_key)
        with stand.core() as core:
            core.guess(seal(stand.cohort_public_key), wrong())
            for _ in range(failures):
                core.guess(vault, wrong())
            end(core)
        return cls(stand, vault, stand.machine.take())

    def watch(self, guess: Guess) -> Seen:
        """Claim once, from the same beginning as always."""
        self.stand.machine.restore(self.taken)
        with self.stand.core() as core:
            claimed = core.claim(self.vault, self.vault.kf_hash if guess is Guess.RIGHT else wrong())
            seen = watched(self.stand, core, claimed)
            end(core)
        return seen


def watched(stand: Stand, core: CoreProcess, claimed: Claimed) -> Seen:
    """Present a claim; tell in order what was seen of it until its reply."""
    stand.board.arm()
    stand.storage.begin()
    if stand.bus:
        stand.bus.traffic.clear()
    core.present(claimed)
    frames = stand.bus.traffic if stand.bus else []
    writes = [operation for operation in stand.storage.operations() if operation.change is Change.WRITE]
    return Seen(
        request_bytes=len(claimed.request.claim) + len(claimed.request.challenge),
        kinds=stand.board.trace().kinds,
        written=tuple((operation.offset, len(operation.data)) for operation in writes),
        bus=tuple(zip(map(len, frames[::2]), map(len, frames[1::2]), strict=True)),
    ).until(REPLY)


@pytest.mark.parametrize("failures", [0, 1])
def test_right_and_wrong_guess_cannot_be_told_apart_before_the_charge_is_durable(
    stand: Stand, failures: int, record_property: Callable[[str, object], None]
) -> None:
    """Same commands, same changes of storage, same sizes, in the same order; and no byte of a reply."""
    scene = Scene.make(stand, failures)
    commit = COMMIT[stand.kind]
    before = {
        guess: [scene.watch(guess).until(commit) for _ in range(REPETITIONS)]
        for guess in (Guess.RIGHT, Guess.WRONG)
    }
    (seen,) = set(before[Guess.RIGHT]) | set(before[Guess.WRONG])
    assert REPLY not in seen.kinds
    assert seen.kinds.count(commit) == 1
    assert seen.kinds.count("storage.write") == len(seen.written) > 0
    record_property("commands_and_writes_compared", len(seen.kinds) * 2 * REPETITIONS)


def test_right_and_wrong_first_guess_cannot_be_told_apart_before_the_reply_either(stand: Stand) -> None:
    """The verdict costs nothing more: it rides along with a later commit. (A success that clears failures
    of before is made durable at once: then there is a second commit after the charge.)"""
    scene = Scene.make(stand, 0)
    seen = {scene.watch(guess) for guess in (Guess.RIGHT, Guess.WRONG) for _ in range(REPETITIONS)}
    assert len(seen) == 1
    scene = Scene.make(stand, 1)
    commits = {guess: scene.watch(guess).kinds.count(COMMIT[stand.kind]) for guess in Guess}
    assert commits == {Guess.RIGHT: 2, Guess.WRONG: 1}


# --- time ------------------------------------------------------------------------------------


@dataclass
class Times:
    """Milliseconds from the request to the charge, and to the reply."""

    to_charge: list[float] = field(default_factory=list)
    to_reply: list[float] = field(default_factory=list)


def test_time_to_the_charge_for_right_and_wrong_guesses_is_compared_and_reported(
    rig: Rig, record_property: Callable[[str, object], None]
) -> None:
    times = {guess: Times() for guess in Guess}
    guesses = [Guess.RIGHT, Guess.WRONG] * (CLAIMS_TIMED // 2)
    random.Random(12).shuffle(guesses)
    with rig.core() as core:
        for guess in guesses:
            vault = seal(rig.cohort_public_key)
            claimed = core.claim(vault, vault.kf_hash if guess is Guess.RIGHT else wrong())
            time_claim(rig, core, claimed, times[guess])
        end(core)
    for what in ("to_charge", "to_reply"):
        right, wrong_ones = (getattr(times[guess], what) for guess in (Guess.RIGHT, Guess.WRONG))
        t, freedom = welch(right, wrong_ones)
        report = (
            f"{rig.kind} {what}: right {statistics.mean(right):.3f} ms, wrong {statistics.mean(wrong_ones):.3f} ms,"
            f" t = {t:.2f} at {freedom:.0f} degrees of freedom, {len(right)} + {len(wrong_ones)} claims"
        )
        print(report)
        record_property(f"welch_{what}", report)


def time_claim(rig: Rig, core: CoreProcess, claimed: Claimed, times: Times) -> None:
    """Look without pause for the event of the charge, as an attacker on the machine would."""
    rig.board.arm()
    commit = COMMIT[rig.kind]
    began = time.perf_counter()
    number = core.send_claim(claimed)
    while not rig.board.counts()[commit]:
        pass
    charged = time.perf_counter()
    core.reply(number)
    times.to_reply.append((time.perf_counter() - began) * 1000)
    times.to_charge.append((charged - began) * 1000)


def welch(first: list[float], second: list[float]) -> tuple[float, float]:
    """Welch's t and its degrees of freedom (Welch 1947, Satterthwaite 1946)."""
    a, b = (statistics.variance(sample) / len(sample) for sample in (first, second))
    t = (statistics.mean(first) - statistics.mean(second)) / math.sqrt(a + b)
    return t, (a + b) ** 2 / (a**2 / (len(first) - 1) + b**2 / (len(second) - 1))


def test_welch_agrees_with_a_worked_example() -> None:
    """Unequal variances: by hand, means 3 and 6, variances 2.5 and 10, five each."""
    t, freedom = welch([1, 2, 3, 4, 5], [2, 4, 6, 8, 10])
    assert t == pytest.approx(-3 / math.sqrt(2.5))
    assert freedom == pytest.approx(2.5**2 / (0.5**2 / 4 + 2**2 / 4))
