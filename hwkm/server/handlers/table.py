"""Which handler does which operation."""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Mapping
from types import MappingProxyType
from typing import Any, Final

import msgspec

from hwkm.server.handlers import application_keys, domain, keys, opening, service, vaults
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
        operations.DOMAIN_STATUS: domain.status,
        operations.DOMAIN_ROTATE: domain.rotate,
        operations.DOMAIN_EXCHANGE: domain.exchange,
        operations.DOMAIN_EXPORT: domain.export,
        operations.DOMAIN_IMPORT: domain.import_page,
        operations.KEY_CREATE: keys.create,
        operations.KEY_LIST: keys.list_keys,
        operations.KEY_SHOW: keys.show,
        operations.KEY_UPDATE: keys.update,
        operations.KEY_ENABLE: keys.enable,
        operations.KEY_DISABLE: keys.disable,
        operations.KEY_SCHEDULE_DELETION: keys.schedule_deletion,
        operations.KEY_CANCEL_DELETION: keys.cancel_deletion,
        operations.KEY_ROTATE: keys.rotate,
        operations.KEY_SET_ROTATION: keys.set_rotation,
        operations.KEY_ROTATIONS: keys.rotations,
        operations.KEY_TAG: keys.tag,
        operations.KEY_UNTAG: keys.untag,
        operations.KEY_RECORDED: keys.recorded,
        operations.KEY_PUBLIC_KEY: keys.public_key,
        operations.KEY_CREATE_ALIAS: keys.create_alias,
        operations.KEY_UPDATE_ALIAS: keys.update_alias,
        operations.KEY_DELETE_ALIAS: keys.delete_alias,
        operations.KEY_LIST_ALIASES: keys.list_aliases,
        operations.KEY_GENERATE_DATA_KEY: keys.generate_data_keys,
        operations.KEY_GENERATE_WRAPPED_DATA_KEY: keys.generate_wrapped_data_keys,
        operations.KEY_GENERATE_DATA_KEY_PAIR: keys.generate_data_key_pair,
        operations.KEY_GENERATE_WRAPPED_DATA_KEY_PAIR: keys.generate_wrapped_data_key_pair,
        operations.KEY_ENCRYPT: keys.encrypt,
        operations.KEY_DECRYPT: keys.decrypt,
        operations.KEY_RE_ENCRYPT: keys.re_encrypt,
        operations.KEY_RANDOM: keys.random,
        operations.KEY_GENERATE_MAC: keys.generate_macs,
        operations.KEY_VERIFY_MAC: keys.verify_macs,
        operations.KEY_SIGN: keys.sign,
        operations.KEY_VERIFY: keys.verify,
        operations.KEY_DERIVE_SHARED_SECRET: keys.derive_shared_secret,
        operations.AUDIT_CHECKPOINT: service.audit_checkpoint,
    }
)
