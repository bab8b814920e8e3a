"""A fleet's log as static files (C2SP tlog-tiles): what to write when entries are added."""

from __future__ import annotations

from collections.abc import Mapping, Sequence

from hwkm.tlog.merkle import leaf_hash, root_of
from hwkm.tlog.tiles import TILE_WIDTH, encode_bundle, tile_at, tiles_between


def files_between(entries: Sequence[bytes], old_size: int) -> Mapping[str, bytes]:
    """Return the tiles and bundles, by path, that a log of ``entries`` has and one of ``old_size`` had not.

    Raises:
        FormatError: an entry is too long.
    """
    leaves = [leaf_hash(entry) for entry in entries]
    files = {}
    for tile in tiles_between(old_size, len(entries)):
        span = TILE_WIDTH ** (tile.level or 0)
        first = tile.first * span
        hashes = [root_of(leaves[first + at * span : first + (at + 1) * span]) for at in range(tile.width)]
        files[tile.path()] = b"".join(hashes)
        if tile.level == 0:
            bundle = tile_at(None, tile.index, len(entries))
            files[bundle.path()] = encode_bundle(entries[tile.first : tile.first + tile.width])
    return files
