"""Aliases of keys."""

from __future__ import annotations

import re
from typing import Final

from hwkm.server.aws import key_facts, markers
from hwkm.server.aws import requests as asked
from hwkm.server.aws import responses as answered
from hwkm.server.aws.errors import AwsError, Validation
from hwkm.server.keys.principal import KeyCall
from hwkm.server.keys.service import KeyService
from hwkm.wire.key_api import ALIAS_PATTERN, ALIAS_PREFIX

PAGE: Final = 50
RESERVED_PREFIX: Final = "alias/aws/"

_ALIAS: Final = re.compile(ALIAS_PATTERN)


async def create(service: KeyService, call: KeyCall, request: asked.PutAlias) -> None:
    """CreateAlias."""
    await service.create_alias(call, _checked(request.alias_name), request.target_key_id)


async def update(service: KeyService, call: KeyCall, request: asked.PutAlias) -> None:
    """UpdateAlias."""
    await service.update_alias(call, _checked(request.alias_name), request.target_key_id)


async def delete(service: KeyService, call: KeyCall, request: asked.DeleteAlias) -> None:
    """DeleteAlias."""
    await service.delete_alias(call, _checked(request.alias_name))


async def list_aliases(service: KeyService, call: KeyCall, request: asked.ListAliases) -> answered.Aliases:
    """ListAliases: of the caller's account, or of one key."""
    after = markers.place("ListAliases", request.marker, str)
    account = None if request.key_id else call.principal.account
    page = await service.list_aliases(call, account, request.key_id, after, request.limit or PAGE)
    return answered.Aliases(
        aliases=tuple(
            answered.AliasListed(
                alias_name=alias.alias,
                alias_arn=alias.arn,
                target_key_id=alias.key_id,
                creation_date=key_facts.seconds(alias.created_at_ms),
                last_updated_date=key_facts.seconds(alias.updated_at_ms),
            )
            for alias in page.aliases
        ),
        next_marker=markers.marker("ListAliases", page.next),
        truncated=page.next is not None,
    )


def _checked(name: str) -> str:
    if not name.startswith(ALIAS_PREFIX):
        raise Validation(
            'Alias must start with the prefix "alias/". Please see'
            " https://docs.aws.amazon.com/kms/latest/developerguide/kms-alias.html"
        )
    if name.startswith(RESERVED_PREFIX) or not _ALIAS.fullmatch(name):
        raise AwsError("InvalidAliasNameException", f"{name} is not a valid alias name.")
    return name
