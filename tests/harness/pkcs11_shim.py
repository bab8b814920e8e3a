"""The PKCS#11 proxy: a library between hwkm and a real one (``native/pkcs11_shim.c``).

hwkm is pointed at it by ``module-path`` in the token URI; nothing else is needed.
"""

from __future__ import annotations

import shutil
from pathlib import Path
from typing import Final

from tests.harness.board import Board
from tests.harness.native_build import built

# Return values (PKCS#11 v2.40, appendix B, pkcs11t.h).
CKR_GENERAL_ERROR: Final = 0x05
CKR_FUNCTION_FAILED: Final = 0x06
CKR_DEVICE_ERROR: Final = 0x30
CKR_DEVICE_MEMORY: Final = 0x31
CKR_DEVICE_REMOVED: Final = 0x32
CKR_SESSION_HANDLE_INVALID: Final = 0xB3
CKR_TOKEN_WRITE_PROTECTED: Final = 0xE2


def shimmed(uri: str, directory: Path) -> tuple[str, Board]:
    """Put a shim and its board into ``directory``; return the URI that leads through it."""
    beginning, _, real = uri.partition("module-path=")
    shim = directory / "shim.so"
    shutil.copy(built("pkcs11_shim"), shim)
    board = Board.create(directory / "shim.so.board", module=real)
    return f"{beginning}module-path={shim}", board
