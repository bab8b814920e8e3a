"""A user PIN that the token refused is not offered a second time: tokens lock after a few.

A service manager restarts what fails. So the PIN *file* that was refused is remembered in the
state directory (never the PIN), and until that file changes the daemon stops before the token
is asked. In one run the supervisor sees to the same.

A credential of systemd is a new copy at each start, so nothing tells a corrected PIN from the old
one: there the marker stays until a person removes it.
"""

from __future__ import annotations

import os
from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path
from typing import Final

from hwkm.errors import TokenPinIncorrect

MARKER_NAME: Final = "refused-pin"


@contextmanager
def pin_tried_once(state_directory: Path, pin_path: Path) -> Iterator[None]:
    """Let the block try the PIN, unless it was refused before; remember it if it is refused now.

    Raises:
        TokenPinIncorrect: it was refused now or before.
    """
    marker = state_directory / MARKER_NAME
    identity = _identity(pin_path)
    if identity is not None and _read(marker) == identity:
        again = f"rm {marker}" if _is_credential(pin_path) else f"touch {pin_path}"
        raise TokenPinIncorrect(
            f"the token refused the PIN in {pin_path} before, and it is not tried again: tokens lock."
            f" Correct it; when the PIN there is right, run: {again}"
        )
    try:
        yield
    except TokenPinIncorrect:
        if identity is not None:
            _write(marker, identity)
        raise
    marker.unlink(missing_ok=True)


def _identity(path: Path) -> str | None:
    """Which file it is and when it was changed. Nothing of what is in it."""
    if _is_credential(path):
        return f"credential:{path.name}"
    try:
        status = path.stat()
    except OSError:
        return None
    return f"{status.st_dev}:{status.st_ino}:{status.st_size}:{status.st_mtime_ns}"


def _is_credential(path: Path) -> bool:
    directory = os.environ.get("CREDENTIALS_DIRECTORY")
    return directory is not None and path.parent == Path(directory)


def _read(marker: Path) -> str | None:
    try:
        return marker.read_text()
    except OSError:
        return None


def _write(marker: Path, identity: str) -> None:
    descriptor = os.open(marker, os.O_WRONLY | os.O_CREAT | os.O_TRUNC | os.O_CLOEXEC, 0o600)
    with os.fdopen(descriptor, "w") as file:
        file.write(identity)
