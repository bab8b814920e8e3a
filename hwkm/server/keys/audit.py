"""What the audit log says of a request to the key service."""

from __future__ import annotations

import asyncio
from typing import Final

from hwkm.audit.record import AuditEntry
from hwkm.server.audit_writer import AuditWriter
from hwkm.server.keys.principal import KeyCall

OK: Final = "ok"


def audit_entries(call: KeyCall, operation: str, code: str, request_id: str) -> list[AuditEntry]:
    """One entry for each different use of a key: version, context and outcome, and of how many items.

    ``code`` is the outcome of the request as a whole. Where no key is known, there is one entry too.
    """
    caller = call.principal.caller
    return [
        AuditEntry(
            caller,
            operation,
            code if code != OK else use.outcome,
            request_id,
            key=use.key,
            key_version=use.version or None,
            context=use.context,
            detail={"items": str(use.items)} if use.items > 1 else None,
        )
        for use in call.uses
    ] or [AuditEntry(caller, operation, code, request_id)]


async def record_uses(audit: AuditWriter, call: KeyCall, operation: str, code: str, request_id: str) -> None:
    """Make the audit entries of a request durable.

    Raises:
        HwkmError: they could not be written.
    """
    entries = audit_entries(call, operation, code, request_id)
    if len(entries) == 1:
        await audit.append(entries[0])
    else:
        await asyncio.gather(*map(audit.append, entries))
