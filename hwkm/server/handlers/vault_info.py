"""A vault as its owner may see it."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hwkm.errors import CohortMismatch, ParamsRefused, VaultElsewhere
from hwkm.formats.vault_params import VaultParams
from hwkm.server.core_calls import CoreCalls
from hwkm.server.record_thread import VaultSnapshot
from hwkm.store.vault_record import ApplicationKeyRecord, KnowledgeFactorRecord, VaultRecord, VaultState
from hwkm.wire.api import KnowledgeFactor, VaultInfo, WrappedApplicationKey
from hwkm.wire.core_messages import CounterRead, ReadCounter

_NOTHING_LEFT: Final = CounterRead(attempts_remaining=0, retry_after_ms=0, suspended=False)


async def vault_info(core: CoreCalls, snapshot: VaultSnapshot) -> VaultInfo:
    """Describe a vault, with how its counter stands.

    Raises:
        HwkmError: the core cannot tell.
    """
    return describe(snapshot, await read_counter(core, snapshot.record))


async def listed_vault_info(core: CoreCalls, snapshot: VaultSnapshot) -> VaultInfo:
    """As :func:`vault_info`; a vault that cannot be opened here as things are has no attempts.

    One made for another cohort or pinned to another member, or under a limit that was lowered, must not hide the others.
    """
    try:
        return await vault_info(core, snapshot)
    except (CohortMismatch, VaultElsewhere, ParamsRefused):
        return describe(snapshot, _NOTHING_LEFT)


async def read_counter(core: CoreCalls, record: VaultRecord) -> CounterRead:
    """Ask the core how the counter of a vault stands; of a locked vault it is known."""
    if record.state is VaultState.LOCKED:
        return _NOTHING_LEFT
    return await core.ask(ReadCounter(params=record.params), CounterRead)


def describe(snapshot: VaultSnapshot, counter: CounterRead) -> VaultInfo:
    """Put record and counter together."""
    record = snapshot.record
    return VaultInfo(
        handle=record.handle.hex(),
        name=record.name,
        state="active" if record.state is VaultState.ACTIVE else "locked",
        owner_uid=record.owner_uid,
        snapshot_version=record.snapshot_version,
        max_attempts=VaultParams.parse(record.params).max_attempts,
        attempts_remaining=counter.attempts_remaining,
        retry_after_ms=counter.retry_after_ms,
        suspended=counter.suspended,
        knowledge_factor=knowledge_factor_of(record),
        application_keys=tuple(key.alias for key in snapshot.keys),
        created_at_ms=record.created_at_ms,
        updated_at_ms=record.updated_at_ms,
    )


def knowledge_factor_of(record: VaultRecord) -> KnowledgeFactor | None:
    """Which dialog to show and how to stretch; None for a locked vault."""
    factor = record.knowledge_factor
    return None if factor is None else KnowledgeFactor.of(factor.kf_type, factor.params)


def knowledge_factor_record(factor: KnowledgeFactor) -> KnowledgeFactorRecord:
    """The checked form of what a client sent.

    Raises:
        FormatError: the cost is out of range.
    """
    return KnowledgeFactorRecord(factor.type, factor.params())


def key_records(keys: Sequence[WrappedApplicationKey]) -> tuple[ApplicationKeyRecord, ...]:
    """What a client sent, as it is stored."""
    return tuple(ApplicationKeyRecord(key.alias, key.wrapped, key.metadata or None) for key in keys)


def wrapped_keys(keys: Sequence[ApplicationKeyRecord]) -> tuple[WrappedApplicationKey, ...]:
    """What is stored, as it is sent."""
    return tuple(
        WrappedApplicationKey(alias=key.alias, wrapped=key.wrapped, metadata=key.metadata or b"")
        for key in keys
    )
