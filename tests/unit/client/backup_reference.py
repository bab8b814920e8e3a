"""Makes ``backup_vectors.json`` by a second computation that shares no code with hwkm.

HKDF is written out from RFC 5869 with the standard library's HMAC; AES-256-GCM is OpenSSL's. To
write the file::

    python -m tests.unit.client.backup_reference
"""

from __future__ import annotations

import hashlib
import hmac
import json
from pathlib import Path
from typing import Any

from cryptography.hazmat.primitives.ciphers import Cipher
from cryptography.hazmat.primitives.ciphers.algorithms import AES256
from cryptography.hazmat.primitives.ciphers.modes import GCM

VECTORS = Path(__file__).with_name("backup_vectors.json")
CHUNK = 65536


def fixed(name: str, size: int = 32) -> bytes:
    """A reproducible input: the first bytes of SHA-256 of its name."""
    return hashlib.sha256(f"hwkm test vector: {name}".encode()).digest()[:size]


def hkdf_sha256(key: bytes, salt: bytes, info: bytes, size: int) -> bytes:
    """RFC 5869."""
    pseudo_random_key = hmac.digest(salt, key, "sha256")
    made, block, number = b"", b"", 1
    while len(made) < size:
        block = hmac.digest(pseudo_random_key, block + info + bytes([number]), "sha256")
        made, number = made + block, number + 1
    return made[:size]


def aes_256_gcm(key: bytes, nonce: bytes, data: bytes) -> bytes:
    """Ciphertext, then tag (16 bytes)."""
    cipher = Cipher(AES256(key), GCM(nonce)).encryptor()
    return cipher.update(data) + cipher.finalize() + cipher.tag


def sealed_backup(
    application_key: bytes, handle: bytes, alias: str, salt: bytes, payload: bytes
) -> dict[str, Any]:
    """A backup file with every intermediate value."""
    head = b"hwkm backup\x01" + handle + salt + bytes([len(alias)]) + alias.encode()
    derived = hkdf_sha256(application_key, salt, b"hwkm backup keys v1" + head, 64)
    payload_key, commitment = derived[:32], derived[32:]
    chunks = [payload[at : at + CHUNK] for at in range(0, len(payload), CHUNK)] or [b""]
    nonces = [n.to_bytes(11, "big") + bytes([n == len(chunks) - 1]) for n in range(len(chunks))]
    sealed = b"".join(aes_256_gcm(payload_key, n, c) for n, c in zip(nonces, chunks, strict=True))
    file = head + commitment + sealed
    return {
        "application_key": application_key.hex(),
        "handle": handle.hex(),
        "alias": alias,
        "salt": salt.hex(),
        "intermediates": {
            "head": head.hex(),
            "payload_key": payload_key.hex(),
            "commitment": commitment.hex(),
            "nonces": [nonce.hex() for nonce in nonces],
        },
        "payload_bytes": len(payload),
        "payload_sha256": hashlib.sha256(payload).hexdigest(),
        "file_bytes": len(file),
        "file_sha256": hashlib.sha256(file).hexdigest(),
    } | ({"payload": payload.hex(), "file": file.hex()} if len(payload) < 100 else {})


def payload_of(size: int) -> bytes:
    """Bytes 0 to 250 over and over: 251 is prime, so no two chunks are equal."""
    return (bytes(range(251)) * (size // 251 + 1))[:size]


def document() -> dict[str, Any]:
    """All vectors."""
    sizes = (0, 20, CHUNK - 1, CHUNK, CHUNK + 1, 2 * CHUNK)
    return {
        "origin": "tests/unit/client/backup_reference.py, which shares no code with hwkm; bytes are in hex",
        "payload": "bytes 0 to 250 over and over",
        "vectors": [
            sealed_backup(
                fixed("backup application key"),
                fixed("backup handle", 17),
                "backup.0011223344556677",
                fixed(f"backup salt {size}"),
                payload_of(size),
            )
            for size in sizes
        ],
    }


if __name__ == "__main__":
    VECTORS.write_text(json.dumps(document(), indent=1) + "\n")
