"""The tree, its proofs and signed notes, word for word as RFC 6962 and C2SP define them."""

from __future__ import annotations

import base64
import hashlib

from tests.vectors.reference import ed25519, p256

SPKI_PREFIX = bytes.fromhex("3059301306072a8648ce3d020106082a8648ce3d030107034200")


def sha256(data: bytes) -> bytes:
    return hashlib.sha256(data).digest()


def text64(data: bytes) -> str:
    return base64.b64encode(data).decode()


# --- RFC 6962, section 2.1 -------------------------------------------------------------------


def split(count: int) -> int:
    k = 1
    while k * 2 < count:
        k *= 2
    return k


def mth(entries: list[bytes]) -> bytes:
    if not entries:
        return sha256(b"")
    if len(entries) == 1:
        return sha256(b"\x00" + entries[0])
    k = split(len(entries))
    return sha256(b"\x01" + mth(entries[:k]) + mth(entries[k:]))


def path(m: int, entries: list[bytes]) -> list[bytes]:
    if len(entries) == 1:
        return []
    k = split(len(entries))
    if m < k:
        return [*path(m, entries[:k]), mth(entries[k:])]
    return [*path(m - k, entries[k:]), mth(entries[:k])]


def proof(m: int, entries: list[bytes]) -> list[bytes]:
    return subproof(m, entries, whole=True)


def subproof(m: int, entries: list[bytes], *, whole: bool) -> list[bytes]:
    if m == len(entries):
        return [] if whole else [mth(entries)]
    k = split(len(entries))
    if m <= k:
        return [*subproof(m, entries[:k], whole=whole), mth(entries[k:])]
    return [*subproof(m - k, entries[k:], whole=False), mth(entries[:k])]


# --- C2SP tlog-tiles -------------------------------------------------------------------------


def tile(level: int, n: int, entries: list[bytes]) -> bytes:
    """MTH(D[(n * 256 + i) * 256**l : (n * 256 + i + 1) * 256**l]), as far as there are entries."""
    span = 256**level
    starts = range(n * 256 * span, (n + 1) * 256 * span, span)
    return b"".join(mth(entries[at : at + span]) for at in starts if at + span <= len(entries))


def bundle(entries: list[bytes]) -> bytes:
    return b"".join(len(entry).to_bytes(2, "big") + entry for entry in entries)


# --- C2SP signed-note, tlog-cosignature ------------------------------------------------------


def key_id(name: str, kind: int, public_key: bytes) -> bytes:
    return sha256(name.encode() + b"\n" + bytes([kind]) + public_key)[:4]


def vkey(name: str, kind: int, public_key: bytes) -> str:
    identifier = sha256(public_key)[:4] if kind == 2 else key_id(name, kind, public_key)
    return f"{name}+{identifier.hex()}+{text64(bytes([kind]) + public_key)}"


def skey(name: str, seed: bytes) -> str:
    identifier = key_id(name, 1, ed25519.public_key(seed)).hex()
    return f"PRIVATE+KEY+{name}+{identifier}+{text64(bytes([1]) + seed)}"


def spki(point: bytes) -> bytes:
    return SPKI_PREFIX + point


def der_integer(value: int) -> bytes:
    data = value.to_bytes(value.bit_length() // 8 + 1, "big")
    return bytes([2, len(data)]) + data


def ecdsa(private_key: bytes, nonce: bytes, message: bytes) -> bytes:
    """FIPS 186-5, section 6.4.1, with the nonce given; DER."""
    k, d = (int.from_bytes(one, "big") % p256.N for one in (nonce, private_key))
    point = p256.multiply(k, p256.G)
    assert point is not None
    r = point[0] % p256.N
    s = pow(k, -1, p256.N) * (int.from_bytes(sha256(message), "big") + r * d) % p256.N
    body = der_integer(r) + der_integer(s)
    return bytes([0x30, len(body)]) + body


def line(name: str, identifier: bytes, signature: bytes) -> str:
    return f"— {name} {text64(identifier + signature)}\n"


def cosignature(seed: bytes, time_s: int, text: str) -> bytes:
    message = f"cosignature/v1\ntime {time_s}\n{text}".encode()
    return time_s.to_bytes(8, "big") + ed25519.sign(seed, message)
