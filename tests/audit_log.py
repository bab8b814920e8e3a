"""The audit log of a daemon, as a stranger with its public key checks it."""

from __future__ import annotations

from hwkm.audit.published import Published
from hwkm.audit.verify import Report, verify
from hwkm.tlog.note_keys import NoteKey
from tests.daemon import Daemon


def log_key_of(daemon: Daemon) -> NoteKey:
    """The public key of the log, as the daemon has put it beside the log."""
    return NoteKey.parse(Published(daemon.state_directory / "audit").log_key())


def verify_audit_log(daemon: Daemon, *, live: bool = False) -> Report:
    """Check the whole log."""
    return verify(daemon.state_directory / "audit", log_key_of(daemon), live=live)
