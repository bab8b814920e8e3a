"""docs/spec/domain-token.md and cohort.md, computed a second time: what passes, and what a TPM would open."""

from __future__ import annotations

import hashlib
import hmac

from tests.vectors.reference import p256
from tests.vectors.reference.aes_gcm import encrypt_block

_WRAP_CONSTANT = bytes.fromhex("a65959a6")


def sized(data: bytes) -> bytes:
    return len(data).to_bytes(2, "big") + data


def statement_body(backend: int, exchange_key: bytes, identity_key: bytes, claims: bytes) -> bytes:
    return bytes([1, backend]) + sized(exchange_key) + sized(identity_key) + sized(claims)


def fingerprint(backend: int, exchange_key: bytes, identity_key: bytes) -> bytes:
    keys = sized(exchange_key) + sized(identity_key)
    return hashlib.sha256(b"hwkm exchange fingerprint v1\0" + bytes([backend]) + keys).digest()


def token_body(
    backend: int, sender: bytes, receiver: bytes, transport: bytes, keys: list[tuple[int, bytes, int, bytes]]
) -> bytes:
    entries = b"".join(
        bytes([kind]) + key_id + version.to_bytes(4, "big") + sized(blob)
        for kind, key_id, version, blob in keys
    )
    head = bytes([1, backend]) + sender + receiver + sized(transport)
    return head + len(keys).to_bytes(2, "big") + entries


def request(backend: int, statement: bytes, proof: bytes) -> bytes:
    return bytes([1, backend]) + sized(statement) + sized(proof)


def invitation_body(
    backend: int,
    points: tuple[bytes, bytes],
    receiver: bytes,
    place: tuple[int, int],
    wrapped: tuple[bytes, bytes],
) -> bytes:
    sender, cohort_public_key = points
    transport, blob = wrapped
    head = bytes([1, backend]) + sender + receiver + cohort_public_key + bytes(place)
    return head + sized(transport) + sized(blob)


def digest(label: bytes, body: bytes) -> bytes:
    return hashlib.sha256(label + b"\0" + body).digest()


def sign(private_key: bytes, nonce: bytes, message_digest: bytes) -> bytes:
    """ECDSA (SEC 1, 4.1.3) with a nonce that is given: r and s."""
    k = int.from_bytes(nonce, "big") % p256.N
    point = p256.multiply(k, p256.G)
    assert point is not None
    r = point[0] % p256.N
    private, hashed = int.from_bytes(private_key, "big"), int.from_bytes(message_digest, "big")
    s = pow(k, -1, p256.N) * (hashed + r * private) % p256.N
    return r.to_bytes(32, "big") + s.to_bytes(32, "big")


def wrap(key: bytes, secret: bytes) -> bytes:
    """AES key wrap with padding (RFC 5649) of more than 8 bytes."""
    padded = secret + bytes(-len(secret) % 8)
    blocks = [padded[at : at + 8] for at in range(0, len(padded), 8)]
    register = _WRAP_CONSTANT + len(secret).to_bytes(4, "big")
    for step in range(6):
        for number, block in enumerate(blocks):
            result = encrypt_block(key, register + block)
            counter = len(blocks) * step + number + 1
            register = (int.from_bytes(result[:8], "big") ^ counter).to_bytes(8, "big")
            blocks[number] = result[8:]
    return register + b"".join(blocks)


def open_credential(private_key: bytes, name: bytes, credential: bytes) -> bytes:
    """What TPM2_ActivateCredential does: the secret that is bound to the object ``name``."""
    size = int.from_bytes(credential[:2], "big")
    identity_object, encrypted_seed = credential[2 : 2 + size], credential[2 + size :][2:]
    mac, identity = identity_object[2:34], identity_object[34:]
    x, y = encrypted_seed[2:34], encrypted_seed[36:68]
    shared = p256.agree(private_key, b"\x04" + x + y)
    own_x = p256.public_key(private_key)[1:33]
    seed = hashlib.sha256(b"\0\0\0\1" + shared + b"IDENTITY\0" + x + own_x).digest()
    assert hmac.digest(_kdfa(seed, b"INTEGRITY\0", b"", 32), identity + name, "sha256") == mac
    plain = _cfb_decrypt(_kdfa(seed, b"STORAGE\0", name, 16), identity)
    assert plain[:2] == b"\0\x20"
    return plain[2:]


def passing_authorisation(secret: bytes, name: bytes) -> bytes:
    return hmac.digest(secret, b"hwkm passing authorisation v1\0" + name, "sha256")[:31] + b"\x01"


def inner_key(secret: bytes, name: bytes) -> bytes:
    return hmac.digest(secret, b"hwkm inner wrapping v1\0" + name, "sha256")[:16]


def _kdfa(key: bytes, label: bytes, context: bytes, size: int) -> bytes:
    return hmac.digest(key, b"\0\0\0\1" + label + context + (8 * size).to_bytes(4, "big"), "sha256")[:size]


def _cfb_decrypt(key: bytes, data: bytes) -> bytes:
    register, plain = bytes(16), b""
    for at in range(0, len(data), 16):
        piece = data[at : at + 16]
        stream = encrypt_block(key, register)
        plain += bytes(left ^ right for left, right in zip(piece, stream, strict=False))
        register = piece
    return plain
