"""Secrets searched for in the memory of a process and in files.

The core forbids other processes of its user to read its memory (``PR_SET_DUMPABLE``); root may. Where
the tests do not run as root, :func:`readable_by_its_user` gives an environment in which that one
measure is left out.
"""

from __future__ import annotations

import base64
import os
from array import array
from collections.abc import Iterator, Mapping
from pathlib import Path
from typing import Final

from tests.harness.native_build import built

_PIECE_BYTES: Final = 1 << 20
_WORD_BYTES: Final = 8


def readable_by_its_user() -> dict[str, str]:
    """An environment in which a core stays readable for its own user; empty for root."""
    return {} if os.geteuid() == 0 else {"LD_PRELOAD": str(built("stay_dumpable"))}


class Hunt:
    """Secrets by name, to be found in files whole in any form, and in memory also in part.

    Eight bytes of a hash of a PIN are as good as all of it for trying PINs. Whatever a C library or
    Python puts into memory begins at a multiple of 8, so parts are looked for there only.
    """

    def __init__(self, secrets: Mapping[str, bytes]) -> None:
        self._secrets = dict(secrets)
        self._forms = {form: name for name, secret in secrets.items() for form in _forms(secret)}
        self._words = {word: name for form, name in self._forms.items() for word in _words(form)}
        self._wanted = frozenset(self._words)

    def in_bytes(self, data: bytes) -> set[str]:
        """The names of those that occur."""
        return {name for form, name in self._forms.items() if form in data}

    def in_memory(self, pid: int) -> set[str]:
        """The names of those that a process holds, whole or in part; it should be at rest."""
        found: set[str] = set()
        for data in memory_of(pid):
            found |= {self._words[word] for word in self._wanted.intersection(_words(data))}
            found |= {name for name, secret in self._secrets.items() if secret in data}
        return found


def _forms(secret: bytes) -> set[bytes]:
    """How a secret may be written: as it is, in hex, in base64."""
    text = secret.hex()
    encoded = {encode(secret).rstrip(b"=") for encode in (base64.b64encode, base64.urlsafe_b64encode)}
    return {secret, text.encode(), text.upper().encode(), *encoded}


def _words(data: bytes) -> array[int]:
    return array("Q", data[: len(data) // _WORD_BYTES * _WORD_BYTES])


def memory_of(pid: int) -> Iterator[bytes]:
    """Every mapping that may hold something written at run time."""
    descriptor = os.open(f"/proc/{pid}/mem", os.O_RDONLY | os.O_CLOEXEC)
    try:
        for line in Path(f"/proc/{pid}/maps").read_text().splitlines():
            bounds, permissions, _, device, *_ = line.split()
            first, last = (int(bound, 16) for bound in bounds.split("-"))
            only_a_file = "w" not in permissions and device != "00:00"
            if "r" in permissions and not only_a_file and not line.endswith(("[vvar]", "[vsyscall]")):
                yield b"".join(_pieces(descriptor, first, last))
    finally:
        os.close(descriptor)


def _pieces(descriptor: int, first: int, last: int) -> Iterator[bytes]:
    while first < last:
        try:
            piece = os.pread(descriptor, min(last - first, _PIECE_BYTES), first)
        except OSError:
            piece = b""
        if not piece:
            return  # a mapping of a file beyond the file's end
        yield piece
        first += len(piece)
