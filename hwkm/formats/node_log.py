"""Records of the node log (``docs/spec/node-log.md``): what one put changed in the node store.

======  =========  =====================================================================
offset  size       field
======  =========  =====================================================================
0       32         SHA-256 of all that follows
32      8          generation of the log, u64 BE
40      4          length of the changes in bytes, u32 BE
44      34 + size  each change: digest (32), size + 1 as u16 BE or 0 for a removal, node
======  =========  =====================================================================

The hash finds what a crash left torn. It protects from nobody: nodes are checked by whoever reads
them. So reading never fails: the log ends where no whole record of its generation is.
"""

from __future__ import annotations

import hashlib
import struct
from collections.abc import Iterator, Mapping
from typing import Final

from hwkm.errors import FormatError
from hwkm.formats.tree_node import NODE_BYTES_MAX

Changes = Mapping[bytes, bytes | None]
"""Nodes by digest (32 bytes); None stands for a node that was removed."""

CHANGES_BYTES_MAX: Final = 2**32 - 1

_CHECKSUM_BYTES: Final = 32
_HEAD: Final = struct.Struct(">QI")
_CHANGE: Final = struct.Struct(">32sH")
_BODY_AT: Final = _CHECKSUM_BYTES + _HEAD.size


def encode_record(generation: int, changes: Changes) -> bytes:
    """Return a record.

    Raises:
        FormatError: a digest is not 32 bytes, a node is longer than 8,192, or the record than 4 GiB.
    """
    body = b"".join(_encode_change(digest, node) for digest, node in changes.items())
    if len(body) > CHANGES_BYTES_MAX:
        raise FormatError("more changes than a record of the node log holds")
    rest = _HEAD.pack(generation, len(body)) + body
    return hashlib.sha256(rest).digest() + rest


def read_records(data: bytes, generation: int) -> Iterator[dict[bytes, bytes | None]]:
    """Yield the changes of each whole record of ``generation``, from the beginning to the first that is not."""
    view, at = memoryview(data), 0
    while at + _BODY_AT <= len(view):
        written_in, length = _HEAD.unpack_from(view, at + _CHECKSUM_BYTES)
        end = at + _BODY_AT + length
        checksum, rest = view[at : at + _CHECKSUM_BYTES], view[at + _CHECKSUM_BYTES : end]
        if written_in != generation or end > len(view) or hashlib.sha256(rest).digest() != checksum:
            return
        changes = _read_changes(view[at + _BODY_AT : end])
        if changes is None:
            return
        yield changes
        at = end


def _encode_change(digest: bytes, node: bytes | None) -> bytes:
    if len(digest) != _CHECKSUM_BYTES:
        raise FormatError("a node's digest is 32 bytes")
    if node is None:
        return _CHANGE.pack(digest, 0)
    if len(node) > NODE_BYTES_MAX:
        raise FormatError(f"a node is at most {NODE_BYTES_MAX} bytes")
    return _CHANGE.pack(digest, len(node) + 1) + node


def _read_changes(body: memoryview) -> dict[bytes, bytes | None] | None:
    changes: dict[bytes, bytes | None] = {}
    at = 0
    while at < len(body):
        if at + _CHANGE.size > len(body):
            return None
        digest, size = _CHANGE.unpack_from(body, at)
        at += _CHANGE.size
        node = bytes(body[at : at + size - 1]) if size else None
        if digest in changes or (node is not None and len(node) != size - 1):
            return None
        changes[digest] = node
        at += len(node or b"")
    return changes
