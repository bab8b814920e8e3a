"""Entries, logs and signatures that the tests of the audit log use."""

from __future__ import annotations

from collections.abc import Iterator
from contextlib import contextmanager
from pathlib import Path

from hwkm.audit.log import AuditLog
from hwkm.audit.record import AuditEntry, Caller
from hwkm.audit.tree import TreeWriter
from hwkm.audit.verify import Report, verify
from hwkm.secret import SecretBytes
from hwkm.tlog.checkpoint import Checkpoint
from hwkm.tlog.note import NoteSignature, SignedNote
from hwkm.tlog.note_keys import KeyType, PrivateNoteKey

ALICE = Caller(gid=1000, pid=4242, uid=1000)
BOB = Caller(gid=1001, pid=7, uid=1001)
TENANT = Caller(access_key="AKIAEXAMPLE", account="000000000001")
HANDLE = bytes(range(17))
KEY_ARN = "arn:aws:kms:us-east-1:000000000001:key/0d990263-6481-4bd8-a1ae-7d36e7e0c8a1"
TIME_MS = 1_767_225_599_007  # 2025-12-31T23:59:59.007Z

LOG = PrivateNoteKey("log.example/audit", SecretBytes(bytes(range(32))))
LOG_KEY = LOG.public(KeyType.ED25519)
WITNESS = PrivateNoteKey("witness.example/w1", SecretBytes(bytes(range(1, 33))))
WITNESS_KEY = WITNESS.public(KeyType.COSIGNATURE)


def entry(number: int = 0) -> AuditEntry:
    """What the daemon would write about request ``number``."""
    return AuditEntry(ALICE, "vault.open", "ok", request=f"request-{number}", vault=HANDLE)


def make_log(directory: Path, records: int, *, segment_bytes_max: int = 1 << 20) -> Path:
    """Write a log of so many records, each synced by itself, under a clock that stands still."""
    AuditLog.create(directory)
    with opened(directory, segment_bytes_max=segment_bytes_max) as log:
        for number in range(records):
            log.append_many([entry(number)])
    return directory


@contextmanager
def opened(directory: Path, *, segment_bytes_max: int = 1 << 20) -> Iterator[AuditLog]:
    """Open a log under a clock that stands still."""
    with AuditLog.open(
        directory, segment_bytes_max=segment_bytes_max, prepared_bytes=4096, clock_ms=lambda: TIME_MS
    ) as log:
        yield log


def append(directory: Path, *numbers: int) -> None:
    """Append records in one write."""
    with opened(directory) as log:
        log.append_many([entry(number) for number in numbers])


def segments(directory: Path) -> list[Path]:
    """The files of a log in order."""
    return sorted((directory / "records").glob("*.jsonl"))


def sign(directory: Path, size: int) -> SignedNote:
    """Have the first ``size`` records signed for."""
    tree = TreeWriter.open(directory)
    prepared = tree.prepare(size)
    note = signed(Checkpoint(LOG_KEY.name, size, prepared.root))
    tree.publish(prepared, note)
    return note


def signed(state: Checkpoint, key: PrivateNoteKey = LOG) -> SignedNote:
    """A state, signed."""
    public = key.public(KeyType.ED25519)
    return SignedNote(state.text(), (NoteSignature(public.name, public.key_id, key.sign(state.text())),))


def verified(directory: Path, **kept: SignedNote) -> Report:
    """Verify the log, which must still contain the states that were kept."""
    return verify(directory, LOG_KEY, seen={name: note.encode() for name, note in kept.items()})
