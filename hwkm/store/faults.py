"""What a failure inside SQLite means to the rest of hwkm."""

from __future__ import annotations

import sqlite3
from pathlib import Path
from typing import Final

from hwkm.errors import HwkmError, StorageMismatch, StorageUnavailable

# Primary result codes (https://sqlite.org/rescode.html) that speak of the content of the file,
# not of the disk below it: trying again cannot help.
_DAMAGED: Final = frozenset({sqlite3.SQLITE_CORRUPT, sqlite3.SQLITE_NOTADB, sqlite3.SQLITE_FORMAT})


def storage_fault(exc: Exception, path: Path | str) -> HwkmError:
    """Return the typed error to raise for ``exc``; it never carries row contents."""
    if isinstance(exc, UnicodeDecodeError):
        # Damaged text, or SQLite's own message quoting some.
        return StorageMismatch(f"{path} is damaged or is not a database of hwkm (text that is not UTF-8)")
    code = getattr(exc, "sqlite_errorcode", None)
    name = getattr(exc, "sqlite_errorname", type(exc).__name__)
    if code is not None and code & 0xFF in _DAMAGED:
        return StorageMismatch(f"{path} is damaged or is not a database of hwkm ({name})")
    return StorageUnavailable(f"{path} cannot be read or written now ({name}: {exc})")
