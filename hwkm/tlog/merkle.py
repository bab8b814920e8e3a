"""The Merkle tree of RFC 6962, section 2.1, over SHA-256, and the state that appending needs.

A *node* is a complete subtree: level ``l`` and index ``i`` cover the leaves ``i * 2**l`` up to, not
including, ``(i + 1) * 2**l``. Whatever the size of a tree, it is made of at most 64 of them.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from hashlib import sha256
from typing import Final, Self

from hwkm.errors import FormatError

HASH_BYTES: Final = 32
SIZE_MAX: Final = 2**63 - 1
EMPTY_ROOT: Final = sha256(b"").digest()


@dataclass(frozen=True, slots=True)
class Node:
    """A complete subtree."""

    level: int
    index: int


def leaf_hash(entry: bytes) -> bytes:
    """Return the hash of an entry as a leaf."""
    return sha256(b"\x00" + entry).digest()


def node_hash(left: bytes, right: bytes) -> bytes:
    """Return the hash of the node above two nodes."""
    return sha256(b"\x01" + left + right).digest()


def root_of(leaves: Iterable[bytes]) -> bytes:
    """Return the root over these leaf hashes."""
    frontier = Frontier()
    frontier.extend(leaves)
    return frontier.root()


def nodes_of_range(start: int, end: int) -> Iterator[Node]:
    """Yield the complete subtrees that make up the leaves ``start`` to ``end``, left to right.

    ``start`` is where a subtree of the tree begins: a multiple of a power of two that is at least
    the length of the range.
    """
    while start < end:
        level = (end - start).bit_length() - 1
        yield Node(level, start >> level)
        start += 1 << level


def fold(hashes: Sequence[bytes]) -> bytes:
    """Return the root above subtrees that shrink from left to right; of nothing, the empty root."""
    if not hashes:
        return EMPTY_ROOT
    *before, root = hashes
    for left in reversed(before):
        root = node_hash(left, root)
    return root


class Frontier:
    """What of a tree is needed to go on: the roots of its complete subtrees, left to right."""

    __slots__ = ("_hashes", "size")

    def __init__(self, size: int = 0, hashes: Iterable[bytes] = ()) -> None:
        """Take up a tree of ``size`` leaves.

        Raises:
            FormatError: so many hashes are not the frontier of a tree of this size.
        """
        self.size = size
        self._hashes = list(hashes)
        if not 0 <= size <= SIZE_MAX or len(self._hashes) != size.bit_count():
            raise FormatError(f"not the frontier of a tree of {size} leaves")
        if any(len(one) != HASH_BYTES for one in self._hashes):
            raise FormatError(f"a hash is {HASH_BYTES} bytes")

    @property
    def hashes(self) -> tuple[bytes, ...]:
        """The roots of the complete subtrees, the largest first."""
        return tuple(self._hashes)

    def append(self, leaf: bytes) -> None:
        """Add one leaf hash."""
        hashes, carry = self._hashes, self.size
        while carry & 1:
            leaf = sha256(b"\x01" + hashes.pop() + leaf).digest()
            carry >>= 1
        hashes.append(leaf)
        self.size += 1

    def extend(self, leaves: Iterable[bytes]) -> None:
        """Add leaf hashes."""
        for leaf in leaves:
            self.append(leaf)

    def root(self) -> bytes:
        """Return the root of the tree."""
        return fold(self._hashes)

    def copy(self) -> Self:
        """Return a frontier of its own."""
        return type(self)(self.size, self._hashes)
