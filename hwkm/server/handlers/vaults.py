"""Operations on vaults as records: create, list, show, replace, delete, resume.

None of them touches an attempt counter, but for ``resume``, which gives no attempt back.
"""

from __future__ import annotations

import asyncio
import re
from typing import Final

from hwkm.errors import CohortMismatch, FormatError, ParamsRefused, VaultLocked
from hwkm.formats.vault_params import VaultParams
from hwkm.server.handlers.call import Call, Desk, now_ms, parse_handle, vault_to_open, visible_vault
from hwkm.server.handlers.vault_info import (
    describe,
    key_records,
    knowledge_factor_record,
    listed_vault_info,
    vault_info,
)
from hwkm.server.record_thread import Replacement, VaultSnapshot
from hwkm.store.vault_record import VaultRecord, VaultState
from hwkm.wire.api import (
    LIST_LIMIT_MAX,
    NAME_PATTERN,
    CreateVault,
    Nothing,
    ReplaceVault,
    VaultInfo,
    VaultList,
)
from hwkm.wire.core_messages import CounterRead, Done, ReadCounter, ResumeVault

LIST_LIMIT_DEFAULT: Final = 100

_NAME: Final = re.compile(NAME_PATTERN)


async def create(desk: Desk, call: Call[CreateVault]) -> VaultInfo:
    """Store a new vault under the handle in its params."""
    body = call.body
    params = acceptable_params(desk, body.params)
    call.vault = params.handle
    factor = knowledge_factor_record(body.knowledge_factor)
    counter = await _living_counter(desk, body.params)
    now = now_ms()
    record = VaultRecord(
        handle=params.handle,
        name=body.name,
        owner_uid=call.peer.uid,
        owner_gid=call.peer.gid,
        params=body.params,
        vault=body.vault,
        knowledge_factor=factor,
        created_at_ms=now,
        updated_at_ms=now,
    )
    keys = key_records(body.application_keys)
    await desk.records.create(record, keys, vaults_max=desk.vaults_per_uid)
    return describe(await desk.records.snapshot(params.handle), counter)


async def list_page(desk: Desk, call: Call[Nothing]) -> VaultList:
    """List the vaults that the caller may see, in the order of their handles."""
    limit = _limit(call.query.get("limit"))
    after = parse_handle(call.query["after"]) if "after" in call.query else None
    if "name" in call.query:
        page = await desk.records.named(call.owner_uid, _name(call.query["name"]), limit)
        full = False
    else:
        page = await desk.records.page(call.owner_uid, after, limit)
        full = len(page) == limit
    infos = await asyncio.gather(*(listed_vault_info(desk.core, snapshot) for snapshot in page))
    return VaultList(vaults=tuple(infos), next=infos[-1].handle if full else None)


async def show(desk: Desk, call: Call[Nothing]) -> VaultInfo:
    """Show one vault."""
    return await vault_info(desk.core, await visible_vault(desk, call))


async def replace(desk: Desk, call: Call[ReplaceVault]) -> VaultInfo:
    """Store a new blob: under the same counter id for the same PIN, under a new one for a new PIN."""
    body = call.body
    params = acceptable_params(desk, body.params)
    snapshot = await visible_vault(desk, call)
    if params.handle != snapshot.record.handle:
        raise FormatError("the params are of another vault: their handle is not the one in the path")
    refuse_locked(snapshot)
    factor = knowledge_factor_record(body.knowledge_factor)
    counter = await _living_counter(desk, body.params)
    replacement = Replacement(
        handle=params.handle,
        expected_snapshot_version=body.expected_snapshot_version,
        params=body.params,
        vault=body.vault,
        knowledge_factor=factor,
        keys=key_records(body.application_keys),
    )
    await desk.records.replace(replacement, now_ms=now_ms())
    return describe(await desk.records.snapshot(params.handle), counter)


async def delete(desk: Desk, call: Call[Nothing]) -> Nothing:
    """Delete a vault or a tombstone. Its counter stays what it is."""
    snapshot = await visible_vault(desk, call)
    await desk.records.delete(snapshot.record.handle)
    return Nothing()


async def resume(desk: Desk, call: Call[Nothing]) -> VaultInfo:
    """Let a vault be opened again that was suspended after hardware faults."""
    snapshot = await vault_to_open(desk, call)
    refuse_locked(snapshot)
    await desk.core.ask(ResumeVault(params=snapshot.record.params), Done)
    return await vault_info(desk.core, snapshot)


def acceptable_params(desk: Desk, data: bytes) -> VaultParams:
    """Check params before anything is stored; the core checks them again at every use.

    Raises:
        FormatError: they are malformed.
        CohortMismatch: they name another cohort's key.
        VaultElsewhere: the vault is another member's.
        ParamsRefused: max attempts is over the limit, or 0.
    """
    params = VaultParams.parse(data)
    if params.cohort_public_key != desk.core.ready.cohort_public_key:
        raise CohortMismatch("the vault was made for another cohort key; ask for the cohort and make it anew")
    desk.core.membership.verify_owns(params.handle)
    if not 1 <= params.max_attempts <= desk.max_attempts_limit:
        raise ParamsRefused(
            f"max attempts is {params.max_attempts}; allowed here: 1 to {desk.max_attempts_limit}"
        )
    return params


def refuse_locked(snapshot: VaultSnapshot) -> None:
    """Stop if nothing is left of the vault.

    Raises:
        VaultLocked: its attempt limit was reached.
    """
    if snapshot.record.state is VaultState.LOCKED:
        raise VaultLocked("the attempt limit was reached; the recovery key is gone for good")


async def _living_counter(desk: Desk, params: bytes) -> CounterRead:
    """How the counter of these params stands.

    Raises:
        VaultLocked: it is dead. A vault that could never be opened is not taken: its owner would
            rely on it.
    """
    counter = await desk.core.ask(ReadCounter(params=params), CounterRead)
    if counter.attempts_remaining == 0:
        raise VaultLocked("the counter of these params has no attempts left; draw a new counter id")
    return counter


def _limit(text: str | None) -> int:
    if text is None:
        return LIST_LIMIT_DEFAULT
    if not (text.isascii() and text.isdigit() and len(text) <= 4 and 1 <= int(text) <= LIST_LIMIT_MAX):
        raise FormatError(f"limit: a number from 1 to {LIST_LIMIT_MAX}")
    return int(text)


def _name(text: str) -> str:
    if not _NAME.fullmatch(text):
        raise FormatError("name: 1 to 128 characters, no control characters and no slash")
    return text
