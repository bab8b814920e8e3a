"""Random bytes for nonces and data keys, of two sources (``docs/spec/ciphertext.md``, Randomness).

A draw of the hardware's generator costs as much as an HMAC on a TPM, and a data key needs 48 bytes. So
draws are made for many data keys at once, mixed with as much from the operating system and
stretched: what comes out cannot be foretold as long as either source cannot.
"""

from __future__ import annotations

import hashlib
import os
from typing import Final

from hwkm.crypto import labels
from hwkm.thm.ports import Randomness

BLOCK_BYTES: Final = 4096
SEED_BYTES: Final = 64


class RandomPool:
    """Hands out every byte once, and overwrites it."""

    def __init__(self, hardware: Randomness) -> None:
        self._hardware = hardware
        self._block = bytearray()
        self._at = 0
        self.draws = 0

    def take(self, length: int) -> bytes:
        """Return ``length`` fresh bytes (up to 4,096).

        Raises:
            TokenError: the hardware failed.
        """
        if self._at + length > len(self._block):
            self._fill()
        end = self._at + length
        taken = bytes(self._block[self._at : end])
        self._block[self._at : end] = bytes(length)
        self._at = end
        return taken

    def _fill(self) -> None:
        seed = self._hardware.random(SEED_BYTES) + os.urandom(SEED_BYTES)
        self._block[:] = hashlib.shake_256(labels.RANDOM_POOL + seed).digest(BLOCK_BYTES)
        self._at = 0
        self.draws += 1
