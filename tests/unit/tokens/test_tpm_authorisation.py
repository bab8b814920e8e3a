"""Authorisation values: the vectors of docs/spec/anchor.md, and that a TPM keeps them whole."""

from __future__ import annotations

import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.errors import ConfigError
from hwkm.secret import Pin
from hwkm.tokens.tpm.authorisation import ANCHOR, AUDIT, COHORT, authorisation_value, verify_pin_length

PIN = b"0123456789abcdef0123456789abcdef"


@pytest.mark.parametrize(
    ("name", "value"),
    [
        (COHORT, "7e787bc8149251c52aacaebbaa2df108f235f8c52e8100e1134770c6d8a08b01"),
        (AUDIT, "3d9da6629fdb568366a5e5ff32cc7b93659d3400c4be405086dc1eb738cdf401"),
        (ANCHOR, "3a7312251927216f8c5ff8b3a72aa50871296fb872cc4ca5d7a135671dcbba01"),
    ],
)
def test_values_of_the_specification(name: bytes, value: str) -> None:
    assert authorisation_value(Pin(PIN), name).expose().hex() == value


@given(st.binary(min_size=16, max_size=64))
def test_a_value_has_32_bytes_and_no_trailing_zero_that_a_tpm_would_drop(pin: bytes) -> None:
    value = authorisation_value(Pin(pin), ANCHOR).expose()
    assert len(value) == 32
    assert value[-1] != 0


@pytest.mark.parametrize("length", [1, 15])
def test_a_short_pin_is_refused_without_being_repeated(length: int) -> None:
    with pytest.raises(ConfigError) as refusal:
        verify_pin_length(Pin(b"7" * length))
    assert "7" not in str(refusal.value)


@pytest.mark.parametrize("length", [16, 32, 255])
def test_a_long_pin_is_taken(length: int) -> None:
    verify_pin_length(Pin(b"7" * length))
