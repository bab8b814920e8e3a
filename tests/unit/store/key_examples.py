"""Keys that the tests of the store use."""

from __future__ import annotations

import hashlib
from collections.abc import Mapping

from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.formats.wrapped_key import Backend, WrappedKey
from hwkm.store.key_record import (
    EMPTY,
    KeyRecord,
    KeySnapshot,
    KeyState,
    RecordedKey,
    VersionCause,
    VersionRecord,
)

ACCOUNT = "000000000001"
OTHER_ACCOUNT = "000000000002"
CREATED_MS = 1_700_000_000_000


def key_id(number: int) -> bytes:
    """The id of key ``number``; they sort as their numbers."""
    return number.to_bytes(16, "big")


def wrapped(
    number: int, version: int = 1, *, generation: int = 1, kind: KeyKind = KeyKind.SYMMETRIC
) -> bytes:
    """What stands for a wrapped key, well formed."""
    blob = hashlib.sha512(b"%d %d %d" % (number, version, generation)).digest()
    name = KeyName(key_id(number), version)
    return WrappedKey(Backend.MEMORY, kind, generation, name, blob, bytes(32)).encode()


def version(
    number: int, version: int = 1, *, generation: int = 1, kind: KeyKind = KeyKind.SYMMETRIC
) -> VersionRecord:
    """A version of key ``number``."""
    return VersionRecord(
        key_id=key_id(number),
        version=version,
        wrapped=wrapped(number, version, generation=generation, kind=kind),
        public_key=b"" if kind.is_secret_key else b"public key",
        generation=generation,
        created_at_ms=CREATED_MS + version,
        cause=VersionCause.CREATED if version == 1 else VersionCause.ON_DEMAND,
    )


def key(
    number: int,
    *,
    account: str = ACCOUNT,
    kind: KeyKind = KeyKind.SYMMETRIC,
    aliases: tuple[str, ...] = (),
    tags: Mapping[str, str] = EMPTY,
) -> KeySnapshot:
    """Key ``number``, just made."""
    record = KeyRecord(
        key_id=key_id(number),
        account=account,
        kind=kind,
        state=KeyState.ENABLED,
        description=f"key {number}",
        version=1,
        rotation_period_days=None,
        next_rotation_at_ms=None,
        created_at_ms=CREATED_MS,
    )
    return KeySnapshot(record, version(number, kind=kind), aliases, tags)


def recorded(label: str, version: int = 1) -> RecordedKey:
    """A data key recorded under ``label``."""
    return RecordedKey(0, version, hashlib.sha256(label.encode()).digest(), label, CREATED_MS)
