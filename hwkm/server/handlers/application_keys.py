"""Application keys, wrapped under the recovery key of a vault: list, put, delete."""

from __future__ import annotations

import re
from typing import Final

from hwkm.errors import FormatError
from hwkm.server.handlers.call import Call, Desk, now_ms, visible_vault
from hwkm.server.handlers.vault_info import describe, read_counter, wrapped_keys
from hwkm.server.handlers.vaults import refuse_locked
from hwkm.store.vault_record import ApplicationKeyRecord
from hwkm.wire.api import (
    ALIAS_PATTERN,
    APPLICATION_KEYS_MAX,
    ApplicationKeyList,
    Nothing,
    PutApplicationKey,
    VaultInfo,
)

_ALIAS: Final = re.compile(ALIAS_PATTERN)


async def list_keys(desk: Desk, call: Call[Nothing]) -> ApplicationKeyList:
    """List the wrapped keys of a vault."""
    snapshot = await visible_vault(desk, call)
    return ApplicationKeyList(
        snapshot_version=snapshot.record.snapshot_version, application_keys=wrapped_keys(snapshot.keys)
    )


async def put(desk: Desk, call: Call[PutApplicationKey]) -> VaultInfo:
    """Store a wrapped key under its alias."""
    snapshot = await visible_vault(desk, call)
    refuse_locked(snapshot)
    handle = snapshot.record.handle
    # Asked first: when the core cannot answer, nothing was changed.
    counter = await read_counter(desk.core, snapshot.record)
    key = ApplicationKeyRecord(_alias(call), call.body.wrapped, call.body.metadata or None)
    await desk.records.put_application_key(
        handle,
        call.body.expected_snapshot_version,
        key,
        keys_max=APPLICATION_KEYS_MAX,
        now_ms=now_ms(),
    )
    return describe(await desk.records.snapshot(handle), counter)


async def delete(desk: Desk, call: Call[Nothing]) -> VaultInfo:
    """Delete a key; one that is not there is deleted already."""
    snapshot = await visible_vault(desk, call)
    refuse_locked(snapshot)
    handle = snapshot.record.handle
    counter = await read_counter(desk.core, snapshot.record)
    await desk.records.delete_application_key(handle, _alias(call), now_ms=now_ms())
    return describe(await desk.records.snapshot(handle), counter)


def _alias(call: Call[Nothing] | Call[PutApplicationKey]) -> str:
    alias = call.path["alias"]
    if not _ALIAS.fullmatch(alias):
        raise FormatError("an alias is 1 to 64 of the letters A-Z a-z, digits, . _ and -")
    return alias
