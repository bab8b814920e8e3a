"""The name of an audit log, made from its key: a log and its key cannot be exchanged for others."""

from __future__ import annotations

from hashlib import sha256
from typing import Final

from hwkm.tlog.note_keys import NoteKey

ORIGIN_PREFIX: Final = "hwkm.audit/"


def audit_log_key(point: bytes) -> NoteKey:
    """Return the public key of the audit log of this audit key (65-byte point).

    Its name, the origin of every checkpoint, is the prefix and the first 16 bytes, in hex, of
    SHA-256 of the point.

    Raises:
        InvalidKeyError: the point is not on P-256.
    """
    return NoteKey.of_point(ORIGIN_PREFIX + sha256(point).hexdigest()[:32], point)
