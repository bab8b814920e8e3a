"""Addresses are literal, and what only this machine can reach is known."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.server.tcp_address import parse_address


@pytest.mark.parametrize(
    ("text", "is_loopback"),
    [
        ("127.0.0.1:8443", True),
        ("127.9.9.9:0", True),
        ("[::1]:65535", True),
        ("0.0.0.0:8443", False),
        ("[::]:8443", False),
        ("192.0.2.1:8443", False),
        ("[2001:db8::1]:8443", False),
    ],
)
def test_an_address_is_read_and_written_the_same(text: str, is_loopback: bool) -> None:
    address = parse_address(text)
    assert address is not None
    assert str(address) == text
    assert address.is_loopback is is_loopback


@pytest.mark.parametrize(
    "text",
    [
        "",
        "localhost:8443",
        "127.0.0.1",
        ":8443",
        "127.0.0.1:65536",
        "::1:8443",
        "[127.0.0.1]:1",
        "256.0.0.1:1",
        "1:1",
    ],
)
def test_anything_else_is_no_address(text: str) -> None:
    assert parse_address(text) is None


@given(st.text(alphabet="0123456789abcdef.:[]% ", max_size=30))
def test_any_text_is_an_address_or_none(text: str) -> None:
    address = parse_address(text)
    assert address is None or 0 <= address.port <= 65535
