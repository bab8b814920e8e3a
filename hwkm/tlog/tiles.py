"""The tree and its entries as static files: C2SP tlog-tiles.

A tile is up to 256 hashes of one level in a file: at tile level 0 leaf hashes, at tile level L the
roots of full tiles of level L - 1. A full tile never changes. A partial one belongs to a tree of a
certain size and gives way to the next. An entry bundle holds the entries of a tile of level 0.
"""

from __future__ import annotations

import re
import struct
from collections.abc import Callable, Iterator, Sequence
from dataclasses import dataclass
from functools import lru_cache
from typing import Final

from hwkm.errors import FormatError
from hwkm.tlog.merkle import HASH_BYTES, SIZE_MAX, Frontier, Node, nodes_of_range, root_of

TILE_WIDTH: Final = 256
TILE_BYTES: Final = TILE_WIDTH * HASH_BYTES
ENTRY_BYTES_MAX: Final = 65_535
LEVELS: Final = 8
"""Levels of the tree in a tile, and tile levels of a tree of fewer than 2**63 leaves."""

_PATH: Final = re.compile(r"tile/(entries|0|[1-9][0-9]?)/((?:x[0-9]{3}/)*[0-9]{3})(?:\.p/([1-9][0-9]{0,2}))?")
_LENGTH: Final = struct.Struct(">H")
_TILES_KEPT: Final = 64


@dataclass(frozen=True, slots=True)
class Tile:
    """Where a tile or a bundle is; ``level`` is None for a bundle of entries."""

    level: int | None
    index: int
    width: int = TILE_WIDTH

    @property
    def is_full(self) -> bool:
        """Whether it is final."""
        return self.width == TILE_WIDTH

    @property
    def first(self) -> int:
        """The number, within its level, of the first hash or entry in it."""
        return self.index * TILE_WIDTH

    def path(self) -> str:
        """Return its path below the prefix of the log."""
        level = "entries" if self.level is None else str(self.level)
        suffix = "" if self.is_full else f".p/{self.width}"
        return f"tile/{level}/{_encode_index(self.index)}{suffix}"

    def full(self) -> Tile:
        """Return the full tile of the same place."""
        return Tile(self.level, self.index)


def parse_path(path: str) -> Tile:
    """Read a path below the prefix of a log.

    Raises:
        FormatError: it is none of a tile or bundle, or not in its one form.
    """
    found = _PATH.fullmatch(path)
    if found is None or len(path) > 64:
        raise FormatError("not the path of a tile")
    level = None if found[1] == "entries" else int(found[1])
    index = int(found[2].replace("/", "").replace("x", ""))
    tile = Tile(level, index, TILE_WIDTH if found[3] is None else int(found[3]))
    if (level or 0) > 63 or index > SIZE_MAX or tile.path() != path:
        raise FormatError("not the path of a tile in its one form")
    return tile


def tile_at(level: int | None, index: int, size: int) -> Tile:
    """Return the tile of this place in a tree of ``size`` leaves.

    Raises:
        FormatError: the tree has none there.
    """
    width = min((size >> (LEVELS * (level or 0))) - index * TILE_WIDTH, TILE_WIDTH)
    if width <= 0:
        raise FormatError(f"a tree of {size} leaves has no tile {level} {index}")
    return Tile(level, index, width)


def tiles_between(old_size: int, new_size: int) -> Iterator[Tile]:
    """Yield the tiles, lower levels first, that a tree has and a smaller one of it had not.

    Bundles of entries are those of level 0; they are not yielded by themselves.
    """
    for level in range(LEVELS):
        old, new = old_size >> (LEVELS * level), new_size >> (LEVELS * level)
        for index in range(old // TILE_WIDTH, -(-new // TILE_WIDTH)):
            tile = tile_at(level, index, new_size)
            if tile.first + tile.width > old:
                yield tile


def parse_tile(data: bytes, width: int) -> list[bytes]:
    """Return the hashes in a tile.

    Raises:
        FormatError: it is not so wide.
    """
    if len(data) != width * HASH_BYTES:
        raise FormatError(f"a tile of {width} hashes has {width * HASH_BYTES} bytes, not {len(data)}")
    return [data[at : at + HASH_BYTES] for at in range(0, len(data), HASH_BYTES)]


def encode_bundle(entries: Sequence[bytes]) -> bytes:
    """Return the bundle of these entries.

    Raises:
        FormatError: too many entries, or one is longer than 65,535 bytes.
    """
    if not 1 <= len(entries) <= TILE_WIDTH or any(len(entry) > ENTRY_BYTES_MAX for entry in entries):
        raise FormatError("a bundle holds 1 to 256 entries of up to 65,535 bytes")
    return b"".join(_LENGTH.pack(len(entry)) + entry for entry in entries)


def parse_bundle(data: bytes, width: int) -> list[bytes]:
    """Return the entries in a bundle.

    Raises:
        FormatError: it does not hold exactly ``width`` entries.
    """
    entries: list[bytes] = []
    at = 0
    while at < len(data) and len(entries) < width:
        length = int.from_bytes(data[at : at + _LENGTH.size], "big")
        at += _LENGTH.size
        entries.append(data[at : at + length])
        at += length
    if at != len(data) or len(entries) != width:
        raise FormatError(f"not a bundle of {width} entries")
    return entries


class TileHashes:
    """Hashes of nodes, and states, of a tree of ``size`` leaves that is kept in tiles.

    ``read`` returns the content of a tile; what it raises is passed on. Tiles are not checked
    against each other: a proof made from a wrong one does not verify.
    """

    def __init__(self, size: int, read: Callable[[Tile], bytes]) -> None:
        self._size = size

        @lru_cache(maxsize=_TILES_KEPT)
        def hashes(level: int, index: int) -> list[bytes]:
            tile = tile_at(level, index, size)
            return parse_tile(read(tile), tile.width)

        self._hashes = hashes

    def __call__(self, nodes: Sequence[Node]) -> list[bytes]:
        """Return the hashes of nodes (this is a :data:`hwkm.tlog.proofs.ReadNodes`).

        Raises:
            FormatError: a tile is not of its size, or the tree has no such node.
        """
        return [self._hash(node) for node in nodes]

    def frontier(self) -> Frontier:
        """Return the state from which the tree can be extended.

        Raises:
            FormatError: a tile is not of its size.
        """
        return Frontier(self._size, self(list(nodes_of_range(0, self._size))))

    def _hash(self, node: Node) -> bytes:
        level, above = divmod(node.level, LEVELS)
        index, first = divmod(node.index << above, TILE_WIDTH)
        found = self._hashes(level, index)[first : first + (1 << above)]
        if len(found) != 1 << above:
            raise FormatError(f"a tree of {self._size} leaves has no node {node.level} {node.index}")
        return root_of(found)


def _encode_index(index: int) -> str:
    digits = str(index)
    digits = digits.zfill(-(-len(digits) // 3) * 3)
    *before, last = (digits[at : at + 3] for at in range(0, len(digits), 3))
    return "".join(f"x{part}/" for part in before) + last
