"""Reading a fleet's log from its static files (C2SP tlog-tiles): checkpoint, bundles of entries."""

from __future__ import annotations

from collections.abc import Callable
from typing import Final

from hwkm.fleet.list_log import ENTRY_BYTES_MAX
from hwkm.tlog.note import NOTE_BYTES_MAX
from hwkm.tlog.tiles import TILE_WIDTH, parse_bundle, tile_at

Fetch = Callable[[str, int], bytes]
"""Fetches a file by its path below the fleet's address, of so many bytes at most."""

CHECKPOINT: Final = "log/checkpoint"
PENDING: Final = "log/checkpoint.pending"

_BUNDLE_BYTES_MAX: Final = TILE_WIDTH * (ENTRY_BYTES_MAX + 2)


def fetch_checkpoint(fetch: Fetch, name: str = CHECKPOINT) -> bytes:
    """Return the log's signed checkpoint, or the one that waits for witnesses (``PENDING``)."""
    return fetch(name, NOTE_BYTES_MAX)


def fetch_entries(fetch: Fetch, start: int, end: int) -> list[bytes]:
    """Return the entries from ``start`` to before ``end`` of a log that has ``end`` of them.

    Raises:
        FormatError: a bundle is malformed.
    """
    entries: list[bytes] = []
    for index in range(start // TILE_WIDTH, -(-end // TILE_WIDTH)):
        tile = tile_at(None, index, end)
        bundle = parse_bundle(fetch(f"log/{tile.path()}", _BUNDLE_BYTES_MAX), tile.width)
        entries += bundle[max(0, start - tile.first) :]
    return entries
