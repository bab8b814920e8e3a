"""What the trusted rules need from the outside, and nothing more.

Implementations live in :mod:`hwkm.tokens` (hardware) and :mod:`hwkm.store.nodes` (storage).
Each docstring is the contract; ``tests/contract`` runs it against every implementation.
All of these are used by one thread only.
"""

from __future__ import annotations

from collections.abc import Iterable, Mapping, Sequence
from typing import Protocol

from hwkm.formats.anchor import AnchorState


class CohortKey(Protocol):
    """The P-256 key pair of the cohort; its private half never leaves the hardware."""

    def public_key(self) -> bytes:
        """Return the public point, 65 bytes uncompressed (SEC 1, 2.3.3). Cached, no I/O."""
        ...

    def agree(self, points: Sequence[bytes]) -> list[bytes]:
        """Return the x coordinate (32 bytes) of private key times each point (65 bytes), in order.

        The caller has checked that the points are on the curve (NIST SP 800-56A, 5.7.1.2). All of a
        batch are handed over at once, so that hardware need not wait for us between two.

        Raises:
            TokenError: the hardware failed; nothing was changed.
        """
        ...


class Anchor(Protocol):
    """The small piece of hardware NV state that says which version of the state is true."""

    def read(self) -> AnchorState:
        """Return the state last made durable.

        Raises:
            AnchorTampered: the anchor is missing, ambiguous, or not the one hwkm made.
            TokenError: the hardware failed.
        """
        ...

    def advance(self, state: AnchorState) -> None:
        """Make ``state`` the true one. Durable in the hardware when this returns.

        ``state.epoch`` is the epoch read last plus one. Not idempotent; one writer.

        Raises:
            TokenBusy, TokenFull: definitely not applied; may be tried again.
            AnchorUncertain: applied or not, unknown: the process must end and read again.
        """
        ...


class NodeStore(Protocol):
    """Content-addressed storage of tree nodes. Not trusted for anything but availability."""

    def get(self, digest: bytes) -> bytes | None:
        """Return what is stored under ``digest`` (32 bytes), unchecked, or None.

        Raises:
            StorageMismatch: the storage itself is damaged.
            StorageUnavailable: storage failed.
        """
        ...

    def put(self, nodes: Mapping[bytes, bytes], obsolete: Iterable[bytes]) -> None:
        """Store ``nodes`` and delete ``obsolete``, in one transaction, fsynced when this returns.

        ``obsolete`` holds digests that no state from the anchored one on refers to; a digest
        in both is kept.

        Raises:
            StorageMismatch: the storage itself is damaged.
            StorageUnavailable: storage failed; nothing was applied or all of it was.
        """
        ...
