"""The trusted core process, hwkm-thm: the only one that holds the token.

This package is the composition root: it gives the rules of :mod:`hwkm.thm` their hardware
(:mod:`hwkm.tokens`), their storage (:mod:`hwkm.store.nodes`), clock and randomness, and speaks
the message set of :mod:`hwkm.wire.core_messages` over one inherited socket. One thread. It is
crash-only: whatever it cannot be sure of ends it, and the next life starts from the anchor.
"""
