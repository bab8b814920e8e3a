"""Random bytes of two sources: given out once, fresh, overwritten."""

from __future__ import annotations

import hashlib
import os

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.core.random_pool import BLOCK_BYTES, SEED_BYTES, RandomPool
from hwkm.errors import TokenUnavailable


class Generator:
    """A hardware generator that gives the same each time, and counts."""

    def __init__(self) -> None:
        self.drawn: list[int] = []

    def random(self, length: int) -> bytes:
        self.drawn.append(length)
        return b"\x07" * length


class BrokenGenerator:
    def random(self, length: int) -> bytes:
        raise TokenUnavailable("gone")


@given(st.lists(st.integers(0, 1100), max_size=40))
def test_no_byte_is_given_out_twice(lengths: list[int]) -> None:
    pool = RandomPool(Generator())
    taken = [pool.take(length) for length in lengths]
    assert [len(piece) for piece in taken] == lengths
    long_enough = [piece[:8] for piece in taken if len(piece) >= 8]
    assert len(set(long_enough)) == len(long_enough)


def test_one_draw_serves_85_data_keys() -> None:
    generator = Generator()
    pool = RandomPool(generator)
    for _ in range(85):
        pool.take(16)
        pool.take(32)
    assert (generator.drawn, pool.draws) == ([SEED_BYTES], 1)
    pool.take(32)
    assert pool.draws == 2


def test_either_source_alone_makes_the_bytes_unpredictable(monkeypatch: pytest.MonkeyPatch) -> None:
    """A hardware generator that repeats itself, then an operating system that does."""
    assert RandomPool(Generator()).take(32) != RandomPool(Generator()).take(32)

    class Good:
        def random(self, length: int) -> bytes:
            return os.getrandom(length)

    monkeypatch.setattr(os, "urandom", bytes)
    assert RandomPool(Good()).take(32) != RandomPool(Good()).take(32)
    assert RandomPool(Generator()).take(32) == RandomPool(Generator()).take(32)


def test_the_block_is_what_the_specification_says(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr(os, "urandom", lambda length: b"\x09" * length)
    seed = b"hwkm random pool v1" + b"\x07" * 64 + b"\x09" * 64
    assert RandomPool(Generator()).take(BLOCK_BYTES) == hashlib.shake_256(seed).digest(4096)


def test_what_was_given_out_is_overwritten() -> None:
    pool = RandomPool(Generator())
    taken = pool.take(100)
    assert bytes(pool._block[:100]) == bytes(100)
    assert taken not in bytes(pool._block)


def test_hardware_that_fails_gives_nothing() -> None:
    with pytest.raises(TokenUnavailable):
        RandomPool(BrokenGenerator()).take(1)
