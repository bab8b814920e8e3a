"""Nodes that no bytes stand for, and the digits of a key."""

from __future__ import annotations

import pytest

from hwkm.errors import FormatError
from hwkm.formats.counter import MAX_ATTEMPTS_CEILING, ClaimEntry, Counter, Instant
from hwkm.formats.tree_node import NODE_BYTES_MAX, Branch, Leaf, nibble_at, node_digest, parse_node

KEY, CHILD = b"\1" * 32, b"\2" * 32


@pytest.mark.parametrize("key", [b"", KEY[1:], KEY + b"\0"])
def test_leaf_with_another_key_length_is_refused(key: bytes) -> None:
    with pytest.raises(FormatError):
        Leaf(key, b"value")


@pytest.mark.parametrize("size", [0, NODE_BYTES_MAX - 32])
def test_leaf_without_or_with_too_much_value_is_refused(size: int) -> None:
    with pytest.raises(FormatError):
        Leaf(KEY, bytes(size))


def test_longest_leaf_is_taken_and_a_byte_more_refused() -> None:
    data = Leaf(KEY, bytes(NODE_BYTES_MAX - 33)).encode()
    assert len(data) == NODE_BYTES_MAX
    assert parse_node(data).encode() == data
    with pytest.raises(FormatError):
        parse_node(data + b"\0")


@pytest.mark.parametrize("children", [{}, {16: CHILD}, {-1: CHILD}, {0: b""}, {0: CHILD[1:]}, {3: bytes(32)}])
def test_branch_that_cannot_be_encoded_is_refused(children: dict[int, bytes]) -> None:
    with pytest.raises(FormatError):
        Branch(children)


def test_order_of_insertion_does_not_show() -> None:
    forwards = Branch({nibble: bytes([nibble + 1]) * 32 for nibble in range(16)})
    backwards = Branch(dict(reversed(forwards.children.items())))
    assert forwards.encode() == backwards.encode()
    assert forwards == backwards


def test_leaf_of_the_fullest_counter_fits_a_node() -> None:
    charge = ClaimEntry(CHILD, Instant(bytes(16), 2**64 - 1))
    counter = Counter(CHILD, charges=(charge,) * MAX_ATTEMPTS_CEILING)
    assert len(Leaf(KEY, counter.encode()).encode()) <= NODE_BYTES_MAX


def test_digits_of_a_key_are_its_hex_digits() -> None:
    key = bytes(range(0x10, 0x30))
    assert "".join(f"{nibble_at(key, depth):x}" for depth in range(64)) == key.hex()


def test_digest_of_a_node_is_not_its_plain_hash() -> None:
    """A label: a node can pass for nothing else that is hashed, and nothing else for a node."""
    leaf = Leaf(KEY, b"value").encode()
    branch = Branch({1: CHILD}).encode()
    assert node_digest(leaf) != node_digest(branch)
    assert len(node_digest(leaf)) == 32
