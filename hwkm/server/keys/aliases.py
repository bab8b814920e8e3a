"""Aliases: names of keys that can be given to other keys."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Final

from hwkm.errors import AliasExists, FormatError, KeyUsageInvalid, LimitExceeded, MarkerInvalid
from hwkm.server.keys.book import ALIASES_PER_KEY
from hwkm.server.keys.desk import Part, require_state, stop_dry_run
from hwkm.server.keys.names import is_alias, key_id_text
from hwkm.server.keys.principal import KeyCall
from hwkm.store.key_record import AliasRecord, KeyState
from hwkm.store.keys import KeyStore
from hwkm.wire import key_api as api

_LIVING: Final = (KeyState.ENABLED, KeyState.DISABLED)


class Aliases(Part):
    """Aliases; see :class:`~hwkm.server.keys.service.KeyService`."""

    async def create_alias(self, call: KeyCall, alias: str, key: str) -> api.AliasInfo:
        check_alias(alias)
        entry = await self._find(call, "key.create_alias", key)
        account = entry.record.account
        call.principal.check("key.create_alias", account, (alias,))
        require_state(entry, *_LIVING)
        if len(entry.snapshot.aliases) >= ALIASES_PER_KEY:
            raise LimitExceeded(f"a key has at most {ALIASES_PER_KEY} aliases")
        stop_dry_run(call)
        now = self._desk.now_ms()
        key_id = entry.record.key_id
        try:
            await self._desk.book.change_alias(
                account, alias, key_id, KeyStore.create_alias, entry.record, alias, now, ALIASES_PER_KEY
            )
        except AliasExists:
            arn = self._desk.names.alias_arn(account, alias)
            raise AliasExists(f"An alias with the name {arn} already exists") from None
        return self._alias_info(AliasRecord(account, alias, key_id, now, now))

    async def update_alias(self, call: KeyCall, alias: str, key: str) -> api.AliasInfo:
        check_alias(alias)
        entry = await self._find(call, "key.update_alias", key)
        account = entry.record.account
        before = await self._find(call, "key.update_alias", self._desk.names.alias_arn(account, alias))
        call.principal.check("key.update_alias", account, (alias,))
        require_state(entry, *_LIVING)
        if before.record.kind.usage is not entry.record.kind.usage:
            raise KeyUsageInvalid(f"{alias} names a key for {before.record.kind.usage}: it stays for that")
        if before is not entry and len(entry.snapshot.aliases) >= ALIASES_PER_KEY:
            raise LimitExceeded(f"a key has at most {ALIASES_PER_KEY} aliases")
        stop_dry_run(call)
        now = self._desk.now_ms()
        source, key_id = before.record.key_id, entry.record.key_id
        move = (source, entry.record, alias, now, ALIASES_PER_KEY)
        self._desk.book.forget(source)
        await self._desk.book.change_alias(account, alias, key_id, KeyStore.move_alias, *move)
        return self._alias_info(await self._desk.book.read(KeyStore.alias, account, alias))

    async def delete_alias(self, call: KeyCall, alias: str) -> None:
        named = self._desk.names.parse(alias)
        if named.key_id is not None:
            raise FormatError("this names a key, not an alias")
        entry = await self._find(call, "key.delete_alias", alias)
        account = entry.record.account
        call.principal.check("key.delete_alias", account, (named.alias,))
        stop_dry_run(call)
        await self._desk.book.change_alias(
            account, named.alias, entry.record.key_id, KeyStore.delete_alias, entry.record, named.alias
        )

    async def list_aliases(
        self, call: KeyCall, account: str | None, key: str | None, after: str | None, limit: int
    ) -> api.AliasList:
        if after is not None and not is_alias(after):
            raise MarkerInvalid("after: an alias that a list of aliases has named as its next")
        if key is None:
            return await self._list_of_account(call, account or call.principal.account, after or "", limit)
        entry = await self._find(call, "key.list_aliases", key)
        found = await self._desk.book.read(KeyStore.aliases_of, entry.record.key_id)
        rest = [alias for alias in found if alias.alias > (after or "")]
        return self._page(rest[:limit], full=len(rest) > limit)

    async def _list_of_account(self, call: KeyCall, account: str, after: str, limit: int) -> api.AliasList:
        principal = call.principal
        principal.check("key.list_aliases", account)
        found = await self._desk.book.read(KeyStore.aliases, account, after, limit)
        granting = [
            grant
            for grant in principal.grants["key.list_aliases"]
            if grant.reaches(account, principal.account)
        ]
        shown = [
            alias
            for alias in found
            if any(grant.matches((alias.alias, key_id_text(alias.key_id))) for grant in granting)
        ]
        page = self._page(shown, full=False)
        return api.AliasList(aliases=page.aliases, next=found[-1].alias if len(found) == limit else None)

    def _page(self, aliases: Sequence[AliasRecord], *, full: bool) -> api.AliasList:
        infos = tuple(map(self._alias_info, aliases))
        return api.AliasList(aliases=infos, next=infos[-1].alias if full else None)

    def _alias_info(self, alias: AliasRecord) -> api.AliasInfo:
        return api.AliasInfo(
            alias=alias.alias,
            arn=self._desk.names.alias_arn(alias.account, alias.alias),
            key_id=key_id_text(alias.key_id),
            created_at_ms=alias.created_at_ms,
            updated_at_ms=alias.updated_at_ms,
        )


def check_alias(alias: str) -> None:
    """Refuse what is no alias.

    Raises:
        FormatError: it is not ``alias/NAME``.
    """
    if not is_alias(alias):
        raise FormatError("an alias is alias/NAME, NAME of 1 to 250 letters, digits, / _ and -")
