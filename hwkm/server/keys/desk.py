"""What every part of the key service works with, and the checks that all of them make."""

from __future__ import annotations

import asyncio
from collections.abc import Callable, Sequence
from dataclasses import dataclass, field
from typing import Final

from hwkm.errors import (
    AccessDenied,
    DryRunSucceeded,
    KeyDisabled,
    KeyNotFound,
    KeyStateInvalid,
    KeyUsageInvalid,
)
from hwkm.formats.key_kind import KeyUsage
from hwkm.server.core_calls import CoreCalls
from hwkm.server.keys.book import KeyBook, KeyEntry
from hwkm.server.keys.names import KeyIdentifier, KeyNames
from hwkm.server.keys.principal import Context, KeyCall, Principal
from hwkm.store.key_record import KeyState
from hwkm.wire.key_messages import KeyRef

DAY_MS: Final = 86_400_000


@dataclass(frozen=True, slots=True)
class KeyLimits:
    """How many there may be: keys in all, versions of a key, data keys recorded for a key."""

    keys: int
    versions_per_key: int
    recorded_per_key: int


@dataclass(frozen=True, slots=True)
class KeyDesk:
    """Everything that the parts of the key service share."""

    core: CoreCalls
    book: KeyBook
    names: KeyNames
    limits: KeyLimits
    now_ms: Callable[[], int]
    making: asyncio.Lock = field(default_factory=asyncio.Lock)
    """Held from the making of a version until it is stored, and while a domain key is retired: no
    version under an old domain key is on its way then."""


class Part:
    """A part of the key service."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    async def _find(
        self, call: KeyCall, operation: str, key: str, contexts: Sequence[Context] = ()
    ) -> KeyEntry:
        """Return the key that an identifier names, if the policy lets the caller do this with it.

        Raises:
            InvalidArn, KeyNotFound, AccessDenied.
        """
        named = self._desk.names.parse(key)
        account = named.account or call.principal.account
        try:
            entry = await self._look_up(call.principal, operation, named, account)
        except (AccessDenied, KeyNotFound):
            _note(call, self._arn_of(named, account), 0, contexts)
            raise
        _note(call, entry.arn, entry.record.version, contexts)
        call.principal.check(operation, entry.record.account, entry.names, contexts)
        return entry

    async def _look_up(
        self, principal: Principal, operation: str, named: KeyIdentifier, account: str
    ) -> KeyEntry:
        if not principal.reaches(operation, account):
            raise AccessDenied(
                f"the policy does not allow {principal.name} to do {operation} in this account"
            )
        key_id = named.key_id
        if key_id is None:
            key_id = await self._key_id_of(account, named.alias)
        entry = self._desk.book.known(key_id)
        if entry is None:
            entry = await self._load(key_id, account)
        at_home = entry.record.account == account
        # Only who may do this in the account of a key learns that its bare id is one.
        if not at_home and (named.account or not principal.reaches(operation, entry.record.account)):
            raise self._not_found(account, key_id)
        return entry

    def _arn_of(self, named: KeyIdentifier, account: str) -> str:
        """What was asked for, whether it is there or not."""
        if named.key_id is None:
            return self._desk.names.alias_arn(account, named.alias)
        return self._desk.names.key_arn(account, named.key_id)

    async def _key_id_of(self, account: str, alias: str) -> bytes:
        key_id = self._desk.book.known_alias(account, alias)
        if key_id is not None:
            return key_id
        try:
            return await self._desk.book.load_alias(account, alias)
        except KeyNotFound:
            raise KeyNotFound(f"Alias {self._desk.names.alias_arn(account, alias)} is not found.") from None

    async def _load(self, key_id: bytes, account: str) -> KeyEntry:
        try:
            return await self._desk.book.load(key_id)
        except KeyNotFound:
            raise self._not_found(account, key_id) from None

    def _not_found(self, account: str, key_id: bytes) -> KeyNotFound:
        return KeyNotFound(f"Key '{self._desk.names.key_arn(account, key_id)}' does not exist")


def _note(call: KeyCall, arn: str, version: int, contexts: Sequence[Context]) -> None:
    for context in contexts or (None,):
        call.note(arn, version, context)


def require_usable(entry: KeyEntry, usage: KeyUsage, operation: str) -> KeyRef:
    """Return the current version of a key, if it is made for this and enabled.

    Raises:
        KeyUsageInvalid, KeyDisabled, KeyStateInvalid, KeyNotFound.
    """
    if entry.record.kind.usage is not usage:
        raise KeyUsageInvalid(
            f"{entry.arn} key usage is {entry.record.kind.usage} which is not valid for {operation}."
        )
    require_state(entry, KeyState.ENABLED)
    assert entry.ref is not None, "a key that is enabled has a wrapped version"
    return entry.ref


def require_state(entry: KeyEntry, *states: KeyState) -> None:
    """Refuse a key in any other state.

    Raises:
        KeyDisabled, KeyStateInvalid, KeyNotFound.
    """
    state = entry.record.state
    if state in states:
        return
    if state is KeyState.DELETED:
        raise KeyNotFound(f"Key '{entry.arn}' does not exist")
    if state is KeyState.DISABLED:
        raise KeyDisabled(f"{entry.arn} is disabled.")
    if state is KeyState.PENDING_DELETION:
        raise KeyStateInvalid(f"{entry.arn} is pending deletion.")
    raise KeyStateInvalid(f"{entry.arn} is {state}.")


def stop_dry_run(call: KeyCall) -> None:
    """End a dry run: everything that is checked before the core is asked was right.

    Raises:
        DryRunSucceeded: it is one.
    """
    if call.dry_run:
        raise DryRunSucceeded("The request would have succeeded, but the DryRun option is set.")
