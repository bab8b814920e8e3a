"""Growing the tiles of a tree, leaf by leaf."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Self

from hwkm.errors import FormatError
from hwkm.tlog.merkle import Frontier, root_of
from hwkm.tlog.tiles import LEVELS, TILE_WIDTH, Tile, parse_tile


class TileBuilder:
    """The hashes of every tile that is not full yet: all that is needed to go on."""

    def __init__(self, size: int = 0, partial: Sequence[tuple[Tile, bytes]] = ()) -> None:
        """Take up a tree of ``size`` leaves, whose partial tiles are given.

        Raises:
            FormatError: they are not those of a tree of this size.
        """
        self.size = size
        self._open: list[list[bytes]] = [[] for _ in range(LEVELS)]
        for tile, content in partial:
            self._open[tile.level or 0] = parse_tile(content, tile.width)
        if [tile for tile, _ in self.partial()] != partial_tiles(size):
            raise FormatError(f"not the partial tiles of a tree of {size} leaves")

    def append(self, leaf: bytes) -> list[tuple[Tile, bytes]]:
        """Add a leaf hash; return the tiles that it makes full, lower levels first."""
        self._open[0].append(leaf)
        self.size += 1
        full: list[tuple[Tile, bytes]] = []
        level = 0
        while len(hashes := self._open[level]) == TILE_WIDTH:
            index = (self.size >> (8 * level)) // TILE_WIDTH - 1
            full.append((Tile(level, index), b"".join(hashes)))
            self._open[level] = []
            level += 1
            self._open[level].append(root_of(hashes))
        return full

    def partial(self) -> list[tuple[Tile, bytes]]:
        """Return the tiles that are not full, lower levels first."""
        return [
            (Tile(level, (self.size >> (8 * level)) // TILE_WIDTH, len(hashes)), b"".join(hashes))
            for level, hashes in enumerate(self._open)
            if hashes
        ]

    @property
    def last_leaves(self) -> list[bytes]:
        """The leaf hashes in the partial tile of level 0."""
        return list(self._open[0])

    def frontier(self) -> Frontier:
        """Return the state of the tree; its root is that of the tree."""
        hashes: list[bytes] = []
        for level in reversed(self._open):
            part = Frontier()
            part.extend(level)
            hashes += part.hashes
        return Frontier(self.size, hashes)

    def copy(self) -> Self:
        """Return a builder of its own."""
        return type(self)(self.size, self.partial())


def partial_tiles(size: int) -> list[Tile]:
    """Return the partial tiles of a tree of ``size`` leaves, lower levels first."""
    counts = [size >> (8 * level) for level in range(LEVELS)]
    return [
        Tile(level, count // TILE_WIDTH, count % TILE_WIDTH)
        for level, count in enumerate(counts)
        if count % TILE_WIDTH
    ]
