"""Every proof that we make verifies, and verifies nothing else."""

from __future__ import annotations

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkm.errors import FormatError, NotConsistent, NotIncluded
from hwkm.tlog.merkle import EMPTY_ROOT, SIZE_MAX, Frontier, Node, fold, nodes_of_range, root_of
from hwkm.tlog.proofs import (
    PROOF_HASHES_MAX,
    prove_consistency,
    prove_inclusion,
    verify_consistency,
    verify_inclusion,
)
from tests.unit.tlog.trees import leaves_of, tile_hashes

LEAVES = leaves_of(700)

sizes = st.integers(1, len(LEAVES))


@given(st.data(), sizes)
def test_every_leaf_of_every_tree_is_included(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    proof = prove_inclusion(index, size, tile_hashes(LEAVES[:size]))
    verify_inclusion(index, size, LEAVES[index], proof, root_of(LEAVES[:size]))


@given(st.data(), sizes)
def test_every_tree_contains_every_smaller_one(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(0, size))
    proof = prove_consistency(old, size, tile_hashes(LEAVES[:size]))
    verify_consistency(old, size, root_of(LEAVES[:old]), root_of(LEAVES[:size]), proof)


def test_every_proof_of_small_trees() -> None:
    for size in range(1, 34):
        read, root = tile_hashes(LEAVES[:size]), root_of(LEAVES[:size])
        for index in range(size):
            verify_inclusion(index, size, LEAVES[index], prove_inclusion(index, size, read), root)
        for old in range(size + 1):
            proof = prove_consistency(old, size, read)
            verify_consistency(old, size, root_of(LEAVES[:old]), root, proof)


@settings(max_examples=200)
@given(st.data(), st.integers(2, len(LEAVES)))
def test_a_changed_inclusion_proof_shows_nothing(data: st.DataObject, size: int) -> None:
    index = data.draw(st.integers(0, size - 1))
    leaf, root = LEAVES[index], root_of(LEAVES[:size])
    proof = prove_inclusion(index, size, tile_hashes(LEAVES[:size]))
    for changed in damaged(data, proof):
        with pytest.raises(NotIncluded):
            verify_inclusion(index, size, leaf, changed, root)
    other = data.draw(st.integers(0, size - 1).filter(lambda one: one != index))
    with pytest.raises(NotIncluded):
        verify_inclusion(other, size, leaf, proof, root)


@settings(max_examples=200)
@given(st.data(), st.integers(2, len(LEAVES)))
def test_a_changed_consistency_proof_shows_nothing(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size - 1))
    older, newer = root_of(LEAVES[:old]), root_of(LEAVES[:size])
    proof = prove_consistency(old, size, tile_hashes(LEAVES[:size]))
    for changed in damaged(data, proof):
        with pytest.raises(NotConsistent):
            verify_consistency(old, size, older, newer, changed)
    with pytest.raises(NotConsistent):
        verify_consistency(old, size, LEAVES[-1], newer, proof)
    with pytest.raises(NotConsistent):
        verify_consistency(old, size, older, LEAVES[-1], proof)


@given(st.data(), st.integers(2, 300))
def test_a_fork_is_never_consistent(data: st.DataObject, size: int) -> None:
    old = data.draw(st.integers(1, size - 1))
    at = data.draw(st.integers(0, old - 1))
    forked = [*LEAVES[:at], LEAVES[-1], *LEAVES[at + 1 : size]]
    proof = prove_consistency(old, size, tile_hashes(forked))
    with pytest.raises(NotConsistent):
        verify_consistency(old, size, root_of(LEAVES[:old]), root_of(forked), proof)


def damaged(data: st.DataObject, proof: list[bytes]) -> list[list[bytes]]:
    """One bit flipped, one hash removed, one doubled, one too many, one too short."""
    at = data.draw(st.integers(0, len(proof) - 1))
    bit = data.draw(st.integers(0, 255))
    one = bytearray(proof[at])
    one[bit // 8] ^= 1 << bit % 8
    return [
        [*proof[:at], bytes(one), *proof[at + 1 :]],
        [*proof[:at], *proof[at + 1 :]],
        [*proof[:at], proof[at], *proof[at:]],
        [*proof, proof[at]],
        [*proof[:at], proof[at][:31], *proof[at + 1 :]],
    ]


@pytest.mark.parametrize(("index", "size"), [(0, 0), (1, 1), (-1, 3), (7, 7), (8, 7), (0, SIZE_MAX + 1)])
def test_there_is_no_proof_of_a_leaf_that_is_not_there(index: int, size: int) -> None:
    with pytest.raises(NotIncluded):
        prove_inclusion(index, size, tile_hashes(LEAVES[:7]))
    with pytest.raises(NotIncluded):
        verify_inclusion(index, size, LEAVES[0], [], LEAVES[0])


@pytest.mark.parametrize(("old", "new"), [(9, 8), (-1, 3), (0, -1), (3, SIZE_MAX + 1)])
def test_there_is_no_proof_backwards(old: int, new: int) -> None:
    with pytest.raises(NotConsistent):
        prove_consistency(old, new, tile_hashes(LEAVES[:8]))
    with pytest.raises(NotConsistent):
        verify_consistency(old, new, LEAVES[0], LEAVES[0], [])


def test_trees_of_one_size() -> None:
    verify_consistency(0, 0, EMPTY_ROOT, EMPTY_ROOT, [])
    verify_consistency(0, 5, EMPTY_ROOT, LEAVES[0], [])
    verify_consistency(5, 5, LEAVES[0], LEAVES[0], [])
    with pytest.raises(NotConsistent):
        verify_consistency(5, 5, LEAVES[0], LEAVES[1], [])
    with pytest.raises(NotConsistent):
        verify_consistency(0, 0, EMPTY_ROOT, LEAVES[1], [])
    with pytest.raises(NotConsistent):
        verify_consistency(0, 5, EMPTY_ROOT, LEAVES[0], [LEAVES[1]])


def test_a_proof_is_of_bounded_length() -> None:
    with pytest.raises(NotIncluded):
        verify_inclusion(0, SIZE_MAX, LEAVES[0], [LEAVES[1]] * (PROOF_HASHES_MAX + 1), LEAVES[2])


def test_the_largest_tree_has_proofs_of_the_stated_length() -> None:
    longest = 0
    for index in (0, SIZE_MAX - 1, SIZE_MAX // 2, SIZE_MAX // 3):
        longest = max(longest, len(prove_inclusion(index, SIZE_MAX, lambda nodes: [LEAVES[0]] * len(nodes))))
        proof = prove_consistency(index + 1, SIZE_MAX, lambda nodes: [LEAVES[0]] * len(nodes))
        longest = max(longest, len(proof))
    assert longest == PROOF_HASHES_MAX


# --- the frontier ----------------------------------------------------------------------------


@given(sizes, st.integers(0, 100))
def test_a_frontier_taken_up_again_goes_on_as_the_whole_tree_would(size: int, more: int) -> None:
    frontier = Frontier()
    frontier.extend(LEAVES[:size])
    taken_up = Frontier(frontier.size, frontier.hashes)
    copied = taken_up.copy()
    taken_up.extend(LEAVES[size : size + more])
    assert taken_up.root() == root_of(LEAVES[: size + more])
    assert copied.root() == frontier.root() == root_of(LEAVES[:size])
    assert tile_hashes(LEAVES[:size]).frontier().hashes == frontier.hashes


@pytest.mark.parametrize(
    ("size", "hashes"),
    [(-1, []), (1, []), (2, [LEAVES[0]] * 2), (3, [LEAVES[0], b"short"]), (SIZE_MAX + 1, [LEAVES[0]])],
)
def test_what_is_no_frontier_is_refused(size: int, hashes: list[bytes]) -> None:
    with pytest.raises(FormatError):
        Frontier(size, hashes)


def test_nodes_of_a_range() -> None:
    assert list(nodes_of_range(0, 7)) == [Node(2, 0), Node(1, 2), Node(0, 6)]
    assert list(nodes_of_range(8, 8)) == []
    assert fold([]) == EMPTY_ROOT
