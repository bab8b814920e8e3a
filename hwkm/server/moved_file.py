"""The file in which keys go to another module: one page a line, JSON (``docs/operations/keys.md``)."""

from __future__ import annotations

import hashlib
import re
from collections.abc import Iterable, Iterator
from pathlib import Path
from typing import Final

import msgspec

from hwkm.errors import FormatError, StorageUnavailable
from hwkm.wire.key_api import MovedKeys

LINE_BYTES_MAX: Final = 16 * 1024 * 1024

_DIGEST: Final = re.compile(r"[0-9a-f]{64}")
_decode: Final = msgspec.json.Decoder(MovedKeys).decode


def digest_of(option: str, text: str) -> bytes:
    """Read 32 bytes in hex.

    Raises:
        FormatError: it is not 64 hex digits.
    """
    if not _DIGEST.fullmatch(text.lower()):
        raise FormatError(f"{option} is 64 hex digits")
    return bytes.fromhex(text)


def read_file(path: Path, limit: int = LINE_BYTES_MAX) -> bytes:
    """Return a small file, of at most ``limit`` bytes.

    Raises:
        StorageUnavailable: it cannot be read.
        FormatError: it has more.
    """
    try:
        with path.open("rb") as file:
            data = file.read(limit + 1)
    except OSError as exc:
        raise StorageUnavailable(f"{path}: {exc.strerror}") from exc
    if len(data) > limit:
        raise FormatError(f"{path} has more than {limit} bytes")
    return data


def write_new(path: Path, parts: Iterable[bytes]) -> str:
    """Write a new file; return the SHA-256 of it in hex.

    What is half written is removed again.

    Raises:
        StorageUnavailable: it is there already, or cannot be written.
    """
    digest = hashlib.sha256()
    try:
        with path.open("xb") as file:
            try:
                for part in parts:
                    file.write(part)
                    digest.update(part)
            except BaseException:
                path.unlink()
                raise
    except OSError as exc:
        raise StorageUnavailable(f"{path}: {exc.strerror}") from exc
    return digest.hexdigest()


def read_pages(path: Path, digest: bytes) -> Iterator[MovedKeys]:
    """Read the pages of a file, once the whole of it is known to be the right one.

    Raises:
        StorageUnavailable: it cannot be read.
        FormatError: it is another file than the digest says, or holds no pages.
    """
    try:
        with path.open("rb") as file:
            if hashlib.file_digest(file, "sha256").digest() != digest:
                raise FormatError(f"{path} is not the file with that digest")
            file.seek(0)
            while line := file.readline(LINE_BYTES_MAX):
                try:
                    yield _decode(line)
                except (msgspec.DecodeError, UnicodeDecodeError, RecursionError):
                    raise FormatError(f"{path} does not hold exported keys") from None
    except OSError as exc:
        raise StorageUnavailable(f"{path}: {exc.strerror}") from exc
