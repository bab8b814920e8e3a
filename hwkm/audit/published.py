"""What a log shows to others, as static files: checkpoint, tiles, entries (C2SP tlog-tiles).

All of it is derived from the records and can be made again, but for the signatures: ``checkpoint``
is the newest signed one, ``witnessed/SIZE`` those that witnesses have cosigned.
"""

from __future__ import annotations

import shutil
from collections.abc import Iterator
from pathlib import Path
from typing import Final

from hwkm.audit import files
from hwkm.audit.segments import unreadable
from hwkm.errors import AuditError, FormatError
from hwkm.tlog.checkpoint import Checkpoint
from hwkm.tlog.merkle import EMPTY_ROOT, HASH_BYTES
from hwkm.tlog.note import NOTE_BYTES_MAX, SignedNote
from hwkm.tlog.tiles import TILE_BYTES, Tile, TileHashes, tile_at

CHECKPOINT: Final = "checkpoint"
LOG_KEY: Final = "log-key"
WITNESSED: Final = "witnessed"
FORMER: Final = "former"
KEY_BYTES_MAX: Final = 1_024

_TILES: Final = "tile"
_PARTIAL_SUFFIX: Final = ".p"
_BUNDLE_BYTES_MAX: Final = 256 * (65_535 + 2)


class Published:
    """The static files of one log, in its directory."""

    def __init__(self, directory: Path) -> None:
        self.directory = directory

    # --- signed states ---------------------------------------------------------------------------

    def checkpoint(self) -> SignedNote | None:
        """Return the newest checkpoint, its signatures unchecked, or None before the first.

        Raises:
            AuditError: it is damaged.
            StorageUnavailable: it cannot be read.
        """
        path = self.directory / CHECKPOINT
        return _read_note(path) if path.exists() else None

    def state(self) -> Checkpoint:
        """Return what the newest checkpoint says, unchecked; before the first, an empty log.

        Raises:
            AuditError, StorageUnavailable: as :meth:`checkpoint`.
        """
        note = self.checkpoint()
        return Checkpoint("none", 0, EMPTY_ROOT) if note is None else state_of(note, CHECKPOINT)

    def witnessed(self) -> Iterator[tuple[str, SignedNote]]:
        """Yield the checkpoints that witnesses have cosigned, smallest first, unchecked, with their names.

        Raises:
            AuditError: one is damaged.
            StorageUnavailable: one cannot be read.
        """
        directory = self.directory / WITNESSED
        names = [path.name for path in directory.iterdir()] if directory.is_dir() else []
        for name in sorted((name for name in names if name.isdecimal()), key=int):
            yield f"{WITNESSED}/{name}", _read_note(directory / name)

    def log_key(self) -> str:
        """Return the public key of the log, as it stands beside the log. Trust one kept elsewhere.

        Raises:
            AuditError: there is none.
            StorageUnavailable: it cannot be read.
        """
        path = self.directory / LOG_KEY
        try:
            return files.read_at_most(path, KEY_BYTES_MAX).decode().strip()
        except FileNotFoundError:
            if not self.directory.is_dir():
                raise AuditError(f"there is no directory {self.directory}") from None
            raise AuditError(f"{path} is missing: nothing was signed yet, or it was removed") from None
        except UnicodeDecodeError:
            raise AuditError(f"{path} holds no key") from None
        except OSError as exc:
            raise unreadable(path, exc) from exc

    def put_checkpoint(self, note: SignedNote) -> None:
        """Make a checkpoint the newest; durable on return.

        Raises:
            OSError: storage failed.
        """
        files.write_new(self.directory / CHECKPOINT, note.encode())

    def put_witnessed(self, note: SignedNote, size: int) -> None:
        """Keep a cosigned checkpoint; durable on return.

        Raises:
            OSError: storage failed.
        """
        files.write_new(self.directory / WITNESSED / str(size), note.encode())
        files.sync_directory(self.directory)

    def put_log_key(self, vkey: str) -> None:
        """Put the public key of the log beside it, for whoever has no other; durable on return.

        Raises:
            OSError: storage failed.
        """
        path = self.directory / LOG_KEY
        if not path.exists() or path.read_text(encoding="utf-8") != f"{vkey}\n":
            files.write_new(path, f"{vkey}\n".encode())

    def put_away(self) -> None:
        """Put what a former key has signed into ``former/N``: a new key makes a log of another name.

        Raises:
            StorageUnavailable: storage failed.
        """
        names = [name for name in (CHECKPOINT, LOG_KEY, WITNESSED) if (self.directory / name).exists()]
        if not names:
            return
        try:
            (self.directory / FORMER).mkdir(mode=0o700, exist_ok=True)
            place = self.directory / FORMER / str(len(list((self.directory / FORMER).iterdir())))
            place.mkdir(mode=0o700)
            for name in names:
                (self.directory / name).rename(place / name)
            for directory in (place, place.parent, self.directory):
                files.sync_directory(directory)
        except OSError as exc:
            raise unreadable(self.directory, exc) from exc

    # --- tiles -----------------------------------------------------------------------------------

    def read(self, tile: Tile) -> bytes:
        """Return the content of a tile or bundle.

        Raises:
            AuditError: it is missing.
            StorageUnavailable: it cannot be read.
        """
        path = self.directory / tile.path()
        try:
            return files.read_at_most(path, _BUNDLE_BYTES_MAX if tile.level is None else TILE_BYTES)
        except (FileNotFoundError, NotADirectoryError):
            raise AuditError(f"{tile.path()} is missing") from None
        except OSError as exc:
            raise unreadable(path, exc) from exc

    def hashes(self, size: int, stored_size: int | None = None) -> TileHashes:
        """Return the tree of the first ``size`` leaves, read from the tiles of a larger one.

        That is the one of the newest checkpoint, unless it is given.

        Raises:
            AuditError: it is the smaller one.
        """
        newest = self.state().size if stored_size is None else stored_size
        if size > newest:
            raise AuditError(f"the newest checkpoint is of {newest} records, not of {size}")

        def read(tile: Tile) -> bytes:
            stored = tile_at(tile.level, tile.index, newest)
            return self.read(stored)[: tile.width * HASH_BYTES]

        return TileHashes(size, read)

    def put(self, contents: dict[Tile, bytes]) -> None:
        """Put tiles and bundles in place; durable on return.

        Raises:
            OSError: storage failed; some may be in place.
        """
        directories = set()
        for tile, content in contents.items():
            path = self.directory / tile.path()
            files.write_new(path, content, durable=False)
            directories |= {path.parent, *path.parent.parents}
        inside = {path for path in directories if path.is_relative_to(self.directory)}
        for path in sorted(inside, key=lambda one: -len(one.parts)):
            files.sync_directory(path)

    def drop_partial(self, tiles: list[Tile]) -> None:
        """Remove the partial tiles in the places of full ones. What cannot be removed stays."""
        for tile in tiles:
            full = self.directory / tile.full().path()
            shutil.rmtree(full.with_name(full.name + _PARTIAL_SUFFIX), ignore_errors=True)

    def drop_tiles(self) -> None:
        """Remove every tile and bundle, to make them again."""
        shutil.rmtree(self.directory / _TILES, ignore_errors=True)


def state_of(note: SignedNote, name: str) -> Checkpoint:
    """Return what a note in file ``name`` says as a checkpoint.

    Raises:
        AuditError: it is none.
    """
    try:
        return Checkpoint.parse(note.text)
    except FormatError as exc:
        raise AuditError(f"{name} is damaged: {exc}") from None


def _read_note(path: Path) -> SignedNote:
    try:
        return SignedNote.parse(files.read_at_most(path, NOTE_BYTES_MAX))
    except FormatError as exc:
        raise AuditError(f"{path.name} is damaged: {exc}") from None
    except OSError as exc:
        raise unreadable(path, exc) from exc
