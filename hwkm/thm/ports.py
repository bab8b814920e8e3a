"""What the trusted rules need from the outside, and nothing more.

Implementations live in :mod:`hwkm.tokens` (hardware) and :mod:`hwkm.store.nodes` (storage).
Each docstring is the contract; ``tests/contract`` runs it against every implementation.
All of these are used by one thread only.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Mapping, Sequence
from dataclasses import dataclass
from typing import Final, Protocol

from hwkm.formats.anchor import AnchorState
from hwkm.formats.key_kind import KeyKind, KeyName, SigningAlgorithm

HMAC_MESSAGE_BYTES_MAX: Final = 4096
RANDOM_BYTES_MAX: Final = 1024


class CohortKey(Protocol):
    """The P-256 key pair of the cohort; its private half never leaves the hardware."""

    def public_key(self) -> bytes:
        """Return the public point, 65 bytes uncompressed (SEC 1, 2.3.3). Cached, no I/O."""
        ...

    def agree(self, points: Sequence[bytes]) -> Iterator[bytes]:
        """Yield the x coordinate (32 bytes) of private key times each point (65 bytes), in order.

        The caller has checked that the points are on the curve (NIST SP 800-56A, 5.7.1.2). All of a
        batch are handed over at once, so that hardware need not wait for us between two: it may work
        on the next point while the caller uses what was yielded. The caller asks nothing else of
        the hardware until the last was yielded.

        Raises, while it yields:
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


class Randomness(Protocol):
    """The hardware's random generator."""

    def random(self, length: int) -> bytes:
        """Return ``length`` bytes (0 to RANDOM_BYTES_MAX).

        Raises:
            TokenError: the hardware failed.
        """
        ...


class LoadedKey(Protocol):
    """One version of a customer master key inside the hardware, where it cannot be extracted.

    Each kind does only its own job; asking it for another's raises KeyUsageInvalid. The caller has
    checked sizes and algorithm. A key that was unloaded is not used again.
    """

    def hmac(self, messages: Sequence[bytes]) -> list[bytes]:
        """Return the HMAC of each message (1 to 4,096 bytes), in order. For ``symmetric`` and ``hmac_*``.

        The hash is that of the kind (SHA-256 for ``symmetric``), the result has its full length. All of
        a batch are handed over at once, so that hardware need not wait for us between two.

        Raises:
            KeyUsageInvalid: it is a key pair.
            TokenError: the hardware failed; nothing was changed.
        """
        ...

    def sign(self, algorithm: SigningAlgorithm, digest: bytes) -> bytes:
        """Sign a digest (of the algorithm's hash). For ``*_sign``.

        ECDSA: the DER of r and s (RFC 3279, 2.2.3). RSASSA-PSS: salt as long as the digest, MGF1 with
        the same hash. RSASSA-PKCS1-v1_5: RFC 8017, 9.2, DigestInfo included. Both as long as the modulus.

        Raises:
            KeyUsageInvalid: the kind does not sign by this algorithm.
            UnsupportedKind: the kind does, this hardware does not.
            TokenError: the hardware failed; nothing was changed.
        """
        ...

    def agree(self, point: bytes) -> bytes:
        """Return the x coordinate (32 or 48 bytes) of private key times ``point``. For ``*_agree``.

        ``point`` is uncompressed (65 or 97 bytes; SEC 1, 2.3.3); the caller has checked that it is
        on the key's curve (NIST SP 800-56A, 5.7.1.2).

        Raises:
            KeyUsageInvalid: the kind does not agree.
            TokenError: the hardware failed; nothing was changed.
        """
        ...

    def unload(self) -> None:
        """Remove the key from the hardware. May be called again. Never raises a TokenError."""
        ...


@dataclass(frozen=True, slots=True)
class CreatedKey:
    """A new key.

    ``wrapped`` is an encoded :class:`~hwkm.formats.wrapped_key.WrappedKey`; ``public_key`` the DER
    of a key pair's SubjectPublicKeyInfo (RFC 5280, 4.1), empty for a secret key.
    """

    wrapped: bytes
    public_key: bytes


@dataclass(frozen=True, slots=True)
class WrappedItem:
    """One version of a customer master key and what is stored of it."""

    name: KeyName
    kind: KeyKind
    wrapped: bytes


class Domain(Protocol):
    """The domain keys of one module: they wrap customer master keys and never leave the hardware."""

    @property
    def generation(self) -> int:
        """Number of the newest domain key, from 1; new keys are wrapped under it. Cached, no I/O."""
        ...

    @property
    def kinds(self) -> frozenset[KeyKind]:
        """What this hardware can do; ``symmetric`` always. Cached, no I/O."""
        ...

    @property
    def loaded_max(self) -> int:
        """How many loaded keys the caller may hold at once at most, at least 2. Cached, no I/O.

        Where the hardware does not say what it holds, :meth:`load` raises TokenFull before that.
        """
        ...

    def create(self, name: KeyName, kind: KeyKind) -> CreatedKey:
        """Make a key in the hardware and return it wrapped and bound to ``name`` and ``kind``.

        Nothing of it stays in the hardware. Called twice, it makes two different keys.

        Raises:
            UnsupportedKind: this hardware has no keys of this kind.
            TokenError: the hardware failed; nothing was made.
        """
        ...

    def load(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> LoadedKey:
        """Load a key so that it cannot be extracted. Any generation that is still there unwraps it.

        The caller unloads a key before it would hold more than ``loaded_max``.

        Raises:
            WrappedKeyRefused: ``wrapped`` is damaged, is of another name, kind, module or backend, or
                its domain key is gone. One error for all: the message names name, kind and generation only.
            UnsupportedKind: this hardware has no keys of this kind.
            TokenFull: no room for one more loaded key.
            TokenError: the hardware failed.
        """
        ...

    def rewrap(self, name: KeyName, kind: KeyKind, wrapped: bytes) -> bytes:
        """Return the same key wrapped under the newest domain key. The key itself never leaves the hardware.

        What is under the newest domain key already may be returned as it is, its binding checked.

        Raises:
            WrappedKeyRefused, UnsupportedKind, TokenError: as :meth:`load`.
        """
        ...

    def generations(self) -> tuple[int, ...]:
        """Return the numbers of the domain keys that are there, ascending. Cached, no I/O."""
        ...

    def rotate(self) -> int:
        """Make the next domain key, durable in the hardware, and return its number.

        The older ones stay for unwrapping. A crash leaves it made or not made, never half made.

        Raises:
            TokenFull: no room; nothing was made.
            TokenError: the hardware failed; the process must end and look what is there.
        """
        ...

    def retire(self, generation: int) -> None:
        """Destroy an old domain key: whatever is still wrapped under it is lost for good.

        Raises:
            GenerationRefused: it is the newest or is not there; nothing was changed.
            TokenError: the hardware failed; the process must end and look what is there.
        """
        ...

    def exchange_statement(self) -> bytes:
        """Return what another module needs to send keys here.

        It is a signed :class:`~hwkm.formats.domain_token.ExchangeStatement`, encoded. Makes the exchange key
        if there is none. Its ``fingerprint()`` is what the two operators compare.

        Raises:
            TokenFull: no room for the exchange key.
            TokenError: the hardware failed.
        """
        ...

    def export_keys(self, statement: bytes, fingerprint: bytes, keys: Sequence[WrappedItem]) -> bytes:
        """Return a :class:`~hwkm.formats.domain_token.DomainToken`: 1 to 64 keys wrapped to another module.

        ``fingerprint`` (32 bytes) is what this module's operator has from the other operator, by another
        way than the statement. No key is seen outside the hardware of the two.

        Raises:
            ExchangeRefused: the statement is damaged, not signed as it must be, or of another fingerprint.
            ExchangeUnsupported: it is of another kind of module, or keys of this domain may not leave.
            WrappedKeyRefused, UnsupportedKind, TokenError: as :meth:`load`; nothing is exported then.
        """
        ...

    def import_keys(self, domain_token: bytes, sender: bytes) -> list[WrappedItem]:
        """Return every key of a domain token, wrapped under the newest domain key of this module.

        ``sender`` is the SHA-256 (32 bytes) of the sending module's audit public key, which this module's
        operator has from the other operator. Whether the keys are complete is for the caller to check.

        Raises:
            ExchangeRefused: the token is damaged, another sender's, or for another module.
            ExchangeUnsupported: it is from another kind of module.
            UnsupportedKind: this hardware has no keys of one of the kinds; nothing is imported.
            TokenError: the hardware failed.
        """
        ...
