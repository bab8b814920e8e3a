"""SecureBox version 2 from docs/spec/securebox.md, deterministic, with every intermediate value."""

from __future__ import annotations

import hashlib
import hmac
from dataclasses import dataclass

from tests.vectors.reference import aes_gcm, p256

VERSION = bytes.fromhex("0200")
SALT = bytes.fromhex("534543555245424f580200")
INFO_PUBLIC = bytes.fromhex("5032353620484b44462d5348412d323536204145532d3132382d47434d")
INFO_SHARED = bytes.fromhex("53484152454420484b44462d5348412d323536204145532d3132382d47434d")


def hkdf_extract(salt: bytes, key_material: bytes) -> bytes:
    """RFC 5869 section 2.2."""
    return hmac.digest(salt, key_material, hashlib.sha256)


def hkdf_expand(prk: bytes, info: bytes, length: int) -> bytes:
    """RFC 5869 section 2.3."""
    output, block = b"", b""
    for counter in range(1, length // 32 + 2):
        block = hmac.digest(prk, block + info + bytes([counter]), hashlib.sha256)
        output += block
    return output[:length]


@dataclass(frozen=True)
class Sealing:
    """All that determines a box. Keys are None for the mode with a shared secret only."""

    shared_secret: bytes
    header: bytes
    payload: bytes
    nonce: bytes
    their_public_key: bytes | None = None
    ephemeral_private_key: bytes | None = None


@dataclass(frozen=True)
class Sealed:
    """A box and what was computed on the way. Point and x are None in the shared mode."""

    ephemeral_public_key: bytes | None
    ecdh_x: bytes | None
    key_material: bytes
    info: bytes
    prk: bytes
    key: bytes
    ciphertext: bytes
    tag: bytes
    box: bytes


def seal(what: Sealing) -> Sealed:
    sender = x = None
    if what.their_public_key is not None and what.ephemeral_private_key is not None:
        sender = p256.public_key(what.ephemeral_private_key)
        x = p256.agree(what.ephemeral_private_key, what.their_public_key)
    info = INFO_SHARED if x is None else INFO_PUBLIC
    material = (x or b"") + what.shared_secret
    prk = hkdf_extract(SALT, material)
    key = hkdf_expand(prk, info, 16)
    ciphertext, tag = aes_gcm.encrypt(key, what.nonce, what.header, what.payload)
    box = VERSION + (sender or b"") + what.nonce + ciphertext + tag
    return Sealed(sender, x, material, info, prk, key, ciphertext, tag, box)


def open_box(private_key: bytes | None, shared_secret: bytes, header: bytes, box: bytes) -> bytes:
    assert box[:2] == VERSION
    rest, x, info = box[2:], b"", INFO_SHARED
    if private_key is not None:
        sender, rest = rest[:65], rest[65:]
        x, info = p256.agree(private_key, sender), INFO_PUBLIC
    key = hkdf_expand(hkdf_extract(SALT, x + shared_secret), info, 16)
    return aes_gcm.decrypt(key, rest[:12], header, rest[12:-16], rest[-16:])
