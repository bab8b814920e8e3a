"""The exact bytes of a record, and what a record can never hold."""

from __future__ import annotations

import hashlib
import json
from dataclasses import fields

import msgspec
import pytest

from hwkm.audit.record import (
    EMPTY_HEAD,
    LINE_BYTES_MAX,
    AuditEntry,
    AuditHead,
    AuditRecord,
    Caller,
    chain,
    hash_of_line,
    parse_line,
)
from hwkm.errors import FormatError
from tests.unit.audit.examples import ALICE, HANDLE, TIME_MS, entry

# The vectors of docs/spec/audit-log.md.
FIRST = (
    b'{"caller":{"gid":1000,"pid":4242,"uid":1000},'
    b'"hash":"7c0bf32e199446a124e7354bd520a388d1bf69976e06a97d7092c0a7a689aa15",'
    b'"operation":"vault.open","outcome":"ok",'
    b'"prev":"0000000000000000000000000000000000000000000000000000000000000000",'
    b'"request":"request-0","seq":1,"time":"2025-12-31T23:59:59.007Z",'
    b'"vault":"000102030405060708090a0b0c0d0e0f10"}'
)
SECOND = (
    b'{"caller":{"gid":0,"pid":1,"uid":0},'
    b'"hash":"c94da3804c6dc4d6c3b767c8bfc92378a5bace830c63c4525822201894aa58b5",'
    b'"operation":"audit.repair","outcome":"torn_tail_dropped",'
    b'"prev":"7c0bf32e199446a124e7354bd520a388d1bf69976e06a97d7092c0a7a689aa15",'
    b'"request":null,"seq":2,"time":"2025-12-31T23:59:59.007Z","vault":null}'
)


def test_the_vectors_of_the_specification() -> None:
    first = chain(entry(0), EMPTY_HEAD, TIME_MS)
    repair = AuditEntry(Caller(gid=0, pid=1, uid=0), "audit.repair", "torn_tail_dropped")
    second = chain(repair, first.head, TIME_MS)
    assert first.encode() == FIRST
    assert second.encode() == SECOND
    assert [parse_line(FIRST), parse_line(SECOND)] == [first, second]


def test_the_hash_can_be_computed_with_nothing_but_a_json_library() -> None:
    record = json.loads(FIRST)
    expected = record.pop("hash")
    canonical = json.dumps(record, sort_keys=True, separators=(",", ":")).encode()
    assert hashlib.sha256(b"hwkm audit record v1\n" + canonical).hexdigest() == expected
    assert hash_of_line(FIRST) == expected


def test_a_record_is_canonical_json() -> None:
    assert json.dumps(json.loads(FIRST), sort_keys=True, separators=(",", ":")).encode() == FIRST


def test_a_record_has_only_the_fields_on_this_list_so_that_no_secret_can_travel_in_it() -> None:
    allowed = {"caller", "hash", "operation", "outcome", "prev", "request", "seq", "time", "vault"}
    assert {field.name for field in msgspec.structs.fields(AuditRecord)} == allowed
    assert {field.name for field in msgspec.structs.fields(Caller)} == {"gid", "pid", "uid"}
    assert {field.name for field in fields(AuditEntry)} == {
        "caller", "operation", "outcome", "request", "vault",
    }  # fmt: skip


@pytest.mark.parametrize(
    "fault",
    [
        {"operation": ""},
        {"operation": "vault open"},
        {"operation": "x" * 65},
        {"operation": "vault.open\n"},
        {"outcome": "Ok"},
        {"outcome": 'o"k'},
        {"outcome": "été"},
        {"request": ""},
        {"request": "a b"},
        {"request": "a\n"},
        {"request": "x" * 65},
        {"vault": b""},
        {"vault": bytes(16)},
    ],
)
def test_an_entry_takes_no_free_text(fault: dict[str, object]) -> None:
    good: dict[str, object] = {"operation": "vault.open", "outcome": "ok"}
    with pytest.raises(FormatError):
        AuditEntry(ALICE, **{**good, **fault})  # type: ignore[arg-type]


def test_the_longest_record_fits_the_limit() -> None:
    caller = Caller(gid=2**32 - 1, pid=2**32 - 1, uid=2**32 - 1)
    longest = AuditEntry(caller, "o" * 64, "u" * 64, "r" * 64, HANDLE)
    record = chain(longest, AuditHead(2**53 - 2, "f" * 64), TIME_MS)
    assert len(record.encode()) < LINE_BYTES_MAX
    assert parse_line(record.encode()) == record
    with pytest.raises(FormatError):
        chain(longest, record.head, TIME_MS)


@pytest.mark.parametrize("time_ms", [-(10**15), 10**15])
def test_a_clock_that_is_far_off_is_refused(time_ms: int) -> None:
    with pytest.raises(FormatError):
        chain(entry(), EMPTY_HEAD, time_ms)


@pytest.mark.parametrize(
    ("old", "new"),
    [
        (b'"ok"', b'"ok" '),
        (b"{", b" {"),
        (b'"seq":1', b'"seq":1.0'),
        (b'"seq":1', b'"seq":01'),
        (b'"seq":1', b'"seq":0'),
        (b'"seq":1', b'"seq":9007199254740992'),
        (b'"seq":1', b'"seq":true'),
        (b'"seq":1,', b'"seq":1,"seq":1,'),
        (b'"seq":1,', b""),
        (b'"seq":1,', b'"pin":"1234","seq":1,'),
        (b'"ok"', b'"\\u006fk"'),
        (b'"ok"', b'"o\\nk"'),
        (b'"ok"', b'"ok\\n"'),
        (b'"ok"', b"null"),
        (b'"ok"', b'"\xff"'),
        (b'"uid":1000', b'"uid":-1'),
        (b'"uid":1000', b'"uid":4294967296'),
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
def test_a_line_that_is_written_otherwise_is_refused(old: bytes, new: bytes) -> None:
    changed = FIRST.replace(old, new, 1)
    assert changed != FIRST
    with pytest.raises(FormatError):
        parse_line(changed)


@pytest.mark.parametrize("line", [b"", b"null", b"{}", b"[]", b"x" * (LINE_BYTES_MAX + 1), b"[" * 1000])
def test_what_is_not_a_record_is_refused(line: bytes) -> None:
    with pytest.raises(FormatError):
        parse_line(line)
