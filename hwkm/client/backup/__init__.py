"""Backups: a file or directory encrypted under an application key of a vault.

Streamed with bounded memory; the bytes are in ``docs/spec/backup.md``. An output appears whole
or not at all. Restoring finds the vault by the handle in the file's head.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import BinaryIO

from hwkm.client.application_key import ApplicationKey, KeyRing
from hwkm.client.backup import output
from hwkm.client.backup.archive import Progress, Tally, content_bytes, no_progress, pack, unpack
from hwkm.client.backup.errors import (
    BackupDamaged,
    BackupKeyMissing,
    NotABackup,
    OutputExists,
    SourceUnreadable,
)
from hwkm.client.backup.header import BackupHeader
from hwkm.client.backup.stream import OpeningReader, SealingWriter

__all__ = [
    "BackupDamaged",
    "BackupHeader",
    "BackupKeyMissing",
    "NotABackup",
    "OutputExists",
    "Progress",
    "SourceUnreadable",
    "Tally",
    "content_bytes",
    "encrypt",
    "restore",
    "unverified_header",
]


def encrypt(
    source: Path, target: Path, handle: bytes, key: ApplicationKey, progress: Progress = no_progress
) -> Tally:
    """Encrypt a file or directory into a new file (mode 0600).

    Raises:
        OutputExists, SourceUnreadable, StorageUnavailable: nothing was left behind.
    """
    header = BackupHeader.fresh(handle, key.alias)
    payload_key, commitment = header.derive(key.key)
    with payload_key, output.new_file(target) as file:
        file.write(header.encode() + commitment)
        writer = SealingWriter(file, payload_key)
        tally = pack(source, writer, progress, output=os.fstat(file.fileno()))
        writer.finish()
    return tally


def unverified_header(file: Path) -> BackupHeader:
    """Which vault and key a backup claims to be under; only the key can tell whether it is true.

    Raises:
        NotABackup, SourceUnreadable: it is none, or cannot be read.
    """
    with _reading(file) as source:
        return BackupHeader.parse(source)[0]


def restore(file: Path, target: Path, keys: KeyRing, progress: Progress = no_progress) -> Tally:
    """Decrypt a backup into a new directory, which then holds the file or directory backed up.

    Raises:
        BackupKeyMissing: ``keys`` has no key of the alias in the head.
        BackupDamaged, NotABackup: the file was cut, changed, or is of another key.
        OutputExists, SourceUnreadable, StorageUnavailable: see there. Nothing is left behind.
    """
    with _reading(file) as source, output.new_directory(target) as partial:
        header, commitment = BackupHeader.parse(source)
        key = keys.keys.get(header.alias)
        if key is None:
            raise BackupKeyMissing(f"the vault holds no application key {header.alias!r} (any more)")
        with header.verified_key(key.key, commitment) as payload_key:
            reader = OpeningReader(source, payload_key)
        return unpack(reader, partial, progress)


class _Readable:
    """A file whose failures to be read are told from failures to write what was read."""

    def __init__(self, path: Path, file: BinaryIO) -> None:
        self._path = path
        self._file = file

    def read(self, size: int) -> bytes:
        try:
            return self._file.read(size)
        except OSError as exc:
            raise SourceUnreadable(f"{self._path}: {exc.strerror}") from exc


@contextmanager
def _reading(path: Path) -> Iterator[_Readable]:
    try:
        file = path.open("rb")
    except OSError as exc:
        raise SourceUnreadable(f"{path}: {exc.strerror}") from exc
    with file:
        yield _Readable(path, file)
