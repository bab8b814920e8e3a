"""Keys on their way to another module: wrapped to it in the hardware, with their life and names beside them.

Pages hold few versions, since a page has to fit into a request. The newest version of a key comes first,
so that a key is whole from its first page on, but for older versions that follow.
"""

from __future__ import annotations

import hashlib
from typing import Final

from hwkm.errors import FormatError, KeyStateInvalid, LimitExceeded
from hwkm.formats.domain_token import ExchangeStatement
from hwkm.server.keys.book import key_ref
from hwkm.server.keys.desk import KeyDesk
from hwkm.store.key_record import KeyRecord, KeySnapshot, KeyState, VersionCause, VersionRecord
from hwkm.store.keys import KeyStore
from hwkm.wire import key_api as api
from hwkm.wire import key_messages as core
from hwkm.wire.key_messages import KeyRef

PAGE: Final = 8

_FIRST: Final = (b"", 0)
_LIVING: Final[dict[KeyState, api.LivingState]] = {
    KeyState.ENABLED: "enabled",
    KeyState.DISABLED: "disabled",
    KeyState.PENDING_DELETION: "pending_deletion",
}


class KeyMoving:
    """Exports to and imports from other modules."""

    def __init__(self, desk: KeyDesk) -> None:
        self._desk = desk

    async def exchange(self) -> api.ExchangeInfo:
        """What two operators tell each other.

        Raises:
            TokenFull, DomainNotProvisioned, Unavailable.
        """
        read = await self._desk.core.ask(core.ReadExchange(), core.ExchangeRead)
        return api.ExchangeInfo(
            statement=read.statement,
            fingerprint=ExchangeStatement.parse(read.statement).fingerprint(),
            sender=hashlib.sha256(self._desk.core.ready.audit_public_key).digest(),
        )

    async def export(self, wanted: api.ExportKeys) -> api.ExportedKeys:
        """Wrap the next page of keys to another module.

        Raises:
            ExchangeRefused, ExchangeUnsupported, WrappedKeyRefused, Unavailable.
        """
        after = _FIRST if wanted.after is None else (wanted.after.key_id, wanted.after.version)
        found = await self._desk.book.read(KeyStore.to_export, after, PAGE)
        if not found:
            return api.ExportedKeys(page=None)
        request = core.ExportKeys(
            statement=wanted.statement,
            fingerprint=wanted.fingerprint,
            keys=tuple(key_ref(kind, version) for version, kind in found),
        )
        exported = await self._desk.core.ask(request, core.KeysExported)
        newest_of: dict[bytes, int] = {}
        for version, _ in found:
            newest_of.setdefault(version.key_id, version.version)
        last = found[-1][0]
        page = api.MovedKeys(
            keys=tuple([await self._moved_key(key_id, newest) for key_id, newest in newest_of.items()]),
            versions=tuple(_moved_version(version) for version, _ in found),
            domain_token=exported.domain_token,
            next=api.ExportPlace(key_id=last.key_id, version=last.version) if len(found) == PAGE else None,
        )
        return api.ExportedKeys(page=page)

    async def import_page(self, wanted: api.ImportKeys) -> api.ImportedKeys:
        """Take a page of keys. What is there already stays as it is, so it may be repeated.

        Raises:
            ExchangeRefused, ExchangeUnsupported, UnsupportedKind, Unavailable.
            FormatError: the page does not describe the keys of its domain token.
            KeyStateInvalid: a key of this id is there, of another account or kind.
        """
        page = wanted.page
        keys = {key.key_id: key for key in page.keys}
        versions = {(version.key_id, version.version): version for version in page.versions}
        new_keys = new_versions = 0
        left_out: list[str] = []
        async with self._desk.making:
            request = core.ImportKeys(domain_token=page.domain_token, sender=wanted.sender)
            taken = await self._desk.core.ask(request, core.KeysImported)
            if {(ref.key_id, ref.version) for ref in taken.keys} != versions.keys():
                raise FormatError("the page does not describe the keys of its domain token")
            for ref in taken.keys:
                key = keys.get(ref.key_id)
                if key is None or key.kind is not ref.kind:
                    raise FormatError("the page does not describe the keys of its domain token")
                version = _version(ref, versions[ref.key_id, ref.version], taken.generation)
                is_new_key, is_new_version, refused = await self._take(key, version)
                new_keys += is_new_key
                new_versions += is_new_version
                left_out += refused
        await self._desk.book.recount()
        return api.ImportedKeys(keys=new_keys, versions=new_versions, aliases_left_out=tuple(left_out))

    # --- inside ------------------------------------------------------------------------------

    async def _moved_key(self, key_id: bytes, version: int) -> api.MovedKey:
        entry = self._desk.book.known(key_id) or await self._desk.book.load(key_id)
        record = entry.record
        state = _LIVING.get(record.state)
        if state is None:
            raise KeyStateInvalid("a key was deleted meanwhile; once more")
        return api.MovedKey(
            key_id=key_id,
            account=record.account,
            kind=record.kind,
            state=state,
            description=record.description,
            version=version,
            rotation_period_days=record.rotation_period_days,
            next_rotation_at_ms=record.next_rotation_at_ms,
            created_at_ms=record.created_at_ms,
            deletion_at_ms=record.deletion_at_ms,
            aliases=entry.snapshot.aliases,
            tags=dict(entry.snapshot.tags),
        )

    async def _take(self, key: api.MovedKey, version: VersionRecord) -> tuple[bool, bool, list[str]]:
        """Store one version; whether its key was new, whether it was, and the aliases that were not free."""
        self._desk.book.forget_wrapped()
        return await self._desk.book.read(_take, key, version, self._desk.limits.keys)


def _take(
    store: KeyStore, key: api.MovedKey, version: VersionRecord, keys_max: int
) -> tuple[bool, bool, list[str]]:
    there = store.find(key.key_id)
    if there is not None:
        if (there.account, there.kind) != (key.account, key.kind):
            raise KeyStateInvalid("a key of this id is there already, in another account or of another kind")
        if there.state is KeyState.DELETED:
            raise KeyStateInvalid("a key of this id was deleted here")
        return False, store.add_moved_version(version), []
    if version.version != key.version:
        raise FormatError("the newest version of a key comes first")
    if store.count() >= keys_max:
        raise LimitExceeded(f"there are {keys_max} keys, no more are taken")
    free: list[str] = []
    refused: list[str] = []
    for alias in key.aliases:
        (refused if store.has_alias(key.account, alias) else free).append(alias)
    store.create(KeySnapshot(_record(key), version, tuple(free), key.tags))
    return True, True, refused


def _record(key: api.MovedKey) -> KeyRecord:
    if (key.state == "pending_deletion") != (key.deletion_at_ms is not None) or (
        key.rotation_period_days is None
    ) != (key.next_rotation_at_ms is None):
        raise FormatError("what is said of a key contradicts itself")
    return KeyRecord(
        key_id=key.key_id,
        account=key.account,
        kind=key.kind,
        state=KeyState(key.state),
        description=key.description,
        version=key.version,
        rotation_period_days=key.rotation_period_days,
        next_rotation_at_ms=key.next_rotation_at_ms,
        created_at_ms=key.created_at_ms,
        deletion_at_ms=key.deletion_at_ms,
    )


def _moved_version(version: VersionRecord) -> api.MovedVersion:
    return api.MovedVersion(
        key_id=version.key_id,
        version=version.version,
        public_key=version.public_key,
        created_at_ms=version.created_at_ms,
        cause=version.cause.value,
    )


def _version(ref: KeyRef, moved: api.MovedVersion, generation: int) -> VersionRecord:
    if bool(moved.public_key) == ref.kind.is_secret_key:
        raise FormatError("a key pair comes with its public half, a secret key has none")
    return VersionRecord(
        key_id=ref.key_id,
        version=ref.version,
        wrapped=ref.wrapped,
        public_key=moved.public_key,
        generation=generation,
        created_at_ms=moved.created_at_ms,
        cause=VersionCause(moved.cause),
    )
