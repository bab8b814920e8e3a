"""The key service's bytes from their specification: context, one-message key, ciphertext, wrapped key."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass
from itertools import chain

from tests.vectors.reference import aes_gcm

NO_NONCE = bytes(12)


def encode_context(pairs: dict[str, str]) -> bytes:
    """docs/spec/context.md."""
    ordered = sorted((key.encode("utf-8"), value.encode("utf-8")) for key, value in pairs.items())
    strings = [len(part).to_bytes(2, "big") + part for part in chain.from_iterable(ordered)]
    return len(ordered).to_bytes(2, "big") + b"".join(strings)


def counter_mode_kdf(key: bytes, label: bytes, context: bytes, bits: int) -> tuple[bytes, bytes]:
    """SP 800-108r1 section 4.1 with HMAC-SHA-256, as many blocks as it takes; input of the first, output."""
    inputs = [
        block.to_bytes(4, "big") + label + b"\0" + context + bits.to_bytes(4, "big")
        for block in range(1, (bits + 255) // 256 + 1)
    ]
    output = b"".join(hmac.new(key, data, hashlib.sha256).digest() for data in inputs)
    return inputs[0], output[: bits // 8]


@dataclass(frozen=True)
class Encrypted:
    """A ciphertext with every value on the way."""

    context_digest: bytes
    derivation_input: bytes
    message_key: bytes
    associated_data: bytes
    ciphertext: bytes


def encrypt(
    cmk: bytes, key_id: bytes, version: int, context: bytes, nonce: bytes, plaintext: bytes
) -> Encrypted:
    """docs/spec/ciphertext.md."""
    digest = hashlib.sha256(context).digest()
    named = key_id + version.to_bytes(4, "big")
    derivation_input, message_key = counter_mode_kdf(cmk, b"hwkm data key v1", named + digest + nonce, 256)
    head = b"\1" + named + nonce
    sealed, tag = aes_gcm.encrypt(message_key, NO_NONCE, head + digest, plaintext)
    return Encrypted(digest, derivation_input, message_key, head + digest, head + sealed + tag)


def decrypt(cmk: bytes, context: bytes, ciphertext: bytes) -> bytes:
    """Open a ciphertext; an assertion fails if the tag does not fit."""
    head, sealed, tag = ciphertext[:37], ciphertext[37:-16], ciphertext[-16:]
    digest = hashlib.sha256(context).digest()
    _, message_key = counter_mode_kdf(cmk, b"hwkm data key v1", head[1:21] + digest + head[21:], 256)
    return aes_gcm.decrypt(message_key, NO_NONCE, head + digest, sealed, tag)


def bound_part(backend: int, kind: int, generation: int, key_id: bytes, version: int, blob: bytes) -> bytes:
    """docs/spec/wrapped-key.md: everything before the binding."""
    numbers = bytes([1, backend, kind]) + generation.to_bytes(4, "big")
    return numbers + key_id + version.to_bytes(4, "big") + len(blob).to_bytes(2, "big") + blob
