"""Requests to encrypt and decrypt, cut in two around the hardware's HMACs.

Each request becomes a :class:`KeyWork`: what the hardware must compute, and how the results make the
reply. So the HMACs of all requests that wait are computed together, key by key.
"""

from __future__ import annotations

from collections.abc import Callable, Sequence
from dataclasses import dataclass, field

from hwkm.core.key_pairs import KeyPair
from hwkm.core.random_pool import RandomPool
from hwkm.errors import DecryptionError, FormatError, HwkmError
from hwkm.formats.ciphertext import NONCE_BYTES
from hwkm.formats.key_kind import KeyName
from hwkm.thm.data_keys import Opening, Sealing, begin_opening, begin_sealing
from hwkm.wire import key_messages as wire
from hwkm.wire.key_messages import KeyRef

Finish = Callable[[list[bytes]], wire.KeyReply]


@dataclass(slots=True, repr=False)
class KeyWork:
    """``derivations`` are for the hardware; ``finish`` takes the message keys in the same order, and cannot fail.

    ``refusal`` is why the hardware did not compute them.
    """

    derivations: list[tuple[KeyRef, bytes]]
    finish: Finish
    message_keys: list[bytes] = field(default_factory=list)
    refusal: HwkmError | None = None


def generate(request: wire.GenerateDataKeys, pool: RandomPool) -> KeyWork:
    """Draw data keys and encrypt them.

    Raises:
        KeyUsageInvalid: the key is not symmetric.
        TokenError: the hardware failed.
    """
    key, items = request.key, request.items
    name, kind = _name(key), key.kind
    sealings = [begin_sealing(name, kind, item.context, pool.take(NONCE_BYTES)) for item in items]
    plaintexts = [pool.take(item.length) for item in items]

    def finish(message_keys: list[bytes]) -> wire.DataKeys:
        work = zip(items, sealings, message_keys, plaintexts, strict=True)
        made = [
            wire.DataKey(plaintext if item.with_plaintext else b"", sealing.seal(message_key, plaintext))
            for item, sealing, message_key, plaintext in work
        ]
        return wire.DataKeys(items=tuple(made))

    return KeyWork([(key, sealing.derivation()) for sealing in sealings], finish)


def seal_pair(request: wire.GenerateDataKeyPair, pair: KeyPair, pool: RandomPool) -> KeyWork:
    """Encrypt the private key of a data key pair.

    Raises:
        KeyUsageInvalid, TokenError: as :func:`generate`.
    """
    sealing = _begin_sealing(request.key, request.context, pool)

    def finish(message_keys: list[bytes]) -> wire.DataKeyPair:
        (message_key,) = message_keys
        return wire.DataKeyPair(
            public_key=pair.public_key,
            private_key=pair.private_key if request.with_plaintext else b"",
            ciphertext=sealing.seal(message_key, pair.private_key),
        )

    return KeyWork([(request.key, sealing.derivation())], finish)


def encrypt(request: wire.EncryptData, pool: RandomPool) -> KeyWork:
    """Encrypt what the caller brings.

    Raises:
        KeyUsageInvalid, TokenError: as :func:`generate`.
    """
    key, items = request.key, request.items
    name, kind = _name(key), key.kind
    sealings = [begin_sealing(name, kind, item.context, pool.take(NONCE_BYTES)) for item in items]

    def finish(message_keys: list[bytes]) -> wire.Ciphertexts:
        work = zip(items, sealings, message_keys, strict=True)
        return wire.Ciphertexts(items=tuple(s.seal(key, item.plaintext) for item, s, key in work))

    return KeyWork([(key, sealing.derivation()) for sealing in sealings], finish)


def decrypt(request: wire.DecryptData) -> KeyWork:
    """Decrypt, item by item.

    Raises:
        KeyUsageInvalid: a key is not symmetric.
        FormatError: an item names a key that is not there.
    """
    keys = [_pick(request.keys, item.key) for item in request.items]
    openings = [
        _begin_opening(key, item.context, item.ciphertext)
        for key, item in zip(keys, request.items, strict=True)
    ]
    derivations = [
        (key, opening.derivation())
        for key, opening in zip(keys, openings, strict=True)
        if opening is not None
    ]

    def finish(message_keys: list[bytes]) -> wire.Plaintexts:
        remaining = iter(message_keys)
        return wire.Plaintexts(
            items=tuple(None if opening is None else _open(opening, next(remaining)) for opening in openings)
        )

    return KeyWork(derivations, finish)


def reencrypt(request: wire.ReencryptData, pool: RandomPool) -> KeyWork:
    """Decrypt and encrypt anew; the plaintext is a local of :func:`_reseal`.

    Raises:
        KeyUsageInvalid, FormatError: as :func:`decrypt`.
        TokenError: the hardware failed.
    """
    derivations: list[tuple[KeyRef, bytes]] = []
    moves: list[tuple[Opening, Sealing] | None] = []
    for item in request.items:
        source, destination = _pick(request.keys, item.source), _pick(request.keys, item.destination)
        opening = _begin_opening(source, item.context, item.ciphertext)
        sealing = _begin_sealing(destination, item.new_context, pool)
        if opening is None:
            moves.append(None)
            continue
        derivations += ((source, opening.derivation()), (destination, sealing.derivation()))
        moves.append((opening, sealing))

    def finish(message_keys: list[bytes]) -> wire.Ciphertexts:
        remaining = iter(message_keys)
        return wire.Ciphertexts(
            items=tuple(
                None if move is None else _reseal(*move, next(remaining), next(remaining)) for move in moves
            )
        )

    return KeyWork(derivations, finish)


def _name(key: KeyRef) -> KeyName:
    return KeyName(key.key_id, key.version)


def _begin_sealing(key: KeyRef, context: bytes, pool: RandomPool) -> Sealing:
    return begin_sealing(_name(key), key.kind, context, pool.take(NONCE_BYTES))


def _begin_opening(key: KeyRef, context: bytes, ciphertext: bytes) -> Opening | None:
    try:
        return begin_opening(_name(key), key.kind, context, ciphertext)
    except DecryptionError:
        return None


def _open(opening: Opening, message_key: bytes) -> bytes | None:
    try:
        return opening.open(message_key)
    except DecryptionError:
        return None


def _reseal(opening: Opening, sealing: Sealing, old_key: bytes, new_key: bytes) -> bytes | None:
    plaintext = _open(opening, old_key)
    return None if plaintext is None else sealing.seal(new_key, plaintext)


def _pick(keys: Sequence[KeyRef], index: int) -> KeyRef:
    if index >= len(keys):
        raise FormatError(f"an item names key {index} of {len(keys)}")
    return keys[index]
