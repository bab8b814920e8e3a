"""What the audit log says of a request to the key service."""

from __future__ import annotations

from typing import Final

from hwkm.audit.record import AuditEntry, Caller
from hwkm.errors import FormatError
from hwkm.server.audit_writer import AuditWriter
from hwkm.server.keys.principal import KeyCall, KeyUse

OK: Final = "ok"
BEGUN: Final = "begun"
"""Recorded before what cannot be undone; its outcome follows, unless the machine stopped in between."""


def audit_entries(call: KeyCall, operation: str, code: str, request_id: str) -> list[AuditEntry]:
    """One entry for each different use of a key: version, context and outcome, and of how many items.

    ``code`` is the outcome of the request as a whole. Where no key is known, there is one entry too.
    """
    caller = call.principal.caller
    entries = [
        _entry(caller, operation, code if code != OK else use.outcome, request_id, use) for use in call.uses
    ]
    return entries or [AuditEntry(caller, operation, code, request_id)]


def _entry(caller: Caller, operation: str, outcome: str, request_id: str, use: KeyUse) -> AuditEntry:
    key, version, context, items, _ = use
    about = (caller, operation, outcome, request_id, None, key or None, version or None)
    detail = {"items": str(items)} if items > 1 else None
    try:
        return AuditEntry(*about, context or None, detail)
    except FormatError:  # over the limits of a context: it was refused, and nothing was done with it
        return AuditEntry(*about, None, {**(detail or {}), "context": "refused"})


async def record_uses(audit: AuditWriter, call: KeyCall, operation: str, code: str, request_id: str) -> None:
    """Make the audit entries of a request durable.

    Raises:
        HwkmError: they could not be written.
    """
    await audit.append_all(audit_entries(call, operation, code, request_id))
