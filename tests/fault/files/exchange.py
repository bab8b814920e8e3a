"""Exchanges the headers of the files in a directory: ``python -m tests.fault.files.exchange DIRECTORY``.

The first half of the files get a header as long as the old one, the others a longer one.
"""

from __future__ import annotations

import hashlib
import sys
from contextlib import ExitStack
from pathlib import Path
from typing import Final

from hwkm.client.files.header_swap import HeaderSwap, held, replace_by_copy, swap_in_place

OLD_BYTES: Final = 700
NEW_BYTES: Final = {True: 700, False: 733}
IN_PLACE: Final = ("a", "b", "c")
BY_COPY: Final = ("x", "y")


def header(name: str, *, new: bool) -> bytes:
    """The old or the new header of a file; the two have no stretch in common."""
    length = NEW_BYTES[name in IN_PLACE] if new else OLD_BYTES
    seed = hashlib.shake_256(name.encode()).digest(length)
    return bytes(byte ^ 0x80 for byte in seed) if new else seed


def body(name: str) -> bytes:
    """The rest of a file."""
    return hashlib.shake_256(b"body of " + name.encode()).digest(5000)


def make(directory: Path) -> None:
    """Write the files as they are before."""
    for name in (*IN_PLACE, *BY_COPY):
        (directory / name).write_bytes(header(name, new=False) + body(name))


def exchange(directory: Path) -> None:
    """Exchange every header."""
    with ExitStack() as stack:
        files = {name: stack.enter_context(held(directory / name)) for name in (*IN_PLACE, *BY_COPY)}
        swap_in_place(
            directory,
            [
                (files[name], HeaderSwap(name.encode(), header(name, new=False), header(name, new=True)))
                for name in IN_PLACE
            ],
        )
        for name in BY_COPY:
            replace_by_copy(files[name], OLD_BYTES, header(name, new=True))


if __name__ == "__main__":
    exchange(Path(sys.argv[1]))
