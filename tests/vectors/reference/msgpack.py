"""As much of MessagePack as the core channel uses (github.com/msgpack/msgpack, spec.md)."""

from __future__ import annotations

from collections.abc import Mapping

Value = None | bool | int | str | bytes | list["Value"] | Mapping[str, "Value"]


def _unsigned(value: int) -> bytes:
    if value < 0x80:
        return bytes([value])
    size = next(size for size in (1, 2, 4, 8) if value < 1 << 8 * size)
    return bytes([{1: 0xCC, 2: 0xCD, 4: 0xCE, 8: 0xCF}[size]]) + value.to_bytes(size, "big")


def _text(value: str) -> bytes:
    data = value.encode()
    head = bytes([0xA0 | len(data)]) if len(data) < 32 else bytes([0xD9, len(data)])
    return head + data


def _binary(value: bytes) -> bytes:
    return bytes([0xC4, len(value)]) + value


def _array(items: list[Value]) -> bytes:
    assert len(items) < 16
    return bytes([0x90 | len(items)]) + b"".join(map(encode, items))


def _map(items: Mapping[str, Value]) -> bytes:
    assert len(items) < 16
    return bytes([0x80 | len(items)]) + b"".join(_text(name) + encode(item) for name, item in items.items())


def encode(value: Value) -> bytes:
    """Shortest forms; strings and binaries below 256 bytes, arrays and maps below 16 items."""
    match value:
        case None:
            return b"\xc0"
        case bool():
            return b"\xc3" if value else b"\xc2"
        case int():
            return _unsigned(value)
        case str():
            return _text(value)
        case bytes():
            return _binary(value)
        case list():
            return _array(value)
        case _:
            return _map(value)
