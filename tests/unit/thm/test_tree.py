"""The attempt tree against a dictionary, and its storage against what it promises."""

from __future__ import annotations

import hashlib
from collections.abc import Iterator

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st

from hwkm.errors import StorageMismatch
from hwkm.formats.anchor import EMPTY_ROOT
from hwkm.formats.tree_node import Branch, Leaf
from hwkm.thm.tree import Tree
from tests.vault_world import DictionaryNodes

# Few distinct first bytes, so that keys share long prefixes.
keys = st.builds(
    lambda head, tail: bytes([head]) * 30 + bytes([tail, 7]), st.integers(0, 2), st.integers(0, 255)
)
batches = st.lists(
    st.dictionaries(keys, st.binary(min_size=1, max_size=40), min_size=1, max_size=8), max_size=12
)


def reachable(tree: Tree, digest: bytes) -> Iterator[bytes]:
    if digest == EMPTY_ROOT:
        return
    yield digest
    node = tree.load(digest)
    if isinstance(node, Branch):
        for child in node.children.values():
            yield from reachable(tree, child)


@given(batches)
@settings(max_examples=200)
def test_tree_reads_as_a_dictionary_and_keeps_no_garbage(batches: list[dict[bytes, bytes]]) -> None:
    store, root = DictionaryNodes(), EMPTY_ROOT
    model: dict[bytes, bytes] = {}
    for batch in batches:
        change = Tree(store).updated(root, batch)
        store.put(change.nodes, change.obsolete)
        root, model = change.root, {**model, **batch}
        tree = Tree(store)
        assert {key: tree.get(root, key) for key in model} == model
        assert set(reachable(tree, root)) == set(store.nodes)


@given(st.dictionaries(keys, st.binary(min_size=1), min_size=1, max_size=12), st.randoms())
def test_root_does_not_depend_on_the_order_of_insertion(values: dict[bytes, bytes], random) -> None:  # type: ignore[no-untyped-def]
    store = DictionaryNodes()
    at_once = Tree(store).updated(EMPTY_ROOT, values).root
    items, root = list(values.items()), EMPTY_ROOT
    random.shuffle(items)
    for key, value in items:
        change = Tree(store).updated(root, {key: value})
        store.put(change.nodes, ())
        root = change.root
    assert root == at_once


def test_setting_the_same_value_stores_and_drops_nothing() -> None:
    store = DictionaryNodes()
    values = {hashlib.sha256(bytes([i])).digest(): bytes([i]) for i in range(20)}
    change = Tree(store).updated(EMPTY_ROOT, values)
    store.put(change.nodes, ())
    again = Tree(store).updated(change.root, dict(list(values.items())[:5]))
    assert again.root == change.root
    assert (again.nodes, again.obsolete) == ({}, set())


def test_absent_key_beside_a_leaf_reads_as_none() -> None:
    store = DictionaryNodes()
    change = Tree(store).updated(EMPTY_ROOT, {bytes(32): b"x"})
    store.put(change.nodes, ())
    assert Tree(store).get(change.root, bytes(31) + b"\1") is None


def test_a_leaf_in_place_of_another_is_not_taken_for_it() -> None:
    """Splicing: storage answers the digest of one leaf with the bytes of another."""
    store = DictionaryNodes()
    values = {hashlib.sha256(bytes([i])).digest(): bytes([i]) * 9 for i in range(16)}
    change = Tree(store).updated(EMPTY_ROOT, values)
    store.put(change.nodes, ())
    leaves = [digest for digest in store.nodes if isinstance(Tree(store).load(digest), Leaf)]
    store.nodes[leaves[0]], store.nodes[leaves[1]] = store.nodes[leaves[1]], store.nodes[leaves[0]]
    tree, refused = Tree(store), 0
    for key, value in values.items():
        try:
            assert tree.get(change.root, key) == value
        except StorageMismatch:
            refused += 1
    assert refused == 2


@pytest.mark.parametrize("kind", ["missing", "truncated", "garbage"])
def test_a_damaged_root_is_refused(kind: str) -> None:
    store = DictionaryNodes()
    change = Tree(store).updated(EMPTY_ROOT, {bytes(32): b"x", b"\xff" * 32: b"y"})
    store.put(change.nodes, ())
    damage = {"missing": None, "truncated": store.nodes[change.root][:-1], "garbage": b"\7"}[kind]
    if damage is None:
        del store.nodes[change.root]
    else:
        store.nodes[change.root] = damage
    with pytest.raises(StorageMismatch):
        Tree(store).get(change.root, bytes(32))
