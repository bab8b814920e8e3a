"""hwkm: a hardware-backed key manager.

The operator cannot read your data, and nobody can guess your PIN by trying.
Start with ``docs/architecture.md``; the trusted rules are in :mod:`hwkm.thm`.
"""

__version__ = "0.1.0"
