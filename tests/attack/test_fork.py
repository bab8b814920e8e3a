"""Two valid next states prepared around a crash, the attacker choosing which survives (attack 4)."""

from __future__ import annotations

import itertools
import socket
import sqlite3
import struct
from collections.abc import Callable
from contextlib import closing, suppress
from dataclasses import dataclass
from pathlib import Path
from typing import Final

import pytest

from hwkm.store.nodes import SqliteNodeStore
from hwkm.wire import core_messages as wire
from tests.core_process import CoreEnded
from tests.hardware import Swtpm
from tests.harness.invariant import InvariantBroken, Witness
from tests.harness.plan import FOR_EVER, KILLS, Act, Plan, Rule
from tests.harness.rig import Rig, make_rig
from tests.harness.snapshot import FilePart, Files
from tests.harness.trial import Beginning, Claiming, Guess, claim_under, end, use_up, wrong
from tests.vault_clients import SealedVault, seal

pytestmark = pytest.mark.attack

CONTEXT_LOAD: Final = 0x161
CONTEXT_SAVE: Final = 0x162
FLUSH_CONTEXT: Final = 0x165
GET_CAPABILITY: Final = 0x17A

COMMIT: Final = {"softhsm": "pkcs11.C_CreateObject", "swtpm": "tpm.NV_Write", "memory": "storage.rename"}


def dying_at_commit(rig: Rig, act: Act) -> Plan:
    return Plan.nth(1, act, COMMIT[rig.kind])


# --- two sets of nodes -----------------------------------------------------------------------


@dataclass
class Fork:
    """Two claims, A and B, prepared on one beginning, and what each left in the node store."""

    claims: dict[str, Claiming]
    stores: dict[str, Files]


def prepare(beginning: Beginning, witness: Witness, last: Act) -> Fork:
    """A dies before the anchor moves; then, on the same anchor and the first store, B dies as told."""
    rig = beginning.rig
    nodes = rig.machine.parts["nodes"]
    fork = Fork({}, {"neither": nodes.take()})
    for name, act in (("a", Act.KILL_BEFORE), ("b", last)):
        nodes.restore(fork.stores["neither"])
        fork.claims[name] = claim_under(beginning, witness, Guess.WRONG, dying_at_commit(rig, act))
        assert fork.claims[name].struck == 1
        assert fork.claims[name].reply is None
        fork.stores[name] = nodes.take()
    nodes.restore(fork.stores["neither"])
    fork.stores["both"] = united(Path(rig.settings.nodes_path), nodes.restore, fork)
    return fork


def united(path: Path, restore: Callable[[Files], None], fork: Fork) -> Files:
    """A store with the nodes of both."""
    gathered: dict[bytes, bytes] = {}
    for name in ("a", "b"):
        restore(fork.stores[name])
        with closing(sqlite3.connect(path)) as database:
            gathered.update(database.execute("SELECT digest, bytes FROM node").fetchall())
    with SqliteNodeStore(path) as store:
        store.put(gathered)
    return FilePart(path).take()


@pytest.fixture(scope="module")
def beginning(rig: Rig) -> Beginning:
    return Beginning.make(rig)


@pytest.mark.parametrize("survivor", ["a", "b", "both", "neither"])
@pytest.mark.parametrize("moved", [False, True], ids=["anchor-stays", "anchor-moved"])
def test_whichever_nodes_of_two_prepared_states_survive_the_anchor_decides_which_is_true(
    beginning: Beginning, survivor: str, moved: bool
) -> None:
    rig, witness = beginning.rig, beginning.again()
    fork = prepare(beginning, witness, Act.KILL_EXECUTED if moved else Act.KILL_BEFORE)
    rig.machine.parts["nodes"].restore(fork.stores[survivor])
    if moved and survivor in {"a", "neither"}:
        assert start_refused(rig) == "storage_mismatch"
        return
    with rig.core() as core:
        for name, claiming in fork.claims.items():
            reply = witness.present(core, claiming.claimed)
            assert isinstance(reply, wire.VaultWrong if moved and name == "b" else wire.Failed)
        use_up(core, beginning.vault, witness)
        end(core)
    assert len(witness.evaluated) == witness.limit


def start_refused(rig: Rig) -> str:
    """Start a core that must refuse; return the code of its error."""
    with rig.nursery.core() as core:
        started = core.start(wire.Serve(settings=rig.settings))
    assert isinstance(started, wire.Failed), started
    return started.code


# --- many crashes ----------------------------------------------------------------------------


@pytest.mark.parametrize(
    "acts", list(itertools.product(KILLS, repeat=2)), ids=lambda acts: "-".join(a.name for a in acts)
)
def test_no_choice_of_survivors_over_several_crashes_gives_an_attempt_more(
    rig: Rig, acts: tuple[Act, ...]
) -> None:
    """Each wrong claim dies at its commit, written or not as the attacker likes; then he repeats it."""
    vault = seal(rig.cohort_public_key, max_attempts=2)
    witness = Witness.of(vault)
    for act in itertools.chain(acts, acts):
        with rig.core() as core:
            claimed = core.claim(vault, wrong())
            rig.board.arm(dying_at_commit(rig, act))
            with suppress(CoreEnded):
                witness.present(core, claimed)
            rig.board.arm()
        with rig.core() as core:
            witness.present(core, claimed)
            end(core)  # a verdict that were not recorded would put the lock off, not give an attempt
    with rig.core() as core:
        use_up(core, vault, witness)
        end(core)
    assert len(witness.evaluated) <= 2


# --- PKCS#11: two anchor objects -------------------------------------------------------------


@dataclass
class TwoObjects:
    """The token's files with the old anchor, and the files that A and B added."""

    base: Files
    a: Files
    b: Files


def two_objects(beginning: Beginning, witness: Witness) -> tuple[TwoObjects, list[Claiming]]:
    """A and B each made their next anchor object and died before the old one was destroyed."""
    rig = beginning.rig
    token, nodes = rig.machine.parts["device"], rig.machine.parts["nodes"]
    base, added, claims = token.take(), [], []
    for _ in range(2):
        claims.append(claim_under(beginning, witness, Guess.WRONG, dying_at_commit(rig, Act.KILL_EXECUTED)))
        files = token.take()
        added.append({name: data for name, data in files.items() if base.get(name) != data})
        token.restore(base)
    with rig.core() as core:  # the old anchor is still good, with whatever nodes lie around it
        assert core.attempts_remaining(beginning.vault) == beginning.remaining
        core.kill()
    assert nodes.take()
    return TwoObjects(base, *added), claims


def test_two_anchor_objects_of_one_epoch_are_refused(softhsm_rig: Rig) -> None:
    beginning = Beginning.make(softhsm_rig)
    witness = beginning.again()
    objects, _ = two_objects(beginning, witness)
    token = softhsm_rig.machine.parts["device"]
    token.restore({**objects.base, **objects.a, **objects.b})
    assert start_refused(softhsm_rig) == "anchor_tampered"
    token.restore(objects.base)


@pytest.mark.parametrize("survivor", ["a", "b", "neither"])
def test_whichever_anchor_object_survives_a_crash_nothing_was_answered_under_the_other(
    softhsm_rig: Rig, survivor: str
) -> None:
    beginning = Beginning.make(softhsm_rig)
    witness = beginning.again()
    objects, claims = two_objects(beginning, witness)
    chosen = {"a": objects.a, "b": objects.b, "neither": {}}[survivor]
    softhsm_rig.machine.parts["device"].restore({**objects.base, **chosen})
    with softhsm_rig.core() as core:
        for name, claiming in zip("ab", claims, strict=True):
            reply = witness.present(core, claiming.claimed)
            assert isinstance(reply, wire.VaultWrong if name == survivor else wire.Failed), (name, reply)
        use_up(core, beginning.vault, witness)
        end(core)
    assert len(witness.evaluated) == witness.limit


# --- TPM: a write that is held back ----------------------------------------------------------


def held_back(rig: Rig, vault: SealedVault, witness: Witness) -> bytes:
    """Let a core die at its NV write; return the command, which the TPM has not seen."""
    assert rig.tpm is not None
    rig.tpm.withheld.clear()
    with rig.core() as core:
        claimed = core.claim(vault, wrong())
        rig.board.arm(dying_at_commit(rig, Act.KILL_BEFORE))
        with suppress(CoreEnded):
            witness.present(core, claimed)
    rig.board.arm()
    (command,) = rig.tpm.withheld
    return command


def ask(rig: Rig, command: bytes) -> bytes:
    """Send a command to the TPM past everybody; return its answer."""
    assert isinstance(rig.device, Swtpm)
    with socket.socket(socket.AF_UNIX) as tpm:
        tpm.connect(str(rig.device.socket_path))
        tpm.sendall(command)
        return tpm.recv(4096)


def send(rig: Rig, command: bytes) -> int:
    """The same; return the response code."""
    return int.from_bytes(ask(rig, command)[6:10], "big")


def park_session(rig: Rig, command: bytes) -> bytes:
    """Save the session in which a command was made, flush all others; return the saved context."""
    session = command[22:26]  # after header (10), two handles (8) and the size of the session area (4)
    listed = ask(rig, struct.pack(">HIIIII", 0x8001, 22, GET_CAPABILITY, 1, 0x02000000, 254))
    saved = ask(rig, struct.pack(">HII", 0x8001, 14, CONTEXT_SAVE) + session)
    for (handle,) in struct.iter_unpack(">4s", listed[19:]):
        if handle != session:
            assert send(rig, struct.pack(">HII", 0x8001, 14, FLUSH_CONTEXT) + handle) == 0
    return saved[10:]


def unpark_session(rig: Rig, context: bytes) -> int:
    """Load a saved session; return the response code."""
    return send(rig, struct.pack(">HII", 0x8001, 10 + len(context), CONTEXT_LOAD) + context)


def anchor_epoch(rig: Rig) -> int:
    with rig.core() as core:
        assert core.ready is not None
        epoch = core.ready.epoch
        core.kill()
    return epoch


def test_a_write_held_back_from_the_tpm_and_sent_after_the_next_start_is_refused(swtpm_rig: Rig) -> None:
    """A new life flushes the session of the old one, and with it every command made in it."""
    vault = seal(swtpm_rig.cohort_public_key, max_attempts=2)
    witness = Witness.of(vault)
    command = held_back(swtpm_rig, vault, witness)
    with swtpm_rig.core() as core:
        witness.guess(core, vault, wrong())
        end(core)
    before = anchor_epoch(swtpm_rig)
    assert send(swtpm_rig, command) != 0
    assert anchor_epoch(swtpm_rig) == before
    with swtpm_rig.core() as core:
        use_up(core, vault, witness)
        end(core)
    assert len(witness.evaluated) == 2


def test_a_write_held_back_from_the_tpm_and_sent_before_the_next_start_costs_one_attempt(
    swtpm_rig: Rig,
) -> None:
    """Then it is the crash after the write, which the attacker may choose."""
    vault = seal(swtpm_rig.cohort_public_key, max_attempts=2)
    witness = Witness.of(vault)
    command = held_back(swtpm_rig, vault, witness)
    assert send(swtpm_rig, command) == 0
    with swtpm_rig.core() as core:
        assert core.attempts_remaining(vault) == 1
        use_up(core, vault, witness)
        end(core)
    assert len(witness.evaluated) == 1


@pytest.mark.parametrize("parked", [False, True], ids=["loaded", "saved"])
@pytest.mark.parametrize("hidden", [1, FOR_EVER], ids=["first-flush", "every-flush"])
def test_a_bus_that_keeps_the_session_of_a_dead_core_alive_cannot_fork_the_anchor(
    swtpm_rig: Rig, hidden: int, parked: bool
) -> None:
    """Who answers TPM2_FlushContext himself, for a write held back for a vault of his own, and sends it
    after a guess on the victim's vault was answered, would have that guess forgotten. So a core that
    cannot prove that all older sessions are gone does not start.
    """
    rig = swtpm_rig
    own, victim = seal(rig.cohort_public_key), seal(rig.cohort_public_key, max_attempts=2)
    witness = Witness.of(victim)
    command = held_back(rig, own, Witness.of(own))
    context = park_session(rig, command) if parked else b""
    rig.board.arm(Plan((Rule(Act.REFUSE, "tpm.FlushContext", last=hidden, code=0),)))
    assert start_refused(rig) in {"token_unavailable", "token_busy"}
    rig.board.arm()
    for guesses in (1, 2):
        with rig.core() as core:
            witness.guess(core, victim, wrong())
            end(core)
        assert not parked or unpark_session(rig, context) != 0
        assert send(rig, command) != 0
        assert len(witness.evaluated) == guesses
    with rig.core() as core:
        use_up(core, victim, witness)
        end(core)


def test_without_the_fence_the_same_bus_gets_more_guesses_than_the_limit() -> None:
    """What the proof at the start is for."""
    with make_rig("swtpm", seeded_bug="no-fence") as rig:
        victim = seal(rig.cohort_public_key, max_attempts=1)
        witness = Witness.of(victim)
        guess_and_have_it_forgotten(rig, victim, witness)
        with pytest.raises(InvariantBroken):
            guess_and_have_it_forgotten(rig, victim, witness)


def guess_and_have_it_forgotten(rig: Rig, victim: SealedVault, witness: Witness) -> None:
    """Hold back a write for a vault of one's own, guess on the victim's, then let the write through."""
    nodes = rig.machine.parts["nodes"]
    own = seal(rig.cohort_public_key)
    before = nodes.take()
    command = held_back(rig, own, Witness.of(own))
    context = park_session(rig, command)
    forked = nodes.take()
    nodes.restore(before)
    with rig.core() as core:
        witness.guess(core, victim, wrong())
        end(core)
    assert unpark_session(rig, context) == 0
    assert send(rig, command) == 0
    nodes.restore(forked)
    rig.device.restart()
