"""A transparency log: bytes in, bytes out (``docs/spec/log.md``).

No I/O, clock, randomness or hardware: whoever stores the log hands over bytes. Read in this order:
:mod:`~hwkm.tlog.merkle` (the tree of RFC 6962), :mod:`~hwkm.tlog.proofs` (inclusion and
consistency), :mod:`~hwkm.tlog.tiles` (the tree as static files), :mod:`~hwkm.tlog.note` and
:mod:`~hwkm.tlog.note_keys` (signed text), :mod:`~hwkm.tlog.checkpoint` (a signed state of a log),
:mod:`~hwkm.tlog.witness` (cosignatures by others), :mod:`~hwkm.tlog.proof_file`.
"""
