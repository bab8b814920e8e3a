"""Trees in memory, for tests: leaves, and tiles made from them in the slowest way."""

from __future__ import annotations

from collections.abc import Sequence

from hwkm.tlog.merkle import leaf_hash, root_of
from hwkm.tlog.tiles import TILE_WIDTH, Tile, TileHashes


def leaves_of(count: int) -> list[bytes]:
    """So many different leaf hashes."""
    return [leaf_hash(f"entry {number}".encode()) for number in range(count)]


def tile_bytes(tile: Tile, leaves: Sequence[bytes]) -> bytes:
    """The content of a tile of hashes."""
    span = TILE_WIDTH ** (tile.level or 0)
    starts = range(tile.first * span, (tile.first + tile.width) * span, span)
    return b"".join(root_of(leaves[start : start + span]) for start in starts)


def tile_hashes(leaves: Sequence[bytes]) -> TileHashes:
    """The tree over these leaves, read from tiles."""
    return TileHashes(len(leaves), lambda tile: tile_bytes(tile, leaves))
