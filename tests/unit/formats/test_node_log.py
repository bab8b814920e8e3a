"""The node log is read up to the first record that is not whole or not of its generation."""

from __future__ import annotations

import hashlib

import pytest

from hwkm.errors import FormatError
from hwkm.formats.node_log import Changes, encode_record, read_records

A, B = bytes([1] * 32), bytes([2] * 32)
PUTS: list[Changes] = [{A: b"node a", B: None}, {}, {B: b""}, {A: None}]
LOG = b"".join(encode_record(7, changes) for changes in PUTS)


def test_a_record_by_hand() -> None:
    rest = bytes.fromhex("00000000000000070000004a") + A + b"\0\7node a" + B + b"\0\0"
    assert encode_record(7, PUTS[0]) == hashlib.sha256(rest).digest() + rest


def test_records_are_read_in_order_and_end_where_nothing_was_written() -> None:
    assert list(read_records(LOG + bytes(1000), 7)) == PUTS
    assert list(read_records(bytes(1000), 0)) == []


def test_left_overs_of_another_generation_end_the_log() -> None:
    assert list(read_records(LOG, 8)) == []
    newer = encode_record(8, PUTS[0])
    assert list(read_records(newer + LOG[len(newer) :], 8)) == PUTS[:1]


def test_a_log_cut_anywhere_keeps_its_whole_records() -> None:
    ends = [sum(len(encode_record(7, changes)) for changes in PUTS[:count]) for count in range(len(PUTS) + 1)]
    for cut in range(len(LOG) + 1):
        whole = sum(end <= cut for end in ends) - 1
        assert list(read_records(LOG[:cut], 7)) == PUTS[:whole]
        assert list(read_records(LOG[:cut] + b"\xff" * (len(LOG) - cut), 7)) == PUTS[:whole]


def test_a_flipped_bit_anywhere_ends_the_log_at_its_record() -> None:
    for at in range(len(LOG)):
        for bit in range(8):
            flipped = LOG[:at] + bytes([LOG[at] ^ 1 << bit]) + LOG[at + 1 :]
            records = list(read_records(flipped, 7))
            assert records == PUTS[: len(records)] != PUTS


@pytest.mark.parametrize(
    "body",
    [A, A + b"\0", A + b"\0\3x", (A + b"\0\0") * 2],
    ids=["digest", "half size", "node too short", "twice"],
)
def test_a_record_whose_changes_do_not_fit_ends_the_log(body: bytes) -> None:
    rest = (7).to_bytes(8, "big") + len(body).to_bytes(4, "big") + body
    assert list(read_records(hashlib.sha256(rest).digest() + rest, 7)) == []


@pytest.mark.parametrize("changes", [{A[:-1]: b""}, {A: bytes(8193)}], ids=["digest", "node"])
def test_what_no_record_can_hold_is_refused(changes: Changes) -> None:
    with pytest.raises(FormatError):
        encode_record(1, changes)
