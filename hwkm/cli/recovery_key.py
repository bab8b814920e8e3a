"""What becomes of a recovery key that a command has in its hands: nothing, unless it is asked for."""

from __future__ import annotations

import re
from dataclasses import dataclass
from pathlib import Path
from typing import Final

from hwkm.cli.pin import read_private_text
from hwkm.cli.printing import print_line
from hwkm.client import SecretBytes
from hwkm.client.backup.output import new_file, refuse_existing
from hwkm.errors import FormatError
from hwkm.formats.vault import RECOVERY_KEY_BYTES

_KEY: Final = re.compile(r"[0-9a-fA-F]{64}")


def read_recovery_key(path: Path) -> SecretBytes:
    """Read what :meth:`RecoveryKeySink.write` wrote.

    Raises:
        PinFileRefused: it cannot be read, or others can read it.
        FormatError: it is not 64 hex digits.
    """
    text = read_private_text(path, "recovery key file", 2 * RECOVERY_KEY_BYTES)
    if not _KEY.fullmatch(text):
        raise FormatError(f"recovery key file {path}: not 64 hex digits")
    return SecretBytes(bytes.fromhex(text))


@dataclass(frozen=True, slots=True)
class RecoveryKeySink:
    """Where it goes: into a new private file, onto the screen, or nowhere."""

    file: Path | None
    show: bool

    def check(self) -> None:
        """Refuse, before anything is done, a file that exists.

        Raises:
            OutputExists: it does.
        """
        if self.file:
            refuse_existing(self.file)

    def write(self, key: SecretBytes) -> None:
        """Write the file (mode 0600, 64 hex digits and a line break).

        Raises:
            OutputExists, StorageUnavailable: it was not written.
        """
        if self.file:
            with new_file(self.file) as file:
                file.write(key.expose().hex().encode() + b"\n")

    def facts(self, key: SecretBytes) -> dict[str, str]:
        """What to add to JSON."""
        shown = {"recovery_key": key.expose().hex()} if self.show else {}
        return shown | ({"recovery_key_file": str(self.file)} if self.file else {})

    def print(self, key: SecretBytes) -> None:
        """Print what was asked for."""
        if self.file:
            print_line(f"The recovery key is in {self.file}.")
        if self.show:
            print_line(f"recovery key: {key.expose().hex()}")
