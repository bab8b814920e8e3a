"""The exact bytes of a record, and what a record can never hold."""

from __future__ import annotations

import json
from typing import Any
from zlib import crc32

import msgspec
import pytest
from hypothesis import given
from hypothesis import strategies as st

from hwkm.audit.record import LINE_BYTES_MAX, AuditEntry, AuditRecord, Caller, encode_record, parse_line
from hwkm.errors import FormatError
from tests.unit.audit.examples import ALICE, HANDLE, KEY_ARN, TENANT, TIME_MS, entry

FIRST = encode_record(entry(0), 0, TIME_MS)
FULL = encode_record(
    AuditEntry(
        TENANT, "key.decrypt", "ok", "r-1", HANDLE, KEY_ARN, 3, {"tenant": "a", "object": "b"}, {"batch": "2"}
    ),
    7,
    TIME_MS,
)

texts = st.text(st.characters(exclude_categories=["Cs"]), max_size=20)


def test_a_record_has_only_the_fields_on_this_list_so_that_no_secret_can_travel_in_it() -> None:
    entries = {
        "caller",
        "operation",
        "outcome",
        "request",
        "vault",
        "key",
        "key_version",
        "context",
        "detail",
    }
    assert {field.name for field in msgspec.structs.fields(AuditEntry)} == entries
    assert {field.name for field in msgspec.structs.fields(AuditRecord)} == entries | {
        "check",
        "index",
        "time",
    }
    callers = {"access_key", "account", "gid", "pid", "uid"}
    assert {field.name for field in msgspec.structs.fields(Caller)} == callers


def test_names_are_in_order_and_what_is_absent_is_left_out() -> None:
    assert list(json.loads(FULL)) == sorted(json.loads(FULL))
    assert set(json.loads(FIRST)) == {
        "caller", "check", "index", "operation", "outcome", "request", "time", "vault",
    }  # fmt: skip


@given(st.dictionaries(texts, texts, max_size=6), st.dictionaries(texts, texts, max_size=3))
def test_any_context_is_written_in_one_way_and_read_back(
    context: dict[str, str], detail: dict[str, str]
) -> None:
    made = AuditEntry(ALICE, "key.encrypt", "ok", context=context, detail=detail)
    line = encode_record(made, 1, TIME_MS)
    backwards = AuditEntry(ALICE, "key.encrypt", "ok", context=dict(reversed(context.items())), detail=detail)
    assert encode_record(backwards, 1, TIME_MS) == line
    assert json.dumps(json.loads(line), sort_keys=True, separators=(",", ":"), ensure_ascii=False) == (
        line.decode()
    )
    assert (parse_line(line).context, parse_line(line).detail) == (context or None, detail or None)
    assert parse_line(line).encode() == line
    assert b"\n" not in line


def test_a_context_that_looks_like_a_checksum_does_not_get_one() -> None:
    context = {'"check":"00000000"': '"check":"00000000"', "check": "00000000"}
    line = encode_record(AuditEntry(ALICE, "a", "ok", context=context), 0, TIME_MS)
    assert parse_line(line).context == context


def test_every_flipped_bit_of_a_record_is_noticed() -> None:
    for line in (FIRST, FULL):
        for bit in range(len(line) * 8):
            changed = bytearray(line)
            changed[bit // 8] ^= 1 << bit % 8
            with pytest.raises(FormatError):
                parse_line(bytes(changed))


@pytest.mark.parametrize(
    "fault",
    [
        {"operation": ""},
        {"operation": "vault open"},
        {"operation": "x" * 65},
        {"operation": "vault.open\n"},
        {"outcome": 'o"k'},
        {"outcome": "été"},
        {"request": ""},
        {"request": "a b"},
        {"request": "a\n"},
        {"request": "x" * 65},
        {"vault": b""},
        {"vault": bytes(16)},
        {"key": ""},
        {"key": "alias/a b"},
        {"key": "x" * 2049},
        {"key_version": 0},
        {"key_version": 2**32},
        {"context": {"a": "\ud800"}},
        {"context": {"a": 1}},
        {"context": {"a": "x" * 8192}},
        {"context": {str(number): "" for number in range(65)}},
        {"detail": {"a": "x" * 1024}},
        {"detail": {str(number): "" for number in range(17)}},
    ],
)
def test_an_entry_takes_no_free_text_and_has_limits(fault: dict[str, Any]) -> None:
    good: dict[str, Any] = {"operation": "vault.open", "outcome": "ok"}
    with pytest.raises(FormatError):
        AuditEntry(ALICE, **{**good, **fault})


def test_the_longest_record_fits_into_an_entry_of_the_log() -> None:
    caller = Caller(access_key="k" * 128, account="a" * 128, gid=2**32 - 1, pid=2**32 - 1, uid=2**32 - 1)
    context = {f"{number:02}\1" + "\1" * 61: "\1" * 64 for number in range(64)}
    detail = {f"{number:02}\1" + "\1" * 29: "\1" * 32 for number in range(16)}
    longest = AuditEntry(caller, "o" * 64, "u" * 64, "r" * 64, HANDLE, "k" * 2048, 2**32 - 1, context, detail)
    line = encode_record(longest, 2**53 - 1, TIME_MS)
    assert 50_000 < len(line) < LINE_BYTES_MAX
    assert parse_line(line).index == 2**53 - 1
    with pytest.raises(FormatError):
        encode_record(longest, 2**53, TIME_MS)


@pytest.mark.parametrize("time_ms", [-1, -(10**15), 10**15])
def test_a_clock_that_is_far_off_is_refused(time_ms: int) -> None:
    with pytest.raises(FormatError):
        encode_record(entry(), 0, time_ms)


@pytest.mark.parametrize(
    "members",
    [
        b'{"pid":1}',
        b'{"gid":1,"pid":1}',
        b"{}",
        b'{"account":"000000000001"}',
        b'{"access_key":"a b"}',
        b'{"access_key":""}',
        b'{"gid":-1,"pid":1,"uid":1}',
        b'{"gid":4294967296,"pid":1,"uid":1}',
        b'{"gid":1,"pid":1,"uid":1,"user":"x"}',
    ],
)
def test_a_caller_is_a_user_or_an_access_key(members: bytes) -> None:
    with pytest.raises(FormatError):
        parse_line(resealed(FIRST.replace(b'{"gid":1000,"pid":4242,"uid":1000}', members)))


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"ok"', b'"ok" '),
        (b"{", b" {"),
        (b'"index":0', b'"index":0.0'),
        (b'"index":0', b'"index":00'),
        (b'"index":0', b'"index":-1'),
        (b'"index":0', b'"index":9007199254740992'),
        (b'"index":0', b'"index":false'),
        (b'"index":0,', b'"index":0,"index":0,'),
        (b'"index":0,', b""),
        (b'"index":0,', b'"index":0,"key":null,'),
        (b'"index":0,', b'"index":0,"pin":"1234",'),
        (b'"index":0,', b'"context":{},"index":0,'),
        (b'"index"', b'"context":{"b":"","a":""},"index"'),
        (b'"index"', b'"context":{"a":"","a":""},"index"'),
        (b'"index"', b'"context":{},"index"'),
        (b'"index"', b'"context":{"a":null},"index"'),
        (b'"index"', b'"context":{"a":"\\u0041"},"index"'),
        (b'"ok"', b'"\\u006fk"'),
        (b'"ok"', b'"o\\nk"'),
        (b'"ok"', b"null"),
        (b'"ok"', b'"\xff"'),
        (b'"gid":1000,"pid":4242', b'"pid":4242,"gid":1000'),
        (b"2025-12-31", b"2025-02-30"),
        (b"23:59:59.007Z", b"23:59:60.007Z"),
        (b"59.007Z", b"59.007z"),
        (b"0a0b0c", b"0A0B0C"),
        (b'0f10"}', b'0f1011"}'),
        (b'"}', b'"}\r'),
        (b'"}', b'"}}'),
    ],
)
def test_a_line_that_is_written_otherwise_is_refused_even_with_its_checksum(old: bytes, new: bytes) -> None:
    changed = FIRST.replace(old, new, 1)
    assert changed != FIRST
    with pytest.raises(FormatError):
        parse_line(resealed(changed))


@pytest.mark.parametrize("line", [b"", b"null", b"{}", b"[]", b"x" * (LINE_BYTES_MAX + 1), b"[" * 1000])
def test_what_is_not_a_record_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError):
        parse_line(line)


def resealed(line: bytes) -> bytes:
    """The line with the checksum of what it now is."""
    start = line.index(b'"check":"') + len(b'"check":"')
    unset = line[:start] + b"00000000" + line[start + 8 :]
    return line[:start] + b"%08x" % crc32(unset) + line[start + 8 :]
