"""Removes nodes that crashes left behind in the node store."""

from __future__ import annotations

from collections.abc import Iterator

from hwkm.formats.anchor import EMPTY_ROOT
from hwkm.formats.tree_node import Branch
from hwkm.thm.ports import NodeStore
from hwkm.thm.tree import Tree


def reachable_nodes(nodes: NodeStore, root: bytes) -> Iterator[bytes]:
    """Yield the digest of every node of the tree of ``root``, each checked.

    Raises:
        StorageMismatch: a node is missing or altered.
    """
    tree = Tree(nodes)
    pending = [] if root == EMPTY_ROOT else [root]
    while pending:
        digest = pending.pop()
        yield digest
        node = tree.load(digest)
        if isinstance(node, Branch):
            pending.extend(node.children.values())
