"""What a data key costs below the front: one request to the core, and one durable line on the disk."""

from __future__ import annotations

import os
from collections.abc import Callable, Iterator
from pathlib import Path

from bench.bed import make_bed
from bench.figure import Figure
from bench.raw import measure
from hwkm.formats.context import encode_context
from hwkm.wire import key_messages as keys
from tests.core_keys import ask, create
from tests.core_process import CoreProcess
from tests.hardware import short_directory

CONTEXT = encode_context({"tenant": "bench", "object": "letters/2026/11/25"})
_LINE_BYTES = 400


def floors(kind: str, directory: Path, *, seconds: float, items: int) -> Iterator[Figure]:
    """The core's channel with one request outstanding, and a line of an audit record appended and synced."""
    place = directory / "floors"
    place.mkdir()
    with make_bed(kind, place) as bed, bed.core() as core:
        key = create(core).current
        for count in (1, items):
            request = _request(key, count)
            rate = count / measure(_asking(core, request), seconds)
            label = "one at a time" if count == 1 else f"batches of {count}"
            yield Figure(f"core: data keys, {label}", kind, rate, "per s")
    yield Figure("raw append and fdatasync of a line", kind, _durable_append_s(seconds) * 1e3, "ms")


def _request(key: keys.KeyRef, count: int) -> keys.GenerateDataKeys:
    return keys.GenerateDataKeys(key=key, items=(keys.DataKeyItem(CONTEXT, 32),) * count)


def _asking(core: CoreProcess, request: keys.GenerateDataKeys) -> Callable[[], object]:
    return lambda: ask(core, request, keys.DataKeys)


def _durable_append_s(seconds: float) -> float:
    """Where the daemon's audit log is too: the directory of :mod:`bench.key_daemon`."""
    place = short_directory()
    line = b"x" * (_LINE_BYTES - 1) + b"\n"
    file = os.open(place / "line", os.O_WRONLY | os.O_CREAT | os.O_APPEND, 0o600)

    def append() -> None:
        os.write(file, line)
        os.fdatasync(file)

    try:
        return measure(append, seconds)
    finally:
        os.close(file)
        (place / "line").unlink()
        place.rmdir()
