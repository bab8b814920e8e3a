"""Checking a whole audit log, offline, in one pass, with the public key of the log only.

What is wrong is named: which record, which tile, or which checkpoint.
"""

from __future__ import annotations

from collections.abc import Callable, Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from pathlib import Path

from hwkm.audit.published import CHECKPOINT, Published, state_of
from hwkm.audit.record import AuditRecord
from hwkm.audit.segments import existing_segments
from hwkm.audit.tail import lines_of
from hwkm.errors import AuditError, FormatError, LogError, NotConsistent, RolledBack
from hwkm.tlog.checkpoint import Checkpoint, verify_checkpoint
from hwkm.tlog.merkle import leaf_hash, root_of
from hwkm.tlog.note import SignedNote
from hwkm.tlog.note_keys import NoteKey
from hwkm.tlog.tile_builder import TileBuilder
from hwkm.tlog.tiles import TILE_WIDTH, Tile, encode_bundle, parse_tile, tile_at

Progress = Callable[[int], None]


@dataclass(frozen=True, slots=True)
class Report:
    """What was found: of ``records``, the first ``signed`` are vouched for by a checkpoint."""

    records: int
    signed: int
    root: bytes
    checkpoint: SignedNote | None
    witnesses: tuple[tuple[NoteKey, int], ...] = ()
    """Of the newest checkpoint that any of the known witnesses has cosigned, with its time (s)."""


@dataclass(slots=True)
class _Expected:
    """Roots that the tree must have at certain sizes, by the name of who says so."""

    roots: dict[int, dict[str, bytes]] = field(default_factory=dict)

    def add(self, state: Checkpoint, name: str) -> None:
        self.roots.setdefault(state.size, {})[name] = state.root

    def check(self, builder: TileBuilder) -> None:
        for name, root in self.roots.get(builder.size, {}).items():
            if builder.frontier().root() != root:
                raise NotConsistent(
                    f"{name}, of {builder.size} records, has another root than the records have: they were"
                    " written anew, or it is of another log"
                )

    @property
    def size(self) -> int:
        return max(self.roots, default=0)

    def name_of_largest(self) -> str:
        return next(iter(self.roots[self.size]), "")


def verify(
    path: Path | str,
    log_key: NoteKey,
    *,
    seen: Mapping[str, bytes] | None = None,
    witnesses: Sequence[NoteKey] = (),
    live: bool = False,
    progress: Progress = lambda _records: None,
) -> Report:
    """Check every record, tile and checkpoint of the log in directory ``path``.

    ``seen`` are checkpoints that were kept elsewhere, by name: the log must still contain them.
    Without any, a log that was rolled back as a whole, its checkpoint included, passes. ``live``
    lets an incomplete last line pass, which a daemon may be writing just now.

    Raises:
        AuditError: a record or a tile is damaged or missing.
        LogError: a checkpoint is not signed by the log, or does not fit the records.
        StorageUnavailable: something cannot be read.
    """
    published = Published(Path(path))
    newest = published.checkpoint()
    expected = _Expected()
    signed = 0
    cosigned: tuple[tuple[NoteKey, int], ...] = ()
    if newest is not None:
        state = _verified(newest, log_key, CHECKPOINT)
        expected.add(state, CHECKPOINT)
        signed = state.size
    for name, note in published.witnessed():
        expected.add(_verified(note, log_key, name), name)
        cosigned = verify_checkpoint(note.encode(), log_key, witnesses).witnesses or cosigned
    for name, data in (seen or {}).items():
        expected.add(verify_checkpoint(data, log_key).checkpoint, name)
    checked = _Tree(published, signed, expected)
    for record, text in verified_lines(Path(path), live=live):
        checked.append(text)
        if record.index % 1000 == 0:
            progress(record.index)
    checked.finish()
    return Report(checked.builder.size, signed, checked.builder.frontier().root(), newest, cosigned)


def verified_lines(path: Path, *, live: bool = False) -> Iterator[tuple[AuditRecord, bytes]]:
    """Yield the records in order, each checked by itself, with their lines.

    Raises:
        AuditError: one is damaged or missing.
        StorageUnavailable: something cannot be read.
    """
    segments = existing_segments(path)
    for segment, line in lines_of(segments):
        if live and not line.whole and segment == segments[-1]:
            return
        yield segment.parse(line), line.text


class _Tree:
    """The tree over the records so far, compared with everything that was written of it."""

    def __init__(self, published: Published, signed: int, expected: _Expected) -> None:
        self.builder = TileBuilder()
        self._published, self._signed, self._expected = published, signed, expected
        self._entries: list[bytes] = []
        expected.check(self.builder)

    def append(self, entry: bytes) -> None:
        self._entries.append(entry)
        tiles = self.builder.append(leaf_hash(entry))
        size = self.builder.size
        if size == self._signed:
            tiles += self.builder.partial()
        if size <= self._signed:
            for tile, content in tiles:
                self._compare(tile, content)
        if size % TILE_WIDTH == 0:
            self._entries.clear()
        if size in self._expected.roots:
            self._expected.check(self.builder)

    def finish(self) -> None:
        size = self.builder.size
        if size < self._expected.size:
            name = self._expected.name_of_largest()
            raise RolledBack(f"the log has {size} records; {name} was signed for {self._expected.size}")

    def _compare(self, tile: Tile, content: bytes) -> None:
        stored = _read_tile(self._published, tile)
        if tile.level == 0 and b"".join(stored) != content:
            raise self._record_or_tile(tile, parse_tile(content, tile.width), stored)
        if b"".join(stored) != content:
            raise AuditError(f"{tile.path()} is damaged")
        bundle = Tile(None, tile.index, tile.width)
        if tile.level == 0 and self._published.read(bundle) != encode_bundle(self._entries):
            raise AuditError(f"{bundle.path()} is damaged: it does not hold the records")

    def _record_or_tile(self, tile: Tile, ours: list[bytes], stored: list[bytes]) -> AuditError:
        """A tile that leads to what was signed proves that it is the record that was changed."""
        at = next(number for number in range(tile.width) if ours[number] != stored[number])
        leads_up = self._leads_to_tile_above if tile.is_full else self._leads_to_checkpoint
        if leads_up(tile, stored):
            return AuditError(f"record {tile.first + at} was changed: {tile.path()} has another hash of it")
        return AuditError(
            f"{tile.path()} is damaged at hash {at}: it is not that of record {tile.first + at}"
        )

    def _leads_to_tile_above(self, tile: Tile, stored: list[bytes]) -> bool:
        try:
            above = tile_at(1, tile.index // TILE_WIDTH, self._signed)
            return _read_tile(self._published, above)[tile.index % TILE_WIDTH] == root_of(stored)
        except (AuditError, FormatError):
            return False

    def _leads_to_checkpoint(self, tile: Tile, stored: list[bytes]) -> bool:
        above = [(other, content) for other, content in self.builder.partial() if other.level]
        root = TileBuilder(self.builder.size, [(tile, b"".join(stored)), *above]).frontier().root()
        return root in self._expected.roots.get(self.builder.size, {}).values()


def _read_tile(published: Published, tile: Tile) -> list[bytes]:
    try:
        return parse_tile(published.read(tile), tile.width)
    except FormatError as exc:
        raise AuditError(f"{tile.path()} is damaged: {exc}") from None


def _verified(note: SignedNote, log_key: NoteKey, name: str) -> Checkpoint:
    """Return the state in a file of the log.

    Raises:
        AuditError: it is no checkpoint.
        LogError: it is not signed by the log.
    """
    state = state_of(note, name)
    try:
        verify_checkpoint(note.encode(), log_key)
    except LogError as exc:
        raise type(exc)(f"{name}: {exc}") from None
    return state
