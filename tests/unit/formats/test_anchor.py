"""Anchor states that no 73 bytes stand for."""

from __future__ import annotations

import pytest

from hwkm.errors import FormatError
from hwkm.formats.anchor import ANCHOR_BYTES, AnchorState


@pytest.mark.parametrize(
    ("epoch", "root", "cohort"),
    [
        (-1, bytes(32), bytes(32)),
        (2**64, bytes(32), bytes(32)),
        (0, bytes(31), bytes(32)),
        (0, bytes(33), bytes(32)),
        (0, bytes(32), b""),
        (0, bytes(32), bytes(33)),
    ],
)
def test_state_out_of_range_is_refused(epoch: int, root: bytes, cohort: bytes) -> None:
    with pytest.raises(FormatError):
        AnchorState(epoch, root, cohort)


@pytest.mark.parametrize("version", [0, 2, 255])
def test_another_version_is_refused(version: int) -> None:
    data = AnchorState(1, bytes(32), bytes(32)).encode()
    with pytest.raises(FormatError, match="version"):
        AnchorState.parse(bytes([version]) + data[1:])


@pytest.mark.parametrize("length", [0, 1, ANCHOR_BYTES - 1, ANCHOR_BYTES + 1])
def test_another_length_is_refused(length: int) -> None:
    data = (AnchorState(1, bytes(32), bytes(32)).encode() * 2)[:length]
    with pytest.raises(FormatError):
        AnchorState.parse(data)
