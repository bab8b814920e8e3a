"""Whatever stands in an audit log is read, or refused with one of two errors."""

from __future__ import annotations

from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import read
from hwkm.audit.record import EMPTY_HEAD, AuditEntry, Caller, chain, parse_line
from hwkm.audit.verify import verify
from hwkm.errors import AuditError, FormatError

GOOD = chain(
    AuditEntry(Caller(gid=1, pid=2, uid=3), "vault.open", "ok", "r", bytes(17)), EMPTY_HEAD, 0
).encode()

json_values = st.recursive(
    st.none() | st.booleans() | st.integers() | st.floats() | st.text(max_size=5),
    lambda inner: st.lists(inner, max_size=3) | st.dictionaries(st.text(max_size=5), inner, max_size=3),
    max_leaves=5,
)


@st.composite
def edited_records(draw: st.DrawFn) -> bytes:
    """A good record with a stretch of it replaced."""
    start = draw(st.integers(0, len(GOOD)))
    end = draw(st.integers(start, min(len(GOOD), start + 20)))
    return GOOD[:start] + draw(st.binary(max_size=20)) + GOOD[end:]


lines = st.binary(max_size=300) | edited_records() | json_values.map(lambda value: repr(value).encode())


@settings(max_examples=500)
@given(lines)
@example(b'{"caller":' + b"[" * 1000)
@example(b"\xff\xfe")
@example(GOOD + b"\n")
def test_a_line_parses_or_raises_format_error(line: bytes) -> None:
    with suppress(FormatError):
        assert parse_line(line).encode() == line


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines, max_size=4).map(b"\n".join))
def test_a_file_verifies_reads_and_opens_or_raises_audit_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "0000000000000001.jsonl").write_bytes(content)
    with suppress(AuditError):
        verify(tmp_path)
    with suppress(AuditError):
        list(read(tmp_path))
    with suppress(AuditError):
        AuditLog.open(tmp_path).close()
        verify(tmp_path)
