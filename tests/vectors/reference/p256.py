"""NIST P-256 with Python integers, as the textbook has it (SEC 1 section 2.2). Not constant-time."""

from __future__ import annotations

P = 0xFFFFFFFF00000001000000000000000000000000FFFFFFFFFFFFFFFFFFFFFFFF
N = 0xFFFFFFFF00000000FFFFFFFFFFFFFFFFBCE6FAADA7179E84F3B9CAC2FC632551
A = P - 3
B = 0x5AC635D8AA3A93E7B3EBBD55769886BC651D06B0CC53B0F63BCE3C3E27D2604B
G = (
    0x6B17D1F2E12C4247F8BCE6E563A440F277037D812DEB33A0F4A13945D898C296,
    0x4FE342E2FE1A7F9B8EE7EB4A7C0F9E162BCE33576B315ECECBB6406837BF51F5,
)

Point = tuple[int, int] | None
"""None is the point at infinity."""


def add(left: Point, right: Point) -> Point:
    if left is None or right is None:
        return left or right
    (x1, y1), (x2, y2) = left, right
    if x1 == x2 and (y1 + y2) % P == 0:
        return None
    if left == right:
        slope = (3 * x1 * x1 + A) * pow(2 * y1, -1, P) % P
    else:
        slope = (y2 - y1) * pow(x2 - x1, -1, P) % P
    x3 = (slope * slope - x1 - x2) % P
    return x3, (slope * (x1 - x3) - y1) % P


def multiply(scalar: int, point: Point) -> Point:
    result: Point = None
    while scalar:
        if scalar & 1:
            result = add(result, point)
        point = add(point, point)
        scalar >>= 1
    return result


def is_on_curve(x: int, y: int) -> bool:
    return 0 <= x < P and 0 <= y < P and (y * y - x * x * x - A * x - B) % P == 0


def square_root(square: int) -> int | None:
    """P is 3 modulo 4, so a root of a square is its (P + 1) / 4 power."""
    root = pow(square, (P + 1) // 4, P)
    return root if root * root % P == square % P else None


def encode(point: Point) -> bytes:
    assert point is not None
    return b"\x04" + b"".join(coordinate.to_bytes(32, "big") for coordinate in point)


def decode(data: bytes) -> Point:
    x, y = int.from_bytes(data[1:33], "big"), int.from_bytes(data[33:], "big")
    assert len(data) == 65
    assert data[0] == 4
    assert is_on_curve(x, y)
    return x, y


def public_key(private_key: bytes) -> bytes:
    return encode(multiply(int.from_bytes(private_key, "big"), G))


def agree(private_key: bytes, public_point: bytes) -> bytes:
    """ECDH: the x coordinate, 32 bytes."""
    return encode(multiply(int.from_bytes(private_key, "big"), decode(public_point)))[1:33]
