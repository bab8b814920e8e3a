"""Reads the token's user PIN from a file that nobody else may read."""

from __future__ import annotations

import io
import os
import stat
from contextlib import AbstractContextManager, nullcontext
from typing import Final

from hwkm.errors import ConfigError
from hwkm.secret import Pin

PIN_BYTES_MAX: Final = 255


def read_pin(path: str) -> Pin:
    """Return the PIN in ``path``, one trailing newline removed.

    Raises:
        ConfigError: the file is absent, empty, too long, not ours, or open to others.
    """
    try:
        descriptor = os.open(path, os.O_RDONLY | os.O_CLOEXEC)
    except OSError as exc:
        raise ConfigError(f"PIN file {path}: {exc.strerror}") from None
    with io.FileIO(descriptor) as file:
        check_mode(path, os.fstat(descriptor))
        data = bytearray(file.read(PIN_BYTES_MAX + 2))
    try:
        return _pin_of(path, data)
    finally:
        data[:] = bytes(len(data))


def officer_pin(path: str) -> AbstractContextManager[Pin | None]:
    """Return the security officer's PIN, if a file of it was named, else none.

    Raises:
        ConfigError: as :func:`read_pin`.
    """
    return read_pin(path) if path else nullcontext()


def _pin_of(path: str, data: bytearray) -> Pin:
    length = len(data) - data.endswith(b"\n")
    if not 1 <= length <= PIN_BYTES_MAX:
        raise ConfigError(f"PIN file {path} must hold 1 to {PIN_BYTES_MAX} bytes")
    return Pin(memoryview(data)[:length])


def check_mode(path: str, status: os.stat_result, what: str = "PIN file") -> None:
    """See that nobody else may use a file that holds a secret; ``what`` says which.

    Raises:
        ConfigError: it is not a regular file, not ours, or open to others.
    """
    if not stat.S_ISREG(status.st_mode):
        raise ConfigError(f"{what} {path} is not a regular file")
    if status.st_mode & _others_bits(status):
        mode = stat.S_IMODE(status.st_mode)
        raise ConfigError(f"{what} {path} has mode {mode:04o}; others may use it. Run: chmod 600 {path}")
    if status.st_uid not in (os.geteuid(), 0):
        raise ConfigError(f"{what} {path} belongs to uid {status.st_uid}, not to uid {os.geteuid()}")


def _others_bits(status: os.stat_result) -> int:
    """Permission bits that would let somebody else use the file.

    systemd 254 and later hands a credential over as root:root 0440, where the group bit is the mask
    of an ACL that names the service's user (systemd.exec(5), acl(5)); group root is root anyway.
    """
    others = stat.S_IRWXG | stat.S_IRWXO
    return others & ~stat.S_IRGRP if (status.st_uid, status.st_gid) == (0, 0) else others
