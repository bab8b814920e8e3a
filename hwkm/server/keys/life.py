"""The life of keys: made, shown, changed, rotated, deleted."""

from __future__ import annotations

import re
import uuid
from collections.abc import Mapping, Sequence
from typing import Any, Final

from hwkm.errors import (
    FormatError,
    KeyStateInvalid,
    KeyUsageInvalid,
    LimitExceeded,
    MarkerInvalid,
    TagInvalid,
)
from hwkm.formats.key_kind import KeyKind
from hwkm.server.keys.aliases import check_alias
from hwkm.server.keys.book import KeyEntry
from hwkm.server.keys.desk import DAY_MS, Part, require_state, stop_dry_run
from hwkm.server.keys.names import key_id_text
from hwkm.server.keys.principal import KeyCall
from hwkm.store.key_record import KeyRecord, KeySnapshot, KeyState, VersionCause, VersionRecord
from hwkm.store.keys import KeyStore
from hwkm.wire import key_api as api
from hwkm.wire.key_messages import CreateKey, KeyCreated

LIST_BLOCK: Final = 100
LIST_BLOCKS_MAX: Final = 100
"""What one listing looks through for keys that the caller may list; then it ends early and names its next."""
RESERVED_TAG: Final = "aws:"
ORPHANS_SHOWN: Final = 100

_KEY_ID: Final = re.compile(api.KEY_ID_PATTERN)
_LIVING: Final = (KeyState.ENABLED, KeyState.DISABLED)


class Life(Part):
    """The life of keys; see :class:`~hwkm.server.keys.service.KeyService`."""

    # --- making ------------------------------------------------------------------------------

    async def create(self, call: KeyCall, new: api.CreateKey) -> api.KeyInfo:
        account = new.account or call.principal.account
        # A key without an alias is none of those that patterns name, but for the pattern of all.
        call.principal.check("key.create", account, (new.alias or "",))
        _check_tags(new.tags, {})
        if new.rotation_period_days is not None:
            _require_rotates(new.kind, "a new key")
        if new.alias is not None:
            check_alias(new.alias)
        stop_dry_run(call)
        now = self._desk.now_ms()
        key_id = uuid.uuid4().bytes
        async with self._desk.making:
            version = await self._make_version(key_id, 1, new.kind, VersionCause.CREATED)
            record = KeyRecord(
                key_id=key_id,
                account=account,
                kind=new.kind,
                state=KeyState.ENABLED,
                description=new.description,
                version=1,
                rotation_period_days=new.rotation_period_days,
                next_rotation_at_ms=_after(now, new.rotation_period_days),
                created_at_ms=now,
            )
            aliases = () if new.alias is None else (new.alias,)
            snapshot = KeySnapshot(record, version, aliases, new.tags)
            await self._desk.book.create(snapshot, keys_max=self._desk.limits.keys)
        entry = KeyEntry(snapshot, self._desk.names.key_arn(account, key_id), has_recorded=False)
        call.note(entry.arn, 1)
        return self._key_info(entry)

    async def rotate(self, call: KeyCall, key: str) -> api.KeyInfo:
        entry = await self._find(call, "key.rotate", key)
        _require_rotates(entry.record.kind, entry.arn)
        require_state(entry, KeyState.ENABLED)
        stop_dry_run(call)
        return self._key_info(await self.rotate_now(entry.record.key_id, VersionCause.ON_DEMAND))

    async def rotate_now(self, key_id: bytes, cause: VersionCause) -> KeyEntry:
        """Give a key its next version. Made first, stored next, made current with that.

        Raises:
            KeyStateInvalid, KeyDisabled, KeyNotFound, LimitExceeded, Unavailable: nothing was changed.
        """
        async with self._desk.making:
            entry = await self._current(key_id)
            require_state(entry, KeyState.ENABLED)
            record, now = entry.record, self._desk.now_ms()
            if record.version >= self._desk.limits.versions_per_key:
                raise LimitExceeded(f"{entry.arn} has {record.version} versions, no more are made")
            new = await self._make_version(key_id, record.version + 1, record.kind, cause)
            due = _after(now, record.rotation_period_days) if cause is VersionCause.AUTOMATIC else None
            await self._desk.book.change(key_id, KeyStore.add_version, new, due)
        return await self._current(key_id)

    async def _make_version(
        self, key_id: bytes, version: int, kind: KeyKind, cause: VersionCause
    ) -> VersionRecord:
        made = await self._desk.core.ask(CreateKey(key_id=key_id, version=version, kind=kind), KeyCreated)
        return VersionRecord(
            key_id, version, made.wrapped, made.public_key, made.generation, self._desk.now_ms(), cause
        )

    # --- looking -----------------------------------------------------------------------------

    async def list_keys(
        self, call: KeyCall, account: str | None, after: str | None, limit: int
    ) -> api.KeyList:
        principal = call.principal
        account = account or principal.account
        principal.check("key.list", account)
        granting = [
            grant for grant in principal.grants["key.list"] if grant.reaches(account, principal.account)
        ]
        listed: list[api.KeyListed] = []
        last, block = _marker(after), max(limit, LIST_BLOCK)
        for _ in range(LIST_BLOCKS_MAX):
            found = await self._desk.book.read(KeyStore.list, account, last, block)
            for record, aliases in found:
                last = record.key_id
                if any(grant.matches((key_id_text(last), *aliases)) for grant in granting):
                    listed.append(self._listed(record, aliases))
                if len(listed) == limit:
                    return api.KeyList(keys=tuple(listed), next=key_id_text(last))
            if len(found) < block:
                return api.KeyList(keys=tuple(listed), next=None)
        return api.KeyList(keys=tuple(listed), next=key_id_text(last))

    def _listed(self, record: KeyRecord, aliases: tuple[str, ...]) -> api.KeyListed:
        return api.KeyListed(
            key_id=key_id_text(record.key_id),
            arn=self._desk.names.key_arn(record.account, record.key_id),
            kind=record.kind,
            state=record.state.value,
            aliases=aliases,
        )

    async def show(self, call: KeyCall, key: str) -> api.KeyInfo:
        return self._key_info(await self._find(call, "key.show", key))

    async def rotations(self, call: KeyCall, key: str, after: int, limit: int) -> api.RotationList:
        entry = await self._find(call, "key.rotations", key)
        versions = await self._desk.book.read(KeyStore.versions, entry.record, after, limit)
        return api.RotationList(
            key=entry.arn,
            items=tuple(
                api.Rotation(version=item.version, created_at_ms=item.created_at_ms, cause=item.cause.value)
                for item in versions
            ),
            next=versions[-1].version if len(versions) == limit else None,
        )

    async def recorded(self, call: KeyCall, key: str, after: int, limit: int) -> api.RecordedDataKeys:
        return await self._recorded(await self._find(call, "key.recorded", key), after, limit)

    async def public_key(self, call: KeyCall, key: str) -> api.PublicKey:
        entry = await self._find(call, "key.public_key", key)
        if entry.record.kind.is_secret_key:
            raise KeyUsageInvalid(f"{entry.arn} is a secret key: it has no public half")
        require_state(entry, KeyState.ENABLED)
        stop_dry_run(call)
        return api.PublicKey(
            key=entry.arn,
            kind=entry.record.kind,
            public_key=entry.snapshot.current.public_key,
            signing_algorithms=tuple(sorted(entry.record.kind.signing_algorithms)),
        )

    # --- changing ----------------------------------------------------------------------------

    async def update(self, call: KeyCall, key: str, description: str) -> api.KeyInfo:
        return await self._change(call, "key.update", key, _LIVING, description=description)

    async def enable(self, call: KeyCall, key: str) -> api.KeyInfo:
        return await self._change(call, "key.enable", key, _LIVING, state=KeyState.ENABLED.value)

    async def disable(self, call: KeyCall, key: str) -> api.KeyInfo:
        return await self._change(call, "key.disable", key, _LIVING, state=KeyState.DISABLED.value)

    async def set_rotation(self, call: KeyCall, key: str, period_days: int | None) -> api.KeyInfo:
        if period_days is not None and not api.PERIOD_DAYS_MIN <= period_days <= api.PERIOD_DAYS_MAX:
            raise FormatError(
                f"a rotation period is {api.PERIOD_DAYS_MIN} to {api.PERIOD_DAYS_MAX} days, not {period_days}"
            )
        entry = await self._find(call, "key.set_rotation", key)
        _require_rotates(entry.record.kind, entry.arn)
        due = _after(self._desk.now_ms(), period_days)
        changes = {"rotation_period_days": period_days, "next_rotation_at_ms": due}
        return await self._apply(call, entry, (KeyState.ENABLED,), changes)

    async def schedule_deletion(self, call: KeyCall, key: str, days: int) -> api.DeletionScheduled:
        if not api.PENDING_DAYS_MIN <= days <= api.PENDING_DAYS_MAX:
            raise FormatError(
                f"a key waits {api.PENDING_DAYS_MIN} to {api.PENDING_DAYS_MAX} days for its deletion, not {days}"
            )
        state, due = KeyState.PENDING_DELETION.value, _after(self._desk.now_ms(), days)
        info = await self._change(
            call, "key.schedule_deletion", key, _LIVING, state=state, deletion_at_ms=due
        )
        entry = await self._current(bytes.fromhex(info.key_id.replace("-", "")))
        return api.DeletionScheduled(key=info, orphans=await self._recorded(entry, 0, ORPHANS_SHOWN))

    async def cancel_deletion(self, call: KeyCall, key: str) -> api.KeyInfo:
        entry = await self._find(call, "key.cancel_deletion", key)
        if entry.record.state in _LIVING:
            raise KeyStateInvalid(f"{entry.arn} is not pending deletion.")
        changes = {"state": KeyState.DISABLED.value, "deletion_at_ms": None}
        return await self._apply(call, entry, (KeyState.PENDING_DELETION,), changes)

    async def tag(self, call: KeyCall, key: str, tags: Mapping[str, str]) -> api.KeyInfo:
        entry = await self._find(call, "key.tag", key)
        require_state(entry, *_LIVING)
        _check_tags(tags, entry.snapshot.tags)
        stop_dry_run(call)
        key_id = entry.record.key_id
        await self._desk.book.change(key_id, KeyStore.put_tags, key_id, dict(tags), api.TAGS_MAX)
        return self._key_info(await self._current(key_id))

    async def untag(self, call: KeyCall, key: str, names: Sequence[str]) -> api.KeyInfo:
        entry = await self._find(call, "key.untag", key)
        require_state(entry, *_LIVING)
        _check_names_of_tags(names)
        stop_dry_run(call)
        await self._desk.book.change(
            entry.record.key_id, KeyStore.remove_tags, entry.record.key_id, tuple(names)
        )
        return self._key_info(await self._current(entry.record.key_id))

    # --- inside ------------------------------------------------------------------------------

    async def _change(
        self, call: KeyCall, operation: str, key: str, states: Sequence[KeyState], **changes: Any
    ) -> api.KeyInfo:
        return await self._apply(call, await self._find(call, operation, key), states, changes)

    async def _apply(
        self, call: KeyCall, entry: KeyEntry, states: Sequence[KeyState], changes: Mapping[str, Any]
    ) -> api.KeyInfo:
        require_state(entry, *states)
        stop_dry_run(call)
        key_id = entry.record.key_id
        await self._desk.book.change(key_id, _change_columns, key_id, tuple(states), changes)
        return self._key_info(await self._current(key_id))

    async def _current(self, key_id: bytes) -> KeyEntry:
        return self._desk.book.known(key_id) or await self._desk.book.load(key_id)

    async def _recorded(self, entry: KeyEntry, after: int, limit: int) -> api.RecordedDataKeys:
        key_id = entry.record.key_id
        total = await self._desk.book.read(KeyStore.count_recorded, key_id)
        items = await self._desk.book.read(KeyStore.recorded, key_id, after, limit)
        return api.RecordedDataKeys(
            key=entry.arn,
            total=total,
            items=tuple(
                api.RecordedDataKey(
                    label=item.label,
                    digest=item.digest,
                    version=item.version,
                    created_at_ms=item.created_at_ms,
                )
                for item in items
            ),
            next=items[-1].number if len(items) == limit else None,
        )

    def _key_info(self, entry: KeyEntry) -> api.KeyInfo:
        record, snapshot = entry.record, entry.snapshot
        use = self._desk.book.last_use(entry)
        return api.KeyInfo(
            key_id=entry.names[0],
            arn=entry.arn,
            account=record.account,
            kind=record.kind,
            state=record.state.value,
            description=record.description,
            aliases=snapshot.aliases,
            tags=dict(snapshot.tags),
            version=record.version,
            created_at_ms=record.created_at_ms,
            deletion_at_ms=record.deletion_at_ms,
            rotation_period_days=record.rotation_period_days,
            next_rotation_at_ms=record.next_rotation_at_ms,
            rotated_at_ms=snapshot.current.created_at_ms if record.version > 1 else None,
            last_use=None if use is None else api.LastUse(operation=use[0], at_ms=use[1]),
        )


def _change_columns(
    store: KeyStore, key_id: bytes, states: Sequence[KeyState], changes: Mapping[str, Any]
) -> None:
    store.change(key_id, *states, **changes)


def _after(now_ms: int, days: int | None) -> int | None:
    return None if days is None else now_ms + days * DAY_MS


def _require_rotates(kind: KeyKind, name: str) -> None:
    if kind is not KeyKind.SYMMETRIC:
        raise KeyUsageInvalid(f"{name} is of kind {kind}: only symmetric keys are rotated")


def _check_tags(tags: Mapping[str, str], there: Mapping[str, str]) -> None:
    _check_names_of_tags(tags)
    if len(there.keys() | tags.keys()) > api.TAGS_MAX:
        raise TagInvalid(f"a key has at most {api.TAGS_MAX} tags")
    if not all(len(value) <= 256 for value in tags.values()):
        raise TagInvalid("the value of a tag has at most 256 characters")


def _check_names_of_tags(names: Sequence[str] | Mapping[str, str]) -> None:
    for name in names:
        if not 1 <= len(name) <= 128 or name.lower().startswith(RESERVED_TAG):
            raise TagInvalid(
                f"the name of a tag has 1 to 128 characters and does not begin with {RESERVED_TAG}"
            )


def _marker(after: str | None) -> bytes:
    if after is None:
        return b""
    if not _KEY_ID.match(after):
        raise MarkerInvalid("after: a key id that a list of keys has named as its next")
    return bytes.fromhex(after.replace("-", ""))
