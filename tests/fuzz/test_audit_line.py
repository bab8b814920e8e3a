"""Whatever stands in an audit log is read, or refused with one of two errors."""

from __future__ import annotations

import tempfile
from contextlib import suppress
from pathlib import Path

from hypothesis import HealthCheck, example, given, settings
from hypothesis import strategies as st

from hwkm.audit.log import AuditLog
from hwkm.audit.reader import read
from hwkm.audit.record import AuditEntry, Caller, encode_record, parse_line
from hwkm.audit.tree import TreeWriter
from hwkm.errors import AuditError, FormatError, LogError
from tests.unit.audit.examples import make_log, sign, verified

GOOD = encode_record(
    AuditEntry(
        Caller(gid=1, pid=2, uid=3), "vault.open", "ok", "r", bytes(17), context={"tenant": "é", "a": "b"}
    ),
    0,
    0,
)

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


def read_all(log: Path) -> None:
    """Everything that reads a log."""
    with suppress(AuditError, LogError):
        verified(log)
    with suppress(AuditError):
        list(read(log))
    with suppress(AuditError):
        TreeWriter.open(log)
    with suppress(AuditError):
        AuditLog.open(log).close()
        verified(log)


@settings(max_examples=200, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.lists(lines, max_size=4).map(b"\n ".join))
def test_a_segment_verifies_reads_and_opens_or_raises_a_typed_error(tmp_path: Path, content: bytes) -> None:
    (tmp_path / "records").mkdir(exist_ok=True)
    (tmp_path / "records/0000000000000000.jsonl").write_bytes(content)
    read_all(tmp_path)


@settings(max_examples=200, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    name=st.sampled_from(["checkpoint", "tile/0/000.p/3", "tile/entries/000.p/3", "witnessed/3"]),
    content=st.binary(max_size=400),
)
def test_a_published_file_is_read_or_refused(tmp_path: Path, name: str, content: bytes) -> None:
    log = Path(tempfile.mkdtemp(dir=tmp_path)) / "audit"
    make_log(log, 3)
    sign(log, 3)
    (log / name).parent.mkdir(parents=True, exist_ok=True)
    (log / name).write_bytes(content)
    read_all(log)
