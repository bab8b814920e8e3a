"""Where a PIN comes from: a prompt that does not echo, or a private file. Nothing else.

Not from arguments or the environment: other users of the machine can read the first, and every
child process the second.
"""

from __future__ import annotations

import getpass
import os
import stat
from pathlib import Path
from typing import Final

import typer

from hwkm.client import SecretBytes, encode_credential
from hwkm.crypto.knowledge_factor import CREDENTIAL_BYTES_MAX
from hwkm.errors import HwkmError

_FOR_OTHERS: Final = stat.S_IRWXG | stat.S_IRWXO


class PinFileRefused(HwkmError):
    """A PIN file is missing, unreadable, empty, too long, or can be read by others."""

    code = "pin_file_refused"


def obtain_pin(what: str, pin_file: Path | None, *, option: str = "--pin-file") -> SecretBytes:
    """Return the PIN in ``pin_file``, or ask for it. ``what`` names it: "PIN", "new password".

    Raises:
        PinFileRefused, FormatError: see there.
        typer.BadParameter: there is neither a file nor a terminal.
    """
    return read_pin_file(pin_file) if pin_file else encode_credential(_ask(f"{what}: ", option))


def obtain_new_pin(what: str, pin_file: Path | None, *, option: str = "--pin-file") -> SecretBytes:
    """As :func:`obtain_pin`; asked for twice."""
    if pin_file:
        return read_pin_file(pin_file)
    first = encode_credential(_ask(f"{what}: ", option))
    with encode_credential(_ask(f"{what}, again: ", option)) as second:
        if first != second:
            raise typer.BadParameter("the two entries differ; nothing was done")
    return first


def read_pin_file(path: Path) -> SecretBytes:
    """Return what is in a private file, without the line break at its end.

    Raises:
        PinFileRefused: it cannot be read, or others can read it, or it belongs to someone else.
        FormatError: it is empty or too long.
    """
    return encode_credential(read_private_text(path, "PIN file", CREDENTIAL_BYTES_MAX))


def read_private_text(path: Path, what: str, bytes_max: int) -> str:
    """Return the text in a private file (up to a byte more than ``bytes_max``), without its last line break.

    Raises:
        PinFileRefused: as :func:`read_pin_file`.
    """
    try:
        opened = open(path, "rb", opener=_open_without_waiting)  # noqa: SIM115  (closed below)
    except OSError as exc:
        raise PinFileRefused(f"{what} {path}: {exc.strerror}") from exc
    with opened as file:
        _require_private(path, what, os.fstat(file.fileno()))
        os.set_blocking(file.fileno(), True)
        data = file.read(bytes_max + 3)
    try:
        text = data.decode("utf-8")
    except UnicodeDecodeError:
        raise PinFileRefused(f"{what} {path} is not UTF-8 text") from None
    return text.removesuffix("\n").removesuffix("\r")


def _open_without_waiting(path: str, flags: int) -> int:
    """A pipe that nobody writes to must not hold us up before it is looked at."""
    return os.open(path, flags | os.O_NONBLOCK)


def _require_private(path: Path, what: str, facts: os.stat_result) -> None:
    if not (stat.S_ISREG(facts.st_mode) or stat.S_ISFIFO(facts.st_mode)):
        raise PinFileRefused(f"{what} {path} is not a file")
    if facts.st_uid not in {os.geteuid(), 0}:
        raise PinFileRefused(f"{what} {path} belongs to another user (uid {facts.st_uid})")
    if facts.st_mode & _FOR_OTHERS:
        mode = stat.S_IMODE(facts.st_mode)
        raise PinFileRefused(f"{what} {path} can be used by others (mode {mode:04o}): chmod 600 {path}")


def _ask(prompt: str, option: str) -> str:
    if not _has_terminal():
        raise typer.BadParameter(f"there is no terminal to ask on; use {option} FILE")
    return getpass.getpass(prompt)


def _has_terminal() -> bool:
    """Whether getpass would find one; otherwise it would read standard input, and echo."""
    try:
        os.close(os.open("/dev/tty", os.O_RDWR | os.O_NOCTTY))
    except OSError:
        return False
    return True
