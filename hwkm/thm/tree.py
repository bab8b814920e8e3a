"""A 16-ary Merkle trie over untrusted, content-addressed storage. Copy on write.

Every node read from storage is checked against its digest before it is used; checked nodes are
kept in a bounded cache, which is trusted memory. The trie never writes: :meth:`Tree.updated`
returns the new root, the new nodes, and the digests that the new root no longer needs.
"""

from __future__ import annotations

from collections import OrderedDict
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Final

from hwkm.errors import FormatError, StorageMismatch
from hwkm.formats.anchor import EMPTY_ROOT
from hwkm.formats.tree_node import (
    DEPTH_MAX,
    Branch,
    Leaf,
    Node,
    nibble_at,
    node_digest,
    parse_node,
)
from hwkm.thm.ports import NodeStore

CACHED_NODES_MAX: Final = 50_000


@dataclass(slots=True)
class TreeChange:
    """A tree that is not true yet: its root, nodes to store (encoded and as such), digests it replaces."""

    root: bytes = EMPTY_ROOT
    nodes: dict[bytes, bytes] = field(default_factory=dict)
    parsed: dict[bytes, Node] = field(default_factory=dict)
    obsolete: set[bytes] = field(default_factory=set)


class Tree:
    """Reads and prepares versions of the tree; holds no root of its own."""

    def __init__(self, store: NodeStore) -> None:
        self._store = store
        self._cache: OrderedDict[bytes, Node] = OrderedDict()

    def get(self, root: bytes, key: bytes) -> bytes | None:
        """Return the value under ``key`` (32 bytes) in the tree of ``root``, or None.

        Raises:
            StorageMismatch: a node on the path is missing or is not what its digest says.
        """
        digest = root
        for depth in range(DEPTH_MAX + 1):
            if digest == EMPTY_ROOT:
                return None
            node = self.load(digest)
            if isinstance(node, Leaf):
                return node.value if node.key == key else None
            if depth == DEPTH_MAX:
                break
            digest = node.children.get(nibble_at(key, depth), EMPTY_ROOT)
        raise StorageMismatch("a branch of the attempt tree is deeper than a key is long")

    def updated(self, root: bytes, values: Mapping[bytes, bytes]) -> TreeChange:
        """Prepare the tree of ``root`` with ``values`` set. Writes nothing.

        Raises:
            StorageMismatch: as :meth:`get`.
        """
        change = TreeChange()
        leaves = [Leaf(key, value) for key, value in values.items()]
        change.root = self._merge(change, root, leaves, 0) if leaves else root
        unchanged = change.nodes.keys() & change.obsolete
        change.obsolete -= unchanged
        for digest in unchanged:
            del change.nodes[digest]
        return change

    def remember(self, change: TreeChange) -> None:
        """Take the nodes of a change that is now stored into the cache."""
        for digest in change.nodes:
            self._keep(digest, change.parsed[digest])
        for digest in change.obsolete:
            self._cache.pop(digest, None)

    def load(self, digest: bytes) -> Node:
        """Return the node named ``digest``, checked.

        Raises:
            StorageMismatch: storage does not have it, or has something else.
        """
        node = self._cache.get(digest)
        if node is not None:
            self._cache.move_to_end(digest)
            return node
        data = self._store.get(digest)
        if data is None:
            raise StorageMismatch(f"attempt state is incomplete: node {digest.hex()[:16]} is missing")
        if node_digest(data) != digest:
            raise StorageMismatch(f"attempt state was altered: node {digest.hex()[:16]} has other content")
        try:
            return self._keep(digest, parse_node(data))
        except FormatError as exc:
            raise StorageMismatch(f"attempt state is malformed: {exc}") from None

    def _keep(self, digest: bytes, node: Node) -> Node:
        self._cache[digest] = node
        if len(self._cache) > CACHED_NODES_MAX:
            self._cache.popitem(last=False)
        return node

    def _merge(self, change: TreeChange, digest: bytes, leaves: list[Leaf], depth: int) -> bytes:
        """The subtree ``digest`` at ``depth`` with ``leaves`` (at least one) put in."""
        if digest == EMPTY_ROOT:
            return _build(change, leaves, depth)
        node = self.load(digest)
        change.obsolete.add(digest)
        if isinstance(node, Leaf):
            stays = all(leaf.key != node.key for leaf in leaves)
            return _build(change, [*leaves, node] if stays else leaves, depth)
        children = dict(node.children)
        for nibble, group in _by_nibble(leaves, depth).items():
            children[nibble] = self._merge(change, children.get(nibble, EMPTY_ROOT), group, depth + 1)
        return _emit(change, Branch(children))


def _build(change: TreeChange, leaves: list[Leaf], depth: int) -> bytes:
    """A new subtree of leaves with distinct keys."""
    if len(leaves) == 1:
        return _emit(change, leaves[0])
    groups = _by_nibble(leaves, depth)
    return _emit(change, Branch({n: _build(change, group, depth + 1) for n, group in groups.items()}))


def _by_nibble(leaves: Iterable[Leaf], depth: int) -> dict[int, list[Leaf]]:
    groups: dict[int, list[Leaf]] = {}
    for leaf in leaves:
        groups.setdefault(nibble_at(leaf.key, depth), []).append(leaf)
    return groups


def _emit(change: TreeChange, node: Node) -> bytes:
    data = node.encode()
    digest = node_digest(data)
    change.nodes[digest] = data
    change.parsed[digest] = node
    return digest
