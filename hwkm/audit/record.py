"""One record of the audit log: its fields, its exact bytes, its hash (``docs/spec/audit-log.md``).

A record is one line of canonical JSON (RFC 8785: no white space, keys in order) and a newline.
Every value is a number, null or a string of a small ASCII alphabet, so no character is ever
escaped and there is one way only to write a record; a line that is written otherwise is refused.
There is no free text, and so no field in which a secret could travel.
"""

from __future__ import annotations

import hashlib
import re
from dataclasses import dataclass
from typing import Annotated, Final, NamedTuple

import msgspec
from msgspec import Meta

from hwkm.audit.timestamp import check_time, format_time
from hwkm.errors import FormatError
from hwkm.formats.vault_params import HANDLE_BYTES

LINE_BYTES_MAX: Final = 1024
"""The longest possible record is shorter than this."""

HASH_LABEL: Final = b"hwkm audit record v1\n"
NO_HASH: Final = "0" * 64

_SEQ_MAX: Final = 2**53 - 1  # what every JSON reader keeps exactly
_WORD: Final = r"\A[a-z0-9_.-]{1,64}\Z"
_REQUEST: Final = r"\A[A-Za-z0-9_.:-]{1,64}\Z"
_HANDLE: Final = r"\A[0-9a-f]{34}\Z"
_HASH: Final = r"\A[0-9a-f]{64}\Z"
_TIME: Final = r"\A[0-9]{4}-[0-9]{2}-[0-9]{2}T[0-9]{2}:[0-9]{2}:[0-9]{2}\.[0-9]{3}Z\Z"
_HASH_KEY: Final = b',"hash":"'
_HASH_MEMBER_BYTES: Final = len(_HASH_KEY) + 64 + len(b'"')

_Id = Annotated[int, Meta(ge=0, le=2**32 - 1)]
_Hash = Annotated[str, Meta(pattern=_HASH)]


class AuditHead(NamedTuple):
    """The newest record of a log; of an empty log, number 0 and 64 zeros."""

    seq: int
    hash: str


EMPTY_HEAD: Final = AuditHead(0, NO_HASH)


class Caller(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """Who asked, as the kernel told (SO_PEERCRED)."""

    gid: _Id
    pid: _Id
    uid: _Id


@dataclass(frozen=True, slots=True)
class AuditEntry:
    """What happened, before it has a place in the log.

    ``operation`` is the name of an operation, ``outcome`` is ``ok`` or the code of an error,
    ``request`` is the id of the request or None, ``vault`` is a handle (17 bytes) or None.
    """

    caller: Caller
    operation: str
    outcome: str
    request: str | None = None
    vault: bytes | None = None

    def __post_init__(self) -> None:
        for word in (self.operation, self.outcome):
            if not re.match(_WORD, word):
                raise FormatError("operation and outcome of an audit record are of a-z 0-9 _ . -, 1 to 64")
        if self.request is not None and not re.match(_REQUEST, self.request):
            raise FormatError("a request id is of A-Z a-z 0-9 _ . : -, 1 to 64")
        if self.vault is not None and len(self.vault) != HANDLE_BYTES:
            raise FormatError(f"a vault handle is {HANDLE_BYTES} bytes")


class AuditRecord(msgspec.Struct, frozen=True, forbid_unknown_fields=True):
    """A record in its place. The fields are in the order in which they are written."""

    caller: Caller
    hash: _Hash
    operation: Annotated[str, Meta(pattern=_WORD)]
    outcome: Annotated[str, Meta(pattern=_WORD)]
    prev: _Hash
    request: Annotated[str, Meta(pattern=_REQUEST)] | None
    seq: Annotated[int, Meta(ge=1, le=_SEQ_MAX)]
    time: Annotated[str, Meta(pattern=_TIME)]
    vault: Annotated[str, Meta(pattern=_HANDLE)] | None

    @property
    def head(self) -> AuditHead:
        """This record as the newest of a log."""
        return AuditHead(self.seq, self.hash)

    def encode(self) -> bytes:
        """Return the line, without its newline."""
        return _encode(self)


_encode: Final = msgspec.json.Encoder().encode
_decode: Final = msgspec.json.Decoder(AuditRecord).decode


def chain(entry: AuditEntry, after: AuditHead, time_ms: int) -> AuditRecord:
    """Return the record that comes after ``after``.

    Raises:
        FormatError: the time or the number is out of range.
    """
    if not 0 <= after.seq < _SEQ_MAX:
        raise FormatError("the audit log has no number left")
    record = AuditRecord(
        caller=entry.caller,
        hash=NO_HASH,
        operation=entry.operation,
        outcome=entry.outcome,
        prev=after.hash,
        request=entry.request,
        seq=after.seq + 1,
        time=format_time(time_ms),
        vault=None if entry.vault is None else entry.vault.hex(),
    )
    return msgspec.structs.replace(record, hash=hash_of_line(record.encode()))


def parse_line(line: bytes) -> AuditRecord:
    """Read a line without its newline. Its hash is not compared, nor its place in the log.

    Raises:
        FormatError: it is not a record, or not written in the one way.
    """
    if len(line) > LINE_BYTES_MAX:
        raise FormatError(f"an audit record is at most {LINE_BYTES_MAX} bytes")
    try:
        record = _decode(line)
    except (msgspec.MsgspecError, ValueError, RecursionError) as exc:
        raise FormatError(f"not an audit record: {exc}") from None
    if _encode(record) != line:
        raise FormatError("not canonical JSON")
    check_time(record.time)
    return record


def hash_of_line(line: bytes) -> str:
    """Return the hash of a record (64 hex digits): SHA-256 of a label and the line without its hash."""
    cut = line.index(_HASH_KEY)
    return hashlib.sha256(HASH_LABEL + line[:cut] + line[cut + _HASH_MEMBER_BYTES :]).hexdigest()
