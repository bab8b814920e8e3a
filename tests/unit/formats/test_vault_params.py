"""Vault params are 94 bytes and hold a point on the curve, or they do not exist."""

from __future__ import annotations

import pytest

from hwkm.errors import FormatError
from hwkm.formats.vault_params import VaultParams
from tests.vectors.reference import p256 as curve

POINT = curve.public_key(bytes(31) + b"\1")
OFF_CURVE = POINT[:-1] + bytes([POINT[-1] ^ 1])
HANDLE = bytes(range(17))
VALID = VaultParams(POINT, 1, 10, HANDLE)


@pytest.mark.parametrize("length", [0, 1, 85, 93, 95, 188])
def test_another_length_is_refused(length: int) -> None:
    with pytest.raises(FormatError):
        VaultParams.parse((VALID.encode() * 2)[:length])


@pytest.mark.parametrize(
    "point", [OFF_CURVE, bytes(65), b"\6" + POINT[1:], b"\7" + POINT[1:], b"\2" + POINT[1:33] + bytes(32)]
)
def test_key_that_is_no_uncompressed_point_is_refused(point: bytes) -> None:
    with pytest.raises(FormatError):
        VaultParams.parse(point + VALID.encode()[65:])
    with pytest.raises(FormatError):
        VaultParams(point, 1, 10, HANDLE)


@pytest.mark.parametrize(
    ("point", "counter_id", "max_attempts", "handle"),
    [
        (POINT[:-1], 1, 10, HANDLE),
        (POINT, -1, 10, HANDLE),
        (POINT, 2**64, 10, HANDLE),
        (POINT, 1, -1, HANDLE),
        (POINT, 1, 2**32, HANDLE),
        (POINT, 1, 10, HANDLE[:-1]),
        (POINT, 1, 10, HANDLE + b"\0"),
        (POINT, 1, 10, b""),
    ],
)
def test_field_out_of_range_is_refused(
    point: bytes, counter_id: int, max_attempts: int, handle: bytes
) -> None:
    with pytest.raises(FormatError):
        VaultParams(point, counter_id, max_attempts, handle)


@pytest.mark.parametrize("max_attempts", [0, 11, 2**32 - 1])
def test_limit_is_a_matter_of_policy_not_of_form(max_attempts: int) -> None:
    params = VaultParams(POINT, 1, max_attempts, HANDLE)
    assert VaultParams.parse(params.encode()) == params
