"""Anchor states that no bytes stand for, and what a commit keeps."""

from __future__ import annotations

import pytest

from hwkm.errors import FormatError
from hwkm.formats.anchor import ANCHOR_BYTES, MEMBER_ANCHOR_BYTES, AnchorState
from hwkm.formats.membership import ALONE, Membership


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


@pytest.mark.parametrize(
    "length", [0, 1, ANCHOR_BYTES - 1, ANCHOR_BYTES + 1, MEMBER_ANCHOR_BYTES, MEMBER_ANCHOR_BYTES + 1]
)
def test_another_length_is_refused(length: int) -> None:
    data = (AnchorState(1, bytes(32), bytes(32)).encode() * 2)[:length]
    with pytest.raises(FormatError):
        AnchorState.parse(data)


def test_a_module_alone_has_the_bytes_it_always_had() -> None:
    data = AnchorState(7, bytes(32), bytes(range(32)), ALONE).encode()
    assert data == b"\x01" + (7).to_bytes(8, "big") + bytes(32) + bytes(range(32))


def test_a_commit_keeps_cohort_and_membership() -> None:
    state = AnchorState(7, bytes(32), bytes(range(32)), Membership(2, 3))
    root = bytes(reversed(range(32)))
    assert state.next(root) == AnchorState(8, root, bytes(range(32)), Membership(2, 3))
    assert AnchorState.parse(state.next(root).encode()) == state.next(root)


def test_after_the_last_epoch_there_is_none() -> None:
    with pytest.raises(FormatError):
        AnchorState(2**64 - 1, bytes(32), bytes(32)).next(bytes(32))
