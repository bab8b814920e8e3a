"""Argon2id from RFC 9106, with BLAKE2b from the standard library. For a few dozen KiB only."""

from __future__ import annotations

import struct
from collections.abc import Callable, Iterator
from dataclasses import dataclass, field
from hashlib import blake2b

Block = list[int]
"""1,024 bytes as 128 words of 64 bits."""

_WORD = 0xFFFFFFFFFFFFFFFF
_HALF = 0xFFFFFFFF
_VERSION = 0x13
_TYPE_ID = 2
_SLICES = 4
_ZERO_BLOCK: Block = [0] * 128


def _u32(value: int) -> bytes:
    return struct.pack("<I", value)


def _prefixed(data: bytes) -> bytes:
    return _u32(len(data)) + data


def _long_hash(length: int, data: bytes) -> bytes:
    """Section 3.3, H'."""
    data = _u32(length) + data
    if length <= 64:
        return blake2b(data, digest_size=length).digest()
    output = b""
    digest = blake2b(data).digest()
    while length - len(output) > 64:
        output += digest[:32]
        remaining = length - len(output)
        digest = blake2b(digest, digest_size=min(64, remaining)).digest()
    return output + digest


def _words(data: bytes) -> Block:
    return list(struct.unpack("<128Q", data))


def _mix(v: list[int], a: int, b: int, c: int, d: int) -> None:
    """Section 3.6, GB: BLAKE2b's step with a multiplication added."""
    for turn_d, turn_b in ((32, 24), (16, 63)):
        v[a] = (v[a] + v[b] + 2 * (v[a] & _HALF) * (v[b] & _HALF)) & _WORD
        v[d] = _rotated(v[d] ^ v[a], turn_d)
        v[c] = (v[c] + v[d] + 2 * (v[c] & _HALF) * (v[d] & _HALF)) & _WORD
        v[b] = _rotated(v[b] ^ v[c], turn_b)


def _rotated(word: int, right: int) -> int:
    return (word >> right | word << (64 - right)) & _WORD


def _permute(block: Block, at: list[int]) -> None:
    """Section 3.6, P, on the sixteen words of ``block`` at these indices."""
    v = [block[index] for index in at]
    for column in range(4):
        _mix(v, column, 4 + column, 8 + column, 12 + column)
    for diagonal in range(4):
        b, c, d = (diagonal + 1) % 4, (diagonal + 2) % 4, (diagonal + 3) % 4
        _mix(v, diagonal, 4 + b, 8 + c, 12 + d)
    for index, word in zip(at, v, strict=True):
        block[index] = word


def _compress(left: Block, right: Block) -> Block:
    """Section 3.5, G."""
    start = [a ^ b for a, b in zip(left, right, strict=True)]
    block = list(start)
    for row in range(8):
        _permute(block, [16 * row + word for word in range(16)])
    for column in range(8):
        _permute(block, [2 * column + 16 * row + half for row in range(8) for half in (0, 1)])
    return [a ^ b for a, b in zip(start, block, strict=True)]


@dataclass
class Argon2id:
    """One computation; ``h0`` is the pre-hash of section 3.2 step 1."""

    password: bytes
    salt: bytes
    memory: int
    passes: int
    lanes: int
    length: int = 32
    secret: bytes = b""
    associated: bytes = b""
    h0: bytes = field(init=False)

    def __post_init__(self) -> None:
        numbers = (self.lanes, self.length, self.memory, self.passes, _VERSION, _TYPE_ID)
        texts = (self.password, self.salt, self.secret, self.associated)
        self.h0 = blake2b(b"".join([*map(_u32, numbers), *map(_prefixed, texts)])).digest()
        self._blocks = _SLICES * self.lanes * (self.memory // (_SLICES * self.lanes))
        self._columns = self._blocks // self.lanes
        self._segment = self._columns // _SLICES

    def tag(self) -> bytes:
        self._matrix = [[_ZERO_BLOCK] * self._columns for _ in range(self.lanes)]
        for lane in range(self.lanes):
            for column in (0, 1):
                seed = self.h0 + _u32(column) + _u32(lane)
                self._matrix[lane][column] = _words(_long_hash(1024, seed))
        for pass_number in range(self.passes):
            for slice_number in range(_SLICES):
                for lane in range(self.lanes):
                    self._fill(pass_number, lane, slice_number)
        final = _ZERO_BLOCK
        for row in self._matrix:
            final = [a ^ b for a, b in zip(final, row[-1], strict=True)]
        return _long_hash(self.length, struct.pack("<128Q", *final))

    def _fill(self, pass_number: int, lane: int, slice_number: int) -> None:
        row = self._matrix[lane]
        first = 2 if pass_number == 0 and slice_number == 0 else 0
        draw = self._pseudo_random(pass_number, lane, slice_number)
        for index in range(self._segment):
            j1, j2 = draw(index)
            if index < first:
                continue
            column = slice_number * self._segment + index
            reference = self._reference((pass_number, lane, slice_number, index), j1, j2)
            block = _compress(row[column - 1], reference)
            if pass_number:
                block = [a ^ b for a, b in zip(block, row[column], strict=True)]
            row[column] = block

    def _pseudo_random(
        self, pass_number: int, lane: int, slice_number: int
    ) -> Callable[[int], tuple[int, int]]:
        """Section 3.4.1: J1 and J2 for a position in the segment."""
        if pass_number == 0 and slice_number < _SLICES // 2:
            drawn = self._independent(pass_number, lane, slice_number)
            return lambda _index: next(drawn)
        row = self._matrix[lane]

        def dependent(index: int) -> tuple[int, int]:
            word = row[slice_number * self._segment + index - 1][0]
            return word & _HALF, word >> 32

        return dependent

    def _independent(self, pass_number: int, lane: int, slice_number: int) -> Iterator[tuple[int, int]]:
        head = [pass_number, lane, slice_number, self._blocks, self.passes, _TYPE_ID]
        for counter in range(1, self._segment // 128 + 2):
            seed = [*head, counter, *([0] * 121)]
            for word in _compress(_ZERO_BLOCK, _compress(_ZERO_BLOCK, seed)):
                yield word & _HALF, word >> 32

    def _reference(self, position: tuple[int, int, int, int], j1: int, j2: int) -> Block:
        """Sections 3.4.1.3 and 3.4.2: from J1 and J2 to the block to mix in."""
        pass_number, lane, slice_number, index = position
        is_first = pass_number == 0 and slice_number == 0
        of_lane = lane if is_first else j2 % self.lanes
        finished = self._segment * (slice_number if pass_number == 0 else _SLICES - 1)
        size = finished + (index - 1 if of_lane == lane else -(index == 0))
        back = size * (j1 * j1 >> 32) >> 32
        start = 0 if pass_number == 0 else (slice_number + 1) * self._segment
        return self._matrix[of_lane][(start + size - 1 - back) % self._columns]
