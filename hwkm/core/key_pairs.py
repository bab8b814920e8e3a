"""Data key pairs. Those on a curve are made at once; RSA takes up to seconds, in a thread of its own.

That thread never touches the token. While OpenSSL looks for primes it does not hold Python's lock,
so claims and data keys are served meanwhile.
"""

from __future__ import annotations

import os
import threading
from collections import deque
from dataclasses import dataclass
from queue import SimpleQueue
from typing import Final

from cryptography.hazmat.primitives.asymmetric import ec, rsa
from cryptography.hazmat.primitives.serialization import Encoding, NoEncryption, PrivateFormat, PublicFormat

from hwkm.core.random_pool import RandomPool
from hwkm.errors import RateLimited
from hwkm.wire.key_messages import GenerateDataKeyPair, PairSpec

PAIRS_WAITING_MAX: Final = 16

_CURVES: Final[dict[PairSpec, ec.EllipticCurve]] = {
    PairSpec.ECC_NIST_P256: ec.SECP256R1(),
    PairSpec.ECC_NIST_P384: ec.SECP384R1(),
}
_RSA_BITS: Final = {PairSpec.RSA_2048: 2048, PairSpec.RSA_3072: 3072, PairSpec.RSA_4096: 4096}
_EXTRA_BYTES: Final = 8  # FIPS 186-5, A.2.1: 64 bits more than the order has


@dataclass(frozen=True, slots=True, repr=False)
class KeyPair:
    """``private_key`` is PKCS#8 DER, ``public_key`` SubjectPublicKeyInfo DER."""

    private_key: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class PairWanted:
    """A request that waits for its RSA pair."""

    number: int
    request: GenerateDataKeyPair


def is_quick(spec: PairSpec) -> bool:
    """Whether :func:`make_on_curve` makes it."""
    return spec in _CURVES


def make_on_curve(spec: PairSpec, pool: RandomPool) -> KeyPair:
    """Make a pair on P-256 or P-384 (FIPS 186-5, A.2.1).

    Raises:
        TokenError: the hardware failed.
    """
    curve = _CURVES[spec]
    drawn = int.from_bytes(pool.take(curve.key_size // 8 + _EXTRA_BYTES), "big")
    return _encoded(ec.derive_private_key(1 + drawn % (curve.group_order - 1), curve))


class RsaPairMaker:
    """Makes RSA pairs one after the other. ``wake_fd`` becomes readable when one is done."""

    def __init__(self) -> None:
        self.wake_fd = os.eventfd(0, os.EFD_CLOEXEC | os.EFD_NONBLOCK)
        self._wanted: SimpleQueue[PairWanted] = SimpleQueue()
        self._done: deque[tuple[PairWanted, KeyPair]] = deque()
        self._waiting = 0
        self._thread: threading.Thread | None = None

    def want(self, wanted: PairWanted) -> None:
        """Have a pair made.

        Raises:
            RateLimited: 16 are being waited for.
        """
        if self._waiting >= PAIRS_WAITING_MAX:
            raise RateLimited(f"{self._waiting} RSA key pairs are being made; try again", 1000)
        if self._thread is None:
            self._thread = threading.Thread(target=self._make_pairs, name="RSA pairs", daemon=True)
            self._thread.start()
        self._waiting += 1
        self._wanted.put(wanted)

    def take_done(self) -> list[tuple[PairWanted, KeyPair]]:
        """Return what is done, once."""
        if not self._waiting:
            return []
        try:
            count = os.eventfd_read(self.wake_fd)
        except BlockingIOError:
            return []
        self._waiting -= count
        return [self._done.popleft() for _ in range(count)]

    def _make_pairs(self) -> None:
        while True:
            wanted = self._wanted.get()
            self._done.append((wanted, _make_rsa(wanted.request.spec)))
            os.eventfd_write(self.wake_fd, 1)


def _make_rsa(spec: PairSpec) -> KeyPair:
    """Not inlined: a local of the endless loop would keep the newest private key in memory."""
    return _encoded(rsa.generate_private_key(65537, _RSA_BITS[spec]))


def _encoded(private: ec.EllipticCurvePrivateKey | rsa.RSAPrivateKey) -> KeyPair:
    return KeyPair(
        private.private_bytes(Encoding.DER, PrivateFormat.PKCS8, NoEncryption()),
        private.public_key().public_bytes(Encoding.DER, PublicFormat.SubjectPublicKeyInfo),
    )
