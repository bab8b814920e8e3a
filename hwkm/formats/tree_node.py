"""Nodes of the attempt tree, a 16-ary Merkle trie (``docs/spec/attempt-tree.md``).

A *leaf* is ``00``, its key (32), its value. A *branch* is ``01``, a bitmap of its children
(u16 BE, bit ``i`` for nibble ``i``), and their digests (32 each) by rising nibble. A node's name
is SHA-256 over a label and its bytes. The path to a leaf is the nibbles of its key, as far as
is needed to tell it from its neighbours. A digest of zeros stands for an empty tree and is no
child; a leaf has a value. So every node has exactly one encoding.
"""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from typing import Final

from hwkm.crypto import labels
from hwkm.errors import FormatError
from hwkm.formats.anchor import EMPTY_ROOT

KEY_BYTES: Final = 32
DEPTH_MAX: Final = KEY_BYTES * 2
NODE_BYTES_MAX: Final = 8192

_LEAF: Final = 0
_BRANCH: Final = 1
_NIBBLES: Final = range(16)
_DIGEST_BYTES: Final = 32
_BRANCH_HEAD_BYTES: Final = 3
_VALUE_BYTES_MAX: Final = NODE_BYTES_MAX - 1 - KEY_BYTES


@dataclass(frozen=True, slots=True)
class Leaf:
    """A key (32 bytes) and its value (1 to 8,159 bytes)."""

    key: bytes
    value: bytes

    def __post_init__(self) -> None:
        if len(self.key) != KEY_BYTES:
            raise FormatError(f"the key of a leaf is {KEY_BYTES} bytes")
        if not 1 <= len(self.value) <= _VALUE_BYTES_MAX:
            raise FormatError(f"the value of a leaf is 1 to {_VALUE_BYTES_MAX} bytes")

    def encode(self) -> bytes:
        """Return the node's bytes."""
        return bytes((_LEAF,)) + self.key + self.value


@dataclass(frozen=True, slots=True)
class Branch:
    """Children's digests (32 bytes) by nibble (0 to 15); at least one."""

    children: dict[int, bytes]

    def __post_init__(self) -> None:
        if not self.children or any(nibble not in _NIBBLES for nibble in self.children):
            raise FormatError("a branch has children, each under a nibble")
        if any(len(digest) != _DIGEST_BYTES or digest == EMPTY_ROOT for digest in self.children.values()):
            raise FormatError(f"a child of a branch is a digest of {_DIGEST_BYTES} bytes, not all zero")

    def encode(self) -> bytes:
        """Return the node's bytes."""
        nibbles = sorted(self.children)
        bitmap = sum(1 << nibble for nibble in nibbles)
        digests = (self.children[nibble] for nibble in nibbles)
        return b"".join((bytes((_BRANCH,)), bitmap.to_bytes(2, "big"), *digests))


Node = Leaf | Branch


def parse_node(data: bytes) -> Node:
    """Read a node.

    Raises:
        FormatError: unknown kind, no children, no value, or a wrong length.
    """
    kind = data[0] if data else None
    if kind == _LEAF:
        return Leaf(data[1 : 1 + KEY_BYTES], data[1 + KEY_BYTES :])
    if kind == _BRANCH:
        return _parse_branch(data)
    raise FormatError("not a tree node")


def _parse_branch(data: bytes) -> Branch:
    bitmap = int.from_bytes(data[1:_BRANCH_HEAD_BYTES], "big")
    nibbles = [nibble for nibble in _NIBBLES if bitmap >> nibble & 1]
    if len(data) != _BRANCH_HEAD_BYTES + _DIGEST_BYTES * len(nibbles):
        raise FormatError("branch length does not fit its bitmap")
    starts = range(_BRANCH_HEAD_BYTES, len(data), _DIGEST_BYTES)
    return Branch({n: data[at : at + _DIGEST_BYTES] for n, at in zip(nibbles, starts, strict=True)})


def node_digest(data: bytes) -> bytes:
    """Name a node's bytes: SHA-256 over a label and them; 32 bytes."""
    return hashlib.sha256(labels.TREE_NODE + data).digest()


def nibble_at(key: bytes, depth: int) -> int:
    """The nibble of ``key`` at ``depth`` (0 to 63), high half of each byte first."""
    byte = key[depth // 2]
    return byte >> 4 if depth % 2 == 0 else byte & 0x0F
