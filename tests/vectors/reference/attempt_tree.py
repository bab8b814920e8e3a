"""Counters and the attempt tree from docs/spec/attempt-tree.md, over hex digits."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass, field


def counter_key(counter_id: int, handle: bytes) -> bytes:
    return hashlib.sha256(b"hwkm counter key v1" + counter_id.to_bytes(8, "little") + handle).digest()


def claim_entry(digest: bytes, boot_id: bytes, ms: int) -> bytes:
    return digest + boot_id + ms.to_bytes(8, "big")


def counter(
    numbers: tuple[int, int], vault_digest: bytes, charged_at: bytes, opened: bytes, charges: list[bytes]
) -> bytes:
    """``numbers`` are carried and unresolved; ``charged_at`` is boot id and milliseconds, 24 bytes."""
    head = bytes([1, *numbers, len(charges)])
    return head + vault_digest + charged_at + (opened or bytes(56)) + b"".join(charges)


def node_digest(node: bytes) -> bytes:
    return hashlib.sha256(b"hwkm tree node v1" + node).digest()


def leaf(key: bytes, value: bytes) -> bytes:
    return b"\0" + key + value


def branch(children: dict[str, bytes]) -> bytes:
    """Children's digests by hex digit."""
    bits = ["1" if digit in children else "0" for digit in "fedcba9876543210"]
    bitmap = int("".join(bits), 2).to_bytes(2, "big")
    return b"\1" + bitmap + b"".join(children[digit] for digit in sorted(children))


@dataclass
class Tree:
    """All nodes of a tree of leaves, children before parents."""

    nodes: list[bytes] = field(default_factory=list)

    def root(self, values: dict[bytes, bytes]) -> bytes:
        by_digits = {key.hex(): leaf(key, value) for key, value in values.items()}
        return self._subtree(by_digits, 0) if by_digits else bytes(32)

    def _subtree(self, leaves: dict[str, bytes], depth: int) -> bytes:
        if len(leaves) == 1:
            return self._named(next(iter(leaves.values())))
        children = {}
        for digit in sorted({digits[depth] for digits in leaves}):
            below = {digits: node for digits, node in leaves.items() if digits[depth] == digit}
            children[digit] = self._subtree(below, depth + 1)
        return self._named(branch(children))

    def _named(self, node: bytes) -> bytes:
        self.nodes.append(node)
        return node_digest(node)
