"""Proofs of inclusion and of consistency: RFC 6962, sections 2.1.1 and 2.1.2.

Making one takes a function that returns the hashes of nodes (:class:`hwkm.tlog.tiles.TileHashes`
is one); verifying takes the proof alone. The verifiers are those of RFC 9162, sections 2.1.3.2 and
2.1.4.2; they raise, and never return a bool.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from typing import Final

from hwkm.errors import NotConsistent, NotIncluded
from hwkm.tlog.merkle import HASH_BYTES, SIZE_MAX, Node, fold, node_hash, nodes_of_range

PROOF_HASHES_MAX: Final = 64
"""No proof about a tree of fewer than 2**63 leaves has more (consistency: height plus one)."""

ReadNodes = Callable[[Sequence[Node]], Sequence[bytes]]
"""Returns the hashes of nodes, in the order asked for."""


def prove_inclusion(index: int, size: int, read: ReadNodes) -> list[bytes]:
    """Return the proof that leaf ``index`` is in the tree of ``size`` leaves.

    Raises:
        NotIncluded: a tree of this size has no such leaf.
    """
    if not 0 <= index < size <= SIZE_MAX:
        raise NotIncluded(f"a tree of {size} leaves has no leaf {index}")
    ranges: list[tuple[int, int]] = []
    start, end = 0, size
    while end - start > 1:
        middle = start + _split(end - start)
        if index < middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    return _hashes(ranges, read)


def prove_consistency(old_size: int, new_size: int, read: ReadNodes) -> list[bytes]:
    """Return the proof that the first ``old_size`` leaves of the newer tree are the older tree.

    Empty if the older tree is, or if they are the same.

    Raises:
        NotConsistent: the older is the larger one.
    """
    if not 0 <= old_size <= new_size <= SIZE_MAX:
        raise NotConsistent(f"a tree of {new_size} leaves does not contain one of {old_size}")
    ranges: list[tuple[int, int]] = []
    start, end = 0, new_size
    while old_size not in (0, end):
        middle = start + _split(end - start)
        if old_size <= middle:
            ranges.append((middle, end))
            end = middle
        else:
            ranges.append((start, middle))
            start = middle
    if start > 0:  # the verifier knows the older root, but not that of its last part
        ranges.append((start, end))
    return _hashes(ranges, read)


def verify_inclusion(index: int, size: int, leaf: bytes, proof: Sequence[bytes], root: bytes) -> None:
    """Check that a leaf hash is at ``index`` of the tree of ``size`` leaves with this root.

    Raises:
        NotIncluded: it is not, as far as this proof shows.
    """
    if not 0 <= index < size <= SIZE_MAX or not _well_formed((leaf, root, *proof)):
        raise NotIncluded("the proof of inclusion is not one of this tree")
    at, last, computed = index, size - 1, leaf
    for sibling in proof:
        if last == 0:
            raise NotIncluded("the proof of inclusion is too long")
        if at & 1 or at == last:
            computed = node_hash(sibling, computed)
            at, last = _skip_missing(at, last)
        else:
            computed = node_hash(computed, sibling)
        at, last = at >> 1, last >> 1
    if last != 0 or computed != root:
        raise NotIncluded("the proof of inclusion does not lead to the root")


def verify_consistency(
    old_size: int, new_size: int, old_root: bytes, new_root: bytes, proof: Sequence[bytes]
) -> None:
    """Check that the newer tree contains the older one as its beginning.

    Every tree contains the empty one; of that its root is not looked at.

    Raises:
        NotConsistent: it does not, as far as this proof shows.
    """
    if not 0 <= old_size <= new_size <= SIZE_MAX or not _well_formed((old_root, new_root, *proof)):
        raise NotConsistent("the proof of consistency is not one of these two trees")
    if old_size in (0, new_size):
        if proof or (old_size == new_size and old_root != new_root):
            raise NotConsistent("two trees of one size have different roots, or a proof too many")
        return
    # If the older tree is complete, the proof leaves out its root.
    path = [old_root, *proof] if old_size & (old_size - 1) == 0 else list(proof)
    if not path or not _leads_to_both(path, old_size, new_size, old_root, new_root):
        raise NotConsistent("the newer tree does not contain the older one, or the proof is wrong")


def _leads_to_both(
    path: Sequence[bytes], old_size: int, new_size: int, old_root: bytes, new_root: bytes
) -> bool:
    at, last = old_size - 1, new_size - 1
    while at & 1:
        at, last = at >> 1, last >> 1
    older = newer = path[0]
    for sibling in path[1:]:
        if last == 0:
            return False
        if at & 1 or at == last:
            older, newer = node_hash(sibling, older), node_hash(sibling, newer)
            at, last = _skip_missing(at, last)
        else:
            newer = node_hash(newer, sibling)
        at, last = at >> 1, last >> 1
    return last == 0 and older == old_root and newer == new_root


def _skip_missing(at: int, last: int) -> tuple[int, int]:
    """Go up while there is no sibling: the right border of a tree has levels without one."""
    while at and not at & 1:
        at, last = at >> 1, last >> 1
    return at, last


def _split(count: int) -> int:
    """Return the largest power of two below ``count``, where RFC 6962 divides a tree."""
    return 1 << ((count - 1).bit_length() - 1)


def _hashes(ranges: Sequence[tuple[int, int]], read: ReadNodes) -> list[bytes]:
    """Return the hashes of ranges that were found from the root down, from the leaf up."""
    parts = [list(nodes_of_range(start, end)) for start, end in reversed(ranges)]
    found = iter(read([node for part in parts for node in part]))
    return [fold([next(found) for _ in part]) for part in parts]


def _well_formed(hashes: Sequence[bytes]) -> bool:
    return len(hashes) <= PROOF_HASHES_MAX + 2 and all(len(one) == HASH_BYTES for one in hashes)
