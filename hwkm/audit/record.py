"""One record of the audit log: its fields and its exact bytes (``docs/spec/audit-log.md``).

A record is one line of canonical JSON (no white space, names in order, absent members left out),
and there is one way only to write it; a line that is written otherwise is refused. The line,
without its newline, is the entry of the transparency log. No field takes a secret: what callers
choose themselves is only the encryption context, which is never secret, and what it names.
"""

from __future__ import annotations

import re
from collections.abc import Mapping
from functools import lru_cache
from typing import Annotated, Final
from zlib import crc32

import msgspec
from msgspec import Meta

from hwkm.audit.timestamp import check_time, format_time
from hwkm.errors import FormatError
from hwkm.formats.vault_params import HANDLE_BYTES

LINE_BYTES_MAX: Final = 65_535
"""The most that an entry bundle of the transparency log can hold. The largest record is smaller."""

CONTEXT_PAIRS_MAX: Final = 64
CONTEXT_BYTES_MAX: Final = 8_192
DETAIL_PAIRS_MAX: Final = 16
DETAIL_BYTES_MAX: Final = 1_024
INDEX_MAX: Final = 2**53 - 1
"""What every JSON reader keeps exactly."""

_WORD: Final = r"\A[A-Za-z0-9_.-]{1,64}\Z"
_REQUEST: Final = r"\A[A-Za-z0-9_.:-]{1,64}\Z"
_NAME: Final = r"\A[!-~]{1,2048}\Z"
_CALLER_NAME: Final = r"\A[!-~]{1,128}\Z"
_HANDLE: Final = r"\A[0-9a-f]{34}\Z"
_CHECK: Final = r"\A[0-9a-f]{8}\Z"
_TIME: Final = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z"
_NO_CHECK: Final = "00000000"
_CHECK_MEMBER: Final = b'"check":"%s"'
_CHECK_UNSET: Final = b'"check":"00000000"'

_is_request: Final = re.compile(_REQUEST).match
_is_name: Final = re.compile(_NAME).match

_Id = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_CallerName = Annotated[str, Meta(pattern=_CALLER_NAME)]
_Word = Annotated[str, Meta(pattern=_WORD)]


class Caller(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """Who asked: as the kernel told (SO_PEERCRED), or by the access key of a signed request."""

    access_key: _CallerName | None = None
    account: _CallerName | None = None
    gid: _Id | None = None
    pid: _Id | None = None
    uid: _Id | None = None

    def __post_init__(self) -> None:
        known = (self.gid is not None) + (self.pid is not None) + (self.uid is not None)
        if known not in (0, 3) or (known == 0 and self.access_key is None):
            raise ValueError("a caller is a uid with gid and pid, or an access key, or both")


class AuditEntry(msgspec.Struct, frozen=True):
    """What happened, before it has a place in the log.

    ``operation`` is the name of an operation, ``outcome`` is ``ok`` or the code of an error,
    ``request`` the id of the request, ``vault`` a handle (17 bytes), ``key`` the ARN or id of a
    customer master key, ``context`` an encryption context, ``detail`` a few facts without a secret.
    """

    caller: Caller
    operation: str
    outcome: str
    request: str | None = None
    vault: bytes | None = None
    key: str | None = None
    key_version: int | None = None
    context: Mapping[str, str] | None = None
    detail: Mapping[str, str] | None = None

    def __post_init__(self) -> None:
        _check_word(self.operation)
        _check_word(self.outcome)
        if self.request is not None and not _is_request(self.request):
            raise FormatError("a request id is of A-Z a-z 0-9 _ . : -, 1 to 64")
        if self.vault is not None and len(self.vault) != HANDLE_BYTES:
            raise FormatError(f"a vault handle is {HANDLE_BYTES} bytes")
        if self.key is not None and not _is_name(self.key):
            raise FormatError("the name of a key is 1 to 2048 visible ASCII characters")
        if self.key_version is not None and not 1 <= self.key_version < 2**32:
            raise FormatError("the version of a key is 1 to 2**32 - 1")
        if self.context:
            _check_pairs(self.context, CONTEXT_PAIRS_MAX, CONTEXT_BYTES_MAX)
        if self.detail:
            _check_pairs(self.detail, DETAIL_PAIRS_MAX, DETAIL_BYTES_MAX)


class AuditRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True, omit_defaults=True, kw_only=True):
    """A record in its place. The fields are in the order in which they are written."""

    caller: Caller
    check: Annotated[str, Meta(pattern=_CHECK)]
    context: dict[str, str] | None = None
    detail: dict[str, str] | None = None
    index: Annotated[int, Meta(ge=0, le=INDEX_MAX)]
    key: Annotated[str, Meta(pattern=_NAME)] | None = None
    key_version: Annotated[int, Meta(ge=1, le=2**32 - 1)] | None = None
    operation: _Word
    outcome: _Word
    request: Annotated[str, Meta(pattern=_REQUEST)] | None = None
    time: Annotated[str, Meta(pattern=_TIME)]
    vault: Annotated[str, Meta(pattern=_HANDLE)] | None = None

    def encode(self) -> bytes:
        """Return the line, without its newline."""
        return _encode(self)


# The members of a record are in order as they are defined, so this puts context and detail in order.
_encode: Final = msgspec.json.Encoder(order="sorted").encode
_decode: Final = msgspec.json.Decoder(AuditRecord).decode


def encode_record(entry: AuditEntry, index: int, time_ms: int) -> bytes:
    """Return the line, without its newline, of an entry at its place.

    Raises:
        FormatError: the time or the index is out of range.
    """
    if not 0 <= index <= INDEX_MAX:
        raise FormatError("the audit log has no number left")
    line = _encode(
        AuditRecord(
            caller=entry.caller,
            check=_NO_CHECK,
            context=dict(entry.context) if entry.context else None,
            detail=dict(entry.detail) if entry.detail else None,
            index=index,
            key=entry.key,
            key_version=entry.key_version,
            operation=entry.operation,
            outcome=entry.outcome,
            request=entry.request,
            time=format_time(time_ms),
            vault=None if entry.vault is None else entry.vault.hex(),
        )
    )
    # Nothing before this member has names that a caller chooses, and quotation marks are escaped.
    return line.replace(_CHECK_UNSET, _CHECK_MEMBER % b"%08x" % crc32(line), 1)


def parse_line(line: bytes) -> AuditRecord:
    """Read a line without its newline. Its place in the log is not looked at.

    Raises:
        FormatError: it is not a record, not written in the one way, or was changed.
    """
    if len(line) > LINE_BYTES_MAX:
        raise FormatError(f"an audit record is at most {LINE_BYTES_MAX} bytes")
    try:
        record = _decode(line)
        canonical = _encode(record) == line
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise FormatError(f"not an audit record: {exc}") from None
    if not canonical or not _is_ordered(record.context) or not _is_ordered(record.detail):
        raise FormatError("not canonical JSON")
    unset = line.replace(_CHECK_MEMBER % record.check.encode("ascii"), _CHECK_UNSET, 1)
    if crc32(unset) != int(record.check, 16):
        raise FormatError("the record was changed: its checksum is wrong")
    check_time(record.time)
    return record


@lru_cache(maxsize=1024)
def _check_word(word: str) -> None:
    if not re.match(_WORD, word):
        raise FormatError("operation and outcome of an audit record are of A-Z a-z 0-9 _ . -, 1 to 64")


def _check_pairs(pairs: Mapping[str, str], count_max: int, bytes_max: int) -> None:
    try:
        total = len("".join([*pairs, *pairs.values()]).encode())
    except (UnicodeEncodeError, TypeError):
        raise FormatError("context and detail of an audit record are pairs of Unicode strings") from None
    if len(pairs) > count_max or total > bytes_max:
        raise FormatError(f"at most {count_max} pairs and {bytes_max} bytes fit into an audit record")


def _is_ordered(pairs: dict[str, str] | None) -> bool:
    """Whether the pairs are in the one order; an empty map is not written at all."""
    return pairs is None or (bool(pairs) and list(pairs) == sorted(pairs))
