"""How a customer master key (CMK) encrypts, computes MACs, signs and agrees, and who may ask it to.

Encrypting and decrypting have two steps, with the hardware between them: :func:`begin_sealing` or
:func:`begin_opening` says what the hardware must compute the HMAC of; its result, the *message key*,
finishes the work. So whoever drives the hardware can hand it the HMACs of many ciphertexts at once.

Three rules hold whatever the daemon asks for:

- **A kind does one job.** A symmetric CMK computes HMACs only of derivation inputs, which are built
  here; an ``hmac_*`` CMK never derives a message key. Else a MAC asked for would be a message key.
- **A ciphertext opens only under the very key it names**, and under the context it was made with.
- **One refusal.** What does not open raises DecryptionError, whatever the reason.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Final

from hwkm.crypto import aead
from hwkm.crypto.curves import require_on_curve
from hwkm.errors import DecryptionError, FormatError, InvalidKeyError, KeyUsageInvalid
from hwkm.formats.ciphertext import (
    HEAD_BYTES,
    NONCE_BYTES,
    PLAINTEXT_BYTES_MAX,
    CiphertextHead,
    associated_data,
    derivation_input,
)
from hwkm.formats.context import context_digest
from hwkm.formats.key_kind import KeyKind, KeyName, KeyUsage, SigningAlgorithm
from hwkm.thm.ports import HMAC_MESSAGE_BYTES_MAX, LoadedKey

DATA_KEY_BYTES_MAX: Final = 1024


# Not frozen: making a frozen object costs twice as much, and these are made for every ciphertext.
@dataclass(slots=True)
class Sealing:
    """A ciphertext to be: all of it but its message key and its plaintext. Sealed once."""

    head: bytes
    context_digest: bytes

    def derivation(self) -> bytes:
        """What the hardware is to compute the HMAC of (94 bytes)."""
        return derivation_input(self.head, self.context_digest)

    def seal(self, message_key: bytes, plaintext: bytes) -> bytes:
        """Return the ciphertext: 53 bytes longer than ``plaintext`` (1 to 4,096 bytes).

        Raises:
            FormatError: the plaintext is empty or too long.
        """
        if not 1 <= len(plaintext) <= PLAINTEXT_BYTES_MAX:
            raise FormatError(f"a plaintext has 1 to {PLAINTEXT_BYTES_MAX} bytes")
        bound = associated_data(self.head, self.context_digest)
        return self.head + aead.encrypt_once(message_key, plaintext, bound)


@dataclass(slots=True)
class Opening:
    """A ciphertext that is well formed and names the right key; whether it opens is not known yet."""

    head: bytes
    context_digest: bytes
    sealed: bytes

    def derivation(self) -> bytes:
        """What the hardware is to compute the HMAC of (94 bytes)."""
        return derivation_input(self.head, self.context_digest)

    def open(self, message_key: bytes) -> bytes:
        """Return the plaintext.

        Raises:
            DecryptionError: another context, another key behind the name, or damage.
        """
        bound = associated_data(self.head, self.context_digest)
        return aead.decrypt_once(message_key, self.sealed, bound)


def begin_sealing(name: KeyName, kind: KeyKind, context: bytes, nonce: bytes) -> Sealing:
    """Begin to encrypt under a symmetric CMK, with a fresh random ``nonce`` (16 bytes).

    ``context`` is a canonical encoding; its bytes are bound as they are.

    Raises:
        KeyUsageInvalid: the CMK is not symmetric.
    """
    _require_usage(kind, KeyUsage.ENCRYPT_DECRYPT)
    if len(nonce) != NONCE_BYTES:
        raise FormatError(f"a nonce has {NONCE_BYTES} bytes")
    return Sealing(CiphertextHead(name, nonce).encode(), context_digest(context))


def begin_opening(name: KeyName, kind: KeyKind, context: bytes, ciphertext: bytes) -> Opening:
    """Begin to decrypt with a symmetric CMK.

    Raises:
        DecryptionError: it is not a ciphertext, or it names another key or version.
        KeyUsageInvalid: the CMK is not symmetric.
    """
    _require_usage(kind, KeyUsage.ENCRYPT_DECRYPT)
    try:
        head = CiphertextHead.parse(ciphertext)
    except FormatError:
        raise DecryptionError("the ciphertext does not decrypt") from None
    if head.name != name:
        raise DecryptionError("the ciphertext does not decrypt")
    return Opening(ciphertext[:HEAD_BYTES], context_digest(context), ciphertext[HEAD_BYTES:])


def compute_macs(kind: KeyKind, key: LoadedKey, messages: Sequence[bytes]) -> list[bytes]:
    """Return the HMAC of each message (1 to 4,096 bytes) by an ``hmac_*`` CMK.

    Raises:
        KeyUsageInvalid: the CMK is of another kind.
        FormatError: a message is empty or too long.
        TokenError: the hardware failed.
    """
    _require_usage(kind, KeyUsage.GENERATE_VERIFY_MAC)
    if not all(1 <= len(message) <= HMAC_MESSAGE_BYTES_MAX for message in messages):
        raise FormatError(f"a message to authenticate has 1 to {HMAC_MESSAGE_BYTES_MAX} bytes")
    return key.hmac(messages)


def sign_digest(kind: KeyKind, key: LoadedKey, algorithm: SigningAlgorithm, digest: bytes) -> bytes:
    """Sign a digest with a ``*_sign`` CMK.

    Raises:
        KeyUsageInvalid: the CMK does not sign by this algorithm.
        FormatError: the digest does not have the length of the algorithm's hash.
        UnsupportedKind: this hardware does not have the algorithm.
        TokenError: the hardware failed.
    """
    _require_usage(kind, KeyUsage.SIGN_VERIFY)
    if algorithm not in kind.signing_algorithms:
        raise KeyUsageInvalid(f"a key of kind {kind} does not sign by {algorithm}")
    if len(digest) != algorithm.digest_bytes:
        raise FormatError(f"{algorithm} signs a digest of {algorithm.digest_bytes} bytes, not {len(digest)}")
    return key.sign(algorithm, digest)


def agree_key(kind: KeyKind, key: LoadedKey, point: bytes) -> bytes:
    """Return the x coordinate of an ``*_agree`` CMK times ``point`` (uncompressed).

    A point that is not on the curve never reaches the hardware: it could leak the private key.

    Raises:
        KeyUsageInvalid: the CMK is of another kind.
        FormatError: the point is not on the CMK's curve.
        TokenError: the hardware failed.
    """
    _require_usage(kind, KeyUsage.KEY_AGREEMENT)
    try:
        require_on_curve(kind.spec, point)
    except InvalidKeyError as exc:
        raise FormatError(str(exc)) from None
    return key.agree(point)


def require_encrypts(kind: KeyKind) -> None:
    """Check that a CMK is symmetric, before work is done for it.

    Raises:
        KeyUsageInvalid: it is not.
    """
    _require_usage(kind, KeyUsage.ENCRYPT_DECRYPT)


def _require_usage(kind: KeyKind, usage: KeyUsage) -> None:
    if kind.usage is not usage:
        raise KeyUsageInvalid(f"a key of kind {kind} is for {kind.usage}, not for {usage}")
