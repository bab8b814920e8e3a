"""A backup file with anything changed in it: a typed error, and nothing left behind."""

from __future__ import annotations

import os
import tempfile
from collections.abc import Iterator
from pathlib import Path

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.client import backup
from hwkm.client.application_key import ApplicationKey, KeyRing
from hwkm.client.backup import BackupDamaged, BackupKeyMissing, NotABackup
from hwkm.secret import SecretBytes

KEY = ApplicationKey("backup.1", SecretBytes(bytes(range(32))))
RING = KeyRing({KEY.alias: KEY})


class Bench:
    """A directory with a backup of two files, and its bytes."""

    def __init__(self, directory: Path) -> None:
        tree = directory / "tree"
        tree.mkdir()
        (tree / "small").write_bytes(b"small")
        (tree / "large").write_bytes(os.urandom(150_000))
        backup.encrypt(tree, directory / "whole", bytes(17), KEY)
        self.directory = directory
        self.data = (directory / "whole").read_bytes()

    def refused(self, data: bytes) -> None:
        """See that ``data`` is refused, and that nothing is left behind."""
        before = set(self.directory.iterdir())
        changed = self.directory / "changed"
        changed.write_bytes(data)
        with pytest.raises((BackupDamaged, NotABackup, BackupKeyMissing)):
            backup.restore(changed, self.directory / "out", RING)
        changed.unlink()
        assert set(self.directory.iterdir()) == before


@pytest.fixture(scope="module")
def bench() -> Iterator[Bench]:
    with tempfile.TemporaryDirectory() as directory:
        yield Bench(Path(directory))


@given(data=st.data())
def test_a_changed_byte_is_found(bench: Bench, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(bench.data) - 1) | st.integers(0, 200))
    changed = bytearray(bench.data)
    changed[at] ^= data.draw(st.integers(1, 255))
    bench.refused(bytes(changed))


@given(data=st.data())
def test_a_cut_is_found(bench: Bench, data: st.DataObject) -> None:
    bench.refused(bench.data[: data.draw(st.integers(0, len(bench.data) - 1))])


@given(data=st.data())
def test_bytes_taken_out_are_found(bench: Bench, data: st.DataObject) -> None:
    start = data.draw(st.integers(0, len(bench.data) - 1))
    end = data.draw(st.integers(start + 1, len(bench.data)))
    bench.refused(bench.data[:start] + bench.data[end:])


@given(data=st.data())
def test_bytes_put_in_are_found(bench: Bench, data: st.DataObject) -> None:
    at = data.draw(st.integers(0, len(bench.data)))
    added = data.draw(st.binary(min_size=1, max_size=100))
    bench.refused(bench.data[:at] + added + bench.data[at:])


@given(data=st.data())
def test_two_pieces_in_each_others_place_are_found(bench: Bench, data: st.DataObject) -> None:
    cuts = sorted(data.draw(st.lists(st.integers(0, len(bench.data)), min_size=3, max_size=3, unique=True)))
    first, second, third = cuts
    swapped = bench.data[:first] + bench.data[second:third] + bench.data[first:second] + bench.data[third:]
    if swapped != bench.data:
        bench.refused(swapped)


@given(garbage=st.binary(max_size=500))
def test_garbage_is_refused(bench: Bench, garbage: bytes) -> None:
    bench.refused(garbage)
    bench.refused(bench.data[:12] + garbage)


def test_every_byte_of_the_head_and_every_edge_of_a_chunk(bench: Bench) -> None:
    head = 62 + len(KEY.alias) + 32
    edges = [head + chunk * 65_552 + offset for chunk in range(3) for offset in (-1, 0, 1)]
    for at in [*range(head), *(edge for edge in edges if edge < len(bench.data))]:
        changed = bytearray(bench.data)
        changed[at] ^= 1
        bench.refused(bytes(changed))
