"""The Merkle tree over the records: makes the tiles, behind the writing of records.

Tiles are derived: whatever is lost of them is made again from the records. A state is signed only
after its tiles are durable, and published only after it is signed.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Final, Self

from hwkm.audit.published import Published
from hwkm.audit.segments import existing_segments, segments_from, unreadable
from hwkm.audit.tail import lines_of
from hwkm.errors import AuditError, FormatError, NotConsistent
from hwkm.tlog.checkpoint import Checkpoint
from hwkm.tlog.merkle import leaf_hash
from hwkm.tlog.note import SignedNote
from hwkm.tlog.proofs import prove_consistency
from hwkm.tlog.tile_builder import TileBuilder, partial_tiles
from hwkm.tlog.tiles import TILE_WIDTH, Tile, encode_bundle

_RECORDS_A_PAUSE: Final = 64
_TILES_A_WRITE: Final = 64


@dataclass(frozen=True, slots=True)
class Prepared:
    """A state that can be signed: its tiles are durable. ``full`` are those that became full."""

    size: int
    root: bytes
    full: tuple[Tile, ...]


class TreeWriter:
    """Brings the tiles up to the records, for the next checkpoint. Used by one thread at a time."""

    @classmethod
    def open(cls, directory: Path) -> Self:
        """Take up the tree of the newest checkpoint; where its tiles are damaged, make them again.

        Raises:
            AuditError: the records are not those that the checkpoint was made for.
            StorageUnavailable: something cannot be read or written.
        """
        published = Published(directory)
        state = published.state()
        writer = cls(published, TileBuilder())
        try:
            builder = _take_up(published, state)
        except (AuditError, FormatError):
            published.drop_tiles()
            writer.prepare(state.size)
            builder = writer._builder
        if builder.frontier().root() != state.root:
            raise AuditError(
                "the records are not those that the checkpoint was made for; see hwkm audit verify"
            )
        writer._builder = builder
        writer._check_last(state.size)
        return writer

    def __init__(self, published: Published, builder: TileBuilder) -> None:
        """Go on from ``builder``; use :meth:`open`."""
        self._published = published
        self._builder = builder

    @property
    def size(self) -> int:
        """How many records the tiles cover."""
        return self._builder.size

    def prepare(self, size: int, pause: Callable[[], None] = lambda: None) -> Prepared:
        """Make the tiles of the first ``size`` records durable.

        ``pause`` is called every now and then, for whoever shares the processor.

        Raises:
            AuditError: a record is damaged, or missing.
            StorageUnavailable: something cannot be read or written; it may be tried again.
        """
        builder = self._builder.copy()
        done = builder.size - builder.size % TILE_WIDTH
        contents: dict[Tile, bytes] = {}
        full: list[Tile] = []
        entries: list[bytes] = []
        for index, entry in entries_between(self._published.directory, done, size):
            entries.append(entry)
            if index < builder.size:
                continue
            if index % _RECORDS_A_PAUSE == 0:
                pause()
            for tile, content in builder.append(leaf_hash(entry)):
                contents[tile] = content
                full.append(tile)
            if len(entries) == TILE_WIDTH:
                bundle = Tile(None, index // TILE_WIDTH)
                contents[bundle] = encode_bundle(entries)
                full.append(bundle)
                entries = []
            if len(contents) >= _TILES_A_WRITE:
                self._put(contents)
                contents = {}
        contents.update(builder.partial())
        if entries:
            contents[Tile(None, size // TILE_WIDTH, len(entries))] = encode_bundle(entries)
        self._put(contents)
        self._builder = builder
        return Prepared(size, builder.frontier().root(), tuple(full))

    def prove_growth(self, old_size: int) -> tuple[bytes, ...]:
        """Return the proof that the tiles contain the state of ``old_size`` records.

        Raises:
            AuditError: a tile is damaged, or there are fewer records.
            StorageUnavailable: a tile cannot be read.
        """
        try:
            return tuple(prove_consistency(old_size, self.size, self._published.hashes(self.size, self.size)))
        except (FormatError, NotConsistent) as exc:
            raise AuditError(f"the tiles of the audit log are damaged: {exc}") from exc

    def publish(self, prepared: Prepared, note: SignedNote) -> None:
        """Put the signed checkpoint of a prepared state in place; durable on return.

        Raises:
            StorageUnavailable: it cannot be written.
        """
        try:
            self._published.put_checkpoint(note)
        except OSError as exc:
            raise unreadable(self._published.directory, exc) from exc
        self._published.drop_partial(list(prepared.full))

    def _put(self, contents: dict[Tile, bytes]) -> None:
        try:
            self._published.put(contents)
        except OSError as exc:
            raise unreadable(self._published.directory, exc) from exc

    def _check_last(self, size: int) -> None:
        """Compare the last records that were signed for with their leaf hashes."""
        start = size - size % TILE_WIDTH
        for index, entry in entries_between(self._published.directory, start, size):
            if leaf_hash(entry) != self._builder.last_leaves[index - start]:
                raise AuditError(f"record {index} was changed after a checkpoint was signed for it")


def entries_between(directory: Path, start: int, end: int) -> Iterator[tuple[int, bytes]]:
    """Yield index and line of the records from ``start`` up to, not including, ``end``; unchecked.

    Raises:
        AuditError: one of them is missing.
        StorageUnavailable: they cannot be read.
    """
    if start >= end:
        return
    segments = segments_from(existing_segments(directory), start)
    index = segments[0].first_index
    for _segment, line in lines_of(segments):
        if not line.whole:
            break
        if index >= start:
            yield index, line.text
        index += 1
        if index == end:
            return
    raise AuditError(f"the log ends after {index} records; {end} were there")


def _take_up(published: Published, state: Checkpoint) -> TileBuilder:
    """Return the builder of a state, from its partial tiles.

    Raises:
        AuditError, FormatError: tiles are missing or damaged.
    """
    builder = TileBuilder(state.size, [(tile, published.read(tile)) for tile in partial_tiles(state.size)])
    if builder.frontier().root() != state.root:
        raise AuditError("the tiles are not those that the checkpoint was made for")
    return builder
