"""Which handler does which operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from hwkm.server.handlers import application_keys, opening, service, vaults
from hwkm.server.handlers.call import Call, Desk
from hwkm.wire import operations
from hwkm.wire.operations import Operation

Handler = Callable[[Desk, Call[Any]], Awaitable[msgspec.Struct]]

HANDLERS: Final[Mapping[Operation, Handler]] = MappingProxyType(
    {
        operations.STATUS: service.status,
        operations.COHORT: service.cohort,
        operations.VAULT_CREATE: vaults.create,
        operations.VAULT_LIST: vaults.list_page,
        operations.VAULT_SHOW: vaults.show,
        operations.VAULT_REPLACE: vaults.replace,
        operations.VAULT_DELETE: vaults.delete,
        operations.VAULT_CHALLENGE: opening.challenge,
        operations.VAULT_OPEN: opening.open_vault,
        operations.VAULT_RESUME: vaults.resume,
        operations.APPLICATION_KEY_LIST: application_keys.list_keys,
        operations.APPLICATION_KEY_PUT: application_keys.put,
        operations.APPLICATION_KEY_DELETE: application_keys.delete,
        operations.AUDIT_HEAD: service.audit_head,
    }
)
