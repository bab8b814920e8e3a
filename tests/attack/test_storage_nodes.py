"""The node store rolled back, damaged, spliced (attack 2): refused, no verdict, never an older state."""

from __future__ import annotations

from collections.abc import Callable, Iterator
from contextlib import suppress
from pathlib import Path

import pytest

from hwkm.errors import StorageMismatch
from hwkm.formats.anchor import EMPTY_ROOT
from hwkm.formats.counter import Counter, counter_key
from hwkm.formats.tree_node import Leaf, parse_node
from hwkm.formats.vault_params import VaultParams
from hwkm.thm.tree import Tree
from hwkm.wire import core_messages as wire
from tests.core_process import CoreEnded, CoreProcess
from tests.devices import provisioned
from tests.harness.history import History, refusal, start
from tests.harness.invariant import Witness, verdict_of
from tests.harness.node_files import Nodes, nodes_of, reachable, root_of, write_nodes
from tests.harness.rig import Rig
from tests.harness.snapshot import DirectoryPart
from tests.harness.trial import LIMIT, end, use_up, wrong
from tests.vault_clients import make_claim, seal
from tests.vault_world import DictionaryNodes

pytestmark = pytest.mark.attack

MISMATCH = "storage_mismatch"


@pytest.fixture(scope="module")
def history(rig: Rig) -> History:
    return History.make(rig)


@pytest.fixture(scope="module")
def tree(history: History) -> Nodes:
    """The nodes of the true state, the root first."""
    history.again()
    with history.rig.nursery.core() as core:
        assert isinstance(core.start(wire.Sweep(settings=history.rig.settings)), wire.Swept)
    nodes = nodes_of(history.rig.machine.take("nodes")["nodes"])
    history.again()
    return reachable(nodes, root_of(nodes))


def nodes_path(history: History) -> Path:
    return Path(history.rig.settings.nodes_path)


# --- rolled back -----------------------------------------------------------------------------


def test_node_store_rolled_back_to_any_earlier_snapshot_is_refused(
    history: History, record_property: Callable[[str, object], None]
) -> None:
    history.again()
    earlier = [moment for moment in history.moments if moment.epoch < history.last.epoch]
    assert [moment.epoch for moment in earlier] == list(range(history.last.epoch))
    for moment in earlier:
        history.rig.machine.restore(moment.taken, "nodes")
        assert refusal(history.rig) == MISMATCH, f"the snapshot of epoch {moment.epoch} was taken"
    history.again()
    with history.rig.core() as core:
        assert history.remaining(core) == history.last.remaining
    record_property("snapshots", len(earlier))


def test_all_snapshots_together_do_not_bring_an_older_state_back(history: History) -> None:
    """The best an attacker can have: every node there ever was. The anchor still names one root."""
    witnesses = history.again()
    everything = {
        digest: data for moment in history.moments for digest, data in nodes_of(moment.taken["nodes"]).items()
    }
    write_nodes(nodes_path(history), everything)
    with history.rig.core() as core:
        assert history.remaining(core) == history.last.remaining
        use_up(core, history.vaults["spent"], witnesses["spent"])


def test_node_store_taken_back_under_a_running_core_gives_no_attempt_back(
    history: History, record_property: Callable[[str, object], None]
) -> None:
    """The files are written over in place, while the core has them open and has read the root only."""
    refused = 0
    for moment in history.moments:
        witness = history.again()["spent"]
        vault = history.vaults["spent"]
        with history.rig.core() as core:
            overwrite(history, moment.taken["nodes"])
            replies = [guess_once(core, history, "spent", witness) for _ in range(3)]
            refused += any(isinstance(reply, wire.Failed) for reply in replies)
            end_whatever_happens(core)
        with history.rig.nursery.core() as core:
            started = core.start(wire.Serve(settings=history.rig.settings))
            if isinstance(started, wire.Failed):
                assert started.code == MISMATCH
                continue
            if isinstance(guess_once(core, history, "spent", witness), wire.VaultWrong | wire.VaultIsLocked):
                assert core.attempts_remaining(vault) == witness.limit - len(witness.evaluated)
    record_property("refused", refused)


def overwrite(history: History, files: dict[str, bytes]) -> None:
    """Write a snapshot into the very files that are open."""
    directory = nodes_path(history).parent
    for name in DirectoryPart(directory).take() | files:
        with (directory / name).open("r+b" if (directory / name).exists() else "xb") as file:
            file.write(files.get(name, b""))
            file.truncate()


def guess_once(core: CoreProcess, history: History, name: str, witness: Witness) -> wire.CoreReply | None:
    """Guess wrongly, if a challenge can be had; None if the core has ended."""
    vault = history.vaults[name]
    with suppress(CoreEnded):
        issued = core.call(wire.IssueChallenge(params=vault.params, vault=vault.blob))
        if not isinstance(issued, wire.ChallengeIssued):
            return issued
        return witness.present(core, make_claim(vault, wrong(), issued.challenge))
    return None


def end_whatever_happens(core: CoreProcess) -> None:
    with suppress(CoreEnded):
        end(core)


# --- damaged and spliced ---------------------------------------------------------------------

Damage = tuple[str, Nodes]
"""What was done, and the store after it."""


def leaf_key(history: History, name: str) -> bytes:
    return counter_key(VaultParams.parse(history.vaults[name].params))


def damages(history: History, tree: Nodes, foreign: Nodes) -> Iterator[tuple[bytes, Damage]]:
    """For every node of the tree everything that can be put in its place."""
    for digest, data in tree.items():
        yield digest, ("deleted", {key: value for key, value in tree.items() if key != digest})
        for what, other in replacements(history, tree, foreign, data):
            if other != data:
                yield digest, (what, tree | {digest: other})


def replacements(history: History, tree: Nodes, foreign: Nodes, data: bytes) -> Iterator[tuple[str, bytes]]:
    yield "first bit flipped", flipped(data, 0)
    yield "last bit flipped", flipped(data, len(data) * 8 - 8)
    yield "cut", data[:-1]
    yield "emptied", b""
    yield "longer", data + b"\0"
    for other in tree.values():
        yield "replaced by another node", other
    for other in foreign.values():
        yield "replaced by a node of another token", other
    for moment in history.moments[:-1]:
        for older in nodes_of(moment.taken["nodes"]).values():
            yield f"replaced by a node of epoch {moment.epoch}", older
    node = parse_node(data)
    if isinstance(node, Leaf):
        counter = Counter.parse(node.value)
        yield "forged: never charged", Leaf(node.key, Counter(counter.vault_digest).encode()).encode()
        for neighbour in map(parse_node, tree.values()):
            if isinstance(neighbour, Leaf):
                yield "spliced from another vault", Leaf(node.key, neighbour.value).encode()


def affected(history: History, tree: Nodes, digest: bytes) -> set[str]:
    """The vaults whose counters lie at or below a node; the root is read at the start."""
    below = [parse_node(data) for data in reachable(tree, digest).values()]
    keys = {leaf.key for leaf in below if isinstance(leaf, Leaf)}
    return {name for name in history.vaults if leaf_key(history, name) in keys}


@pytest.fixture(scope="module")
def foreign(history: History, tmp_path_factory: pytest.TempPathFactory) -> Nodes:
    """The store of another token, on which the very same counters were charged less."""
    directory = tmp_path_factory.mktemp("foreign")
    for module in provisioned("memory", directory):
        with module.core() as core:
            for vault in history.vaults.values():
                params = VaultParams.parse(vault.params)
                twin = seal(module.cohort_public_key, counter_id=params.counter_id, handle=params.handle)
                core.guess(twin, twin.kf_hash)
            end(core)
        return nodes_of(DirectoryPart(directory).take())
    raise AssertionError


def test_every_node_deleted_flipped_cut_swapped_spliced_or_older_is_refused_and_stops_every_opening(
    history: History, tree: Nodes, foreign: Nodes, record_property: Callable[[str, object], None]
) -> None:
    history.again()
    seen = set()
    for digest, (what, store) in damages(history, tree, foreign):
        # Hashes do not depend on the hardware: there, once for a root and once for a leaf is enough.
        in_place = store.get(digest) if history.rig.kind == "memory" else what
        if (digest == next(iter(tree)), in_place) in seen:
            continue
        seen.add((digest == next(iter(tree)), in_place))
        history.again("nodes")
        write_nodes(nodes_path(history), store)
        try:
            check_refused(history, affected(history, tree, digest))
        except BaseException as exc:
            exc.add_note(f"{digest.hex()[:8]} {what}")
            raise
    check_unharmed(history)
    record_property("damages", len(seen))


def check_refused(history: History, names: set[str]) -> None:
    """The vaults below the damage get no verdict; from then on no vault does, until a restart."""
    with history.rig.nursery.core() as core:
        started = core.start(wire.Serve(settings=history.rig.settings))
        if isinstance(started, wire.Failed):
            assert started.code == MISMATCH
            assert names == set(history.vaults), "the root was whole, and the core did not start"
            return
        for name in history.vaults.keys() - names:
            assert core.attempts_remaining(history.vaults[name]) == history.last.remaining[name]
        for name in [*sorted(names), *sorted(history.vaults.keys() - names)]:
            check_no_verdict(core, history, name)
        statistics = core.call(wire.ReadStatistics())
        assert isinstance(statistics, wire.Statistics)
        assert statistics.halted
        assert statistics.epoch == history.last.epoch


def check_no_verdict(core: CoreProcess, history: History, name: str) -> None:
    """Neither challenge, nor status, nor verdict, whatever is claimed."""
    vault = history.vaults[name]
    requests: list[wire.CoreRequest] = [
        wire.IssueChallenge(params=vault.params, vault=vault.blob),
        wire.ReadCounter(params=vault.params),
        wire.ResumeVault(params=vault.params),
    ]
    for kf_hash in (vault.kf_hash, wrong()):
        claim = make_claim(vault, kf_hash, bytes(32)).request
        requests.append(
            wire.OpenVault(params=vault.params, vault=vault.blob, challenge=bytes(32), claim=claim.claim)
        )
    for request in requests:
        reply = core.call(request)
        assert verdict_of(reply) is None
        assert isinstance(reply, wire.Failed), reply
        assert reply.code == MISMATCH


def check_unharmed(history: History) -> None:
    """With the true store back, everything is as it was: trying cost nothing and gave nothing."""
    witnesses = history.again("nodes")
    with history.rig.core() as core:
        assert history.remaining(core) == history.last.remaining
        use_up(core, history.vaults["spent"], witnesses["spent"])
    history.again()


def test_any_bit_flipped_in_any_node_is_refused(
    history: History, tree: Nodes, record_property: Callable[[str, object], None]
) -> None:
    """By the trie that the core uses, as each life of a core finds one only."""
    flips = 0
    for digest, data in tree.items():
        for bit in range(len(data) * 8):
            store = DictionaryNodes()
            store.nodes = {digest: flipped(data, bit)}
            with pytest.raises(StorageMismatch):
                Tree(store).load(digest)
            flips += 1
    record_property("flips", flips)


def flipped(data: bytes, bit: int) -> bytes:
    changed = bytearray(data)
    changed[bit // 8] ^= 1 << bit % 8
    return bytes(changed)


def test_node_store_of_another_token_is_refused_even_if_its_counters_have_the_same_names(
    history: History, foreign: Nodes
) -> None:
    history.again()
    write_nodes(nodes_path(history), foreign)
    assert refusal(history.rig) == MISMATCH
    renamed = dict(zip(sorted(foreign), foreign.values(), strict=True))
    write_nodes(nodes_path(history), renamed)
    assert refusal(history.rig) == MISMATCH
    history.again()


def test_a_tree_built_by_the_attacker_with_no_attempts_in_it_is_refused(history: History) -> None:
    """Every node of it is sound and has its right name: only the anchor tells it from the true one."""
    history.again()
    never_charged = Counter(bytes(range(32))).encode()
    values = {leaf_key(history, name): never_charged for name in history.vaults}
    nodes = Tree(DictionaryNodes()).updated(EMPTY_ROOT, values).nodes
    write_nodes(nodes_path(history), nodes)
    assert refusal(history.rig) == MISMATCH
    history.again()


@pytest.mark.parametrize("what", ["gone", "empty", "garbage", "cut", "another database"])
def test_node_store_file_destroyed_is_refused_and_not_begun_anew(history: History, what: str) -> None:
    history.again()
    path = nodes_path(history)
    whole = nodes_of(history.last.taken["nodes"])
    write_nodes(path, whole)
    data = path.read_bytes()
    match what:
        case "gone":
            path.unlink()
        case "empty":
            path.write_bytes(b"")
        case "garbage":
            path.write_bytes(bytes(reversed(data)))
        case "cut":
            path.write_bytes(data[: len(data) // 2])
        case _:
            path.write_bytes(data[:60] + bytes(16) + data[76:])
    for _ in range(2):
        assert refusal(history.rig) == MISMATCH
    check_unharmed(history)


def test_a_token_that_was_never_charged_needs_no_nodes_and_so_refuses_none(history: History) -> None:
    """The beginning: with an empty tree whatever lies in the store is ignored, not believed."""
    history.rig.machine.restore(history.moments[0].taken, "device")
    history.rig.machine.restore(history.last.taken, "nodes")
    assert isinstance(start(history.rig), wire.Ready)
    with history.rig.core() as core:
        assert history.remaining(core) == dict.fromkeys(history.vaults, LIMIT)
    history.again()
