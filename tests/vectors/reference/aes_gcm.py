"""AES-GCM with keys of 128 or 256 bits from its definitions (FIPS 197, NIST SP 800-38D). Slow: a few kilobytes a second."""

from __future__ import annotations

from itertools import pairwise

_R = 0xE1 << 120


def _times_two(value: int) -> int:
    return (value << 1) ^ (0x11B if value & 0x80 else 0)


def _field_product(left: int, right: int) -> int:
    product = 0
    while right:
        if right & 1:
            product ^= left
        left, right = _times_two(left), right >> 1
    return product


def _substitute(value: int) -> int:
    """FIPS 197 section 5.1.1: the inverse in GF(2^8), then an affine map."""
    inverse = next((other for other in range(256) if _field_product(value, other) == 1), 0)
    rotations = (inverse << shift | inverse >> (8 - shift) for shift in range(5))
    result = 0x63
    for rotated in rotations:
        result ^= rotated & 0xFF
    return result


_SBOX = bytes(_substitute(value) for value in range(256))


def _xor(left: bytes, right: bytes) -> bytes:
    return bytes(a ^ b for a, b in zip(left, right, strict=False))


def _round_keys(key: bytes) -> list[bytes]:
    """FIPS 197 section 5.2."""
    length = len(key) // 4
    words = [key[at : at + 4] for at in range(0, len(key), 4)]
    constant = 1
    for index in range(length, 4 * (length + 7)):
        word = words[-1]
        if index % length == 0:
            word = word[1:].translate(_SBOX) + word[:1].translate(_SBOX)
            word = bytes([word[0] ^ constant]) + word[1:]
            constant = _times_two(constant)
        elif length > 6 and index % length == 4:
            word = word.translate(_SBOX)
        words.append(_xor(words[-length], word))
    return [b"".join(words[at : at + 4]) for at in range(0, len(words), 4)]


def _shift_rows(state: bytes) -> bytes:
    return bytes(state[(index + 4 * (index % 4)) % 16] for index in range(16))


def _mix_columns(state: bytes) -> bytes:
    mixed = bytearray()
    for at in range(0, 16, 4):
        column = state[at : at + 4]
        everything = column[0] ^ column[1] ^ column[2] ^ column[3]
        ring = [*column, column[0]]
        mixed += bytes(byte ^ everything ^ _times_two(byte ^ after) for byte, after in pairwise(ring))
    return bytes(mixed)


def encrypt_block(key: bytes, block: bytes) -> bytes:
    first, *middle, last = _round_keys(key)
    state = _xor(block, first)
    for round_key in middle:
        state = _xor(_mix_columns(_shift_rows(state.translate(_SBOX))), round_key)
    return _xor(_shift_rows(state.translate(_SBOX)), last)


def _multiply(x: int, y: int) -> int:
    """SP 800-38D section 6.3; bit 0 is the leftmost."""
    product = 0
    for bit in range(127, -1, -1):
        if x >> bit & 1:
            product ^= y
        y = y >> 1 ^ (_R if y & 1 else 0)
    return product


def _padded(data: bytes) -> bytes:
    return data + bytes(-len(data) % 16)


def _ghash(hash_key: bytes, header: bytes, ciphertext: bytes) -> bytes:
    lengths = (8 * len(header)).to_bytes(8, "big") + (8 * len(ciphertext)).to_bytes(8, "big")
    data = _padded(header) + _padded(ciphertext) + lengths
    digest, multiplier = 0, int.from_bytes(hash_key, "big")
    for at in range(0, len(data), 16):
        digest = _multiply(digest ^ int.from_bytes(data[at : at + 16], "big"), multiplier)
    return digest.to_bytes(16, "big")


def _keystream_xor(key: bytes, nonce: bytes, data: bytes) -> bytes:
    blocks = range((len(data) + 15) // 16)
    stream = b"".join(encrypt_block(key, nonce + (2 + block).to_bytes(4, "big")) for block in blocks)
    return _xor(data, stream)


def _tag(key: bytes, nonce: bytes, header: bytes, ciphertext: bytes) -> bytes:
    hash_key = encrypt_block(key, bytes(16))
    return _xor(_ghash(hash_key, header, ciphertext), encrypt_block(key, nonce + b"\0\0\0\1"))


def encrypt(key: bytes, nonce: bytes, header: bytes, payload: bytes) -> tuple[bytes, bytes]:
    """Return ciphertext and tag (16 bytes)."""
    ciphertext = _keystream_xor(key, nonce, payload)
    return ciphertext, _tag(key, nonce, header, ciphertext)


def decrypt(key: bytes, nonce: bytes, header: bytes, ciphertext: bytes, tag: bytes) -> bytes:
    assert _tag(key, nonce, header, ciphertext) == tag, "the tag does not fit"
    return _keystream_xor(key, nonce, ciphertext)
