"""The table of operations: name, method, path, types. Routes, client and OpenAPI come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from hwkm.wire import api, key_api


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``name`` is also the word in policy files and the audit log."""

    name: str
    method: str
    path: str
    summary: str
    request: type[msgspec.Struct]
    response: type[msgspec.Struct]
    query: tuple[str, ...] = ()


STATUS: Final = Operation("status", "GET", "/v1/status", "How the daemon is.", api.Nothing, api.Status)
COHORT: Final = Operation(
    "cohort", "GET", "/v1/cohort", "The key that vaults are made for.", api.Nothing, api.CohortInfo
)
VAULT_CREATE: Final = Operation(
    "vault.create", "POST", "/v1/vaults", "Store a new sealed vault.", api.CreateVault, api.VaultInfo
)
VAULT_LIST: Final = Operation(
    "vault.list",
    "GET",
    "/v1/vaults",
    "List vaults, a page at a time.",
    api.Nothing,
    api.VaultList,
    query=("name", "after", "limit"),
)
VAULT_SHOW: Final = Operation(
    "vault.show", "GET", "/v1/vaults/{handle}", "Show a vault.", api.Nothing, api.VaultInfo
)
VAULT_REPLACE: Final = Operation(
    "vault.replace",
    "PUT",
    "/v1/vaults/{handle}",
    "Store a new snapshot of a vault.",
    api.ReplaceVault,
    api.VaultInfo,
)
VAULT_DELETE: Final = Operation(
    "vault.delete", "DELETE", "/v1/vaults/{handle}", "Delete a vault.", api.Nothing, api.Nothing
)
VAULT_CHALLENGE: Final = Operation(
    "vault.challenge",
    "POST",
    "/v1/vaults/{handle}/challenge",
    "Ask for a challenge to open a vault.",
    api.Nothing,
    api.ChallengeIssued,
)
VAULT_OPEN: Final = Operation(
    "vault.open",
    "POST",
    "/v1/vaults/{handle}/open",
    "Present a claim; costs an attempt.",
    api.OpenVault,
    api.VaultOpened,
)
VAULT_RESUME: Final = Operation(
    "vault.resume",
    "POST",
    "/v1/vaults/{handle}/resume",
    "Let a vault suspended after hardware faults be opened again.",
    api.Nothing,
    api.VaultInfo,
)
APPLICATION_KEY_LIST: Final = Operation(
    "application_key.list",
    "GET",
    "/v1/vaults/{handle}/application-keys",
    "List the wrapped application keys of a vault.",
    api.Nothing,
    api.ApplicationKeyList,
)
APPLICATION_KEY_PUT: Final = Operation(
    "application_key.put",
    "PUT",
    "/v1/vaults/{handle}/application-keys/{alias}",
    "Store a wrapped application key.",
    api.PutApplicationKey,
    api.VaultInfo,
)
APPLICATION_KEY_DELETE: Final = Operation(
    "application_key.delete",
    "DELETE",
    "/v1/vaults/{handle}/application-keys/{alias}",
    "Delete a wrapped application key.",
    api.Nothing,
    api.VaultInfo,
)
AUDIT_CHECKPOINT: Final = Operation(
    "audit.checkpoint",
    "GET",
    "/v1/audit/checkpoint",
    "The audit log, signed as it is now.",
    api.Nothing,
    api.AuditCheckpoint,
)

# Keys are named in the body, in any of their four forms: an alias has slashes in it, and no path needs to.
KEY_CREATE: Final = Operation(
    "key.create", "POST", "/v1/keys", "Make a key in the hardware.", key_api.CreateKey, key_api.KeyInfo
)
KEY_LIST: Final = Operation(
    "key.list", "POST", "/v1/keys/list", "List keys, a page at a time.", key_api.ListKeys, key_api.KeyList
)
KEY_SHOW: Final = Operation(
    "key.show", "POST", "/v1/keys/show", "Show a key.", key_api.KeyNamed, key_api.KeyInfo
)
KEY_UPDATE: Final = Operation(
    "key.update",
    "POST",
    "/v1/keys/update",
    "Change the description of a key.",
    key_api.UpdateKey,
    key_api.KeyInfo,
)
KEY_ENABLE: Final = Operation(
    "key.enable", "POST", "/v1/keys/enable", "Let a key be used.", key_api.KeyNamed, key_api.KeyInfo
)
KEY_DISABLE: Final = Operation(
    "key.disable", "POST", "/v1/keys/disable", "Let a key not be used.", key_api.KeyNamed, key_api.KeyInfo
)
KEY_SCHEDULE_DELETION: Final = Operation(
    "key.schedule_deletion",
    "POST",
    "/v1/keys/schedule-deletion",
    "Delete a key for good after a waiting period.",
    key_api.ScheduleDeletion,
    key_api.DeletionScheduled,
)
KEY_CANCEL_DELETION: Final = Operation(
    "key.cancel_deletion",
    "POST",
    "/v1/keys/cancel-deletion",
    "Keep a key that was to be deleted.",
    key_api.KeyNamed,
    key_api.KeyInfo,
)
KEY_ROTATE: Final = Operation(
    "key.rotate",
    "POST",
    "/v1/keys/rotate",
    "Give a key a new version now.",
    key_api.KeyNamed,
    key_api.KeyInfo,
)
KEY_SET_ROTATION: Final = Operation(
    "key.set_rotation",
    "POST",
    "/v1/keys/set-rotation",
    "Have a key rotated by itself, or no more.",
    key_api.SetRotation,
    key_api.KeyInfo,
)
KEY_ROTATIONS: Final = Operation(
    "key.rotations",
    "POST",
    "/v1/keys/rotations",
    "List the versions of a key.",
    key_api.ListOfKey,
    key_api.RotationList,
)
KEY_TAG: Final = Operation(
    "key.tag", "POST", "/v1/keys/tag", "Add tags to a key, or change them.", key_api.TagKey, key_api.KeyInfo
)
KEY_UNTAG: Final = Operation(
    "key.untag", "POST", "/v1/keys/untag", "Remove tags of a key.", key_api.UntagKey, key_api.KeyInfo
)
KEY_RECORDED: Final = Operation(
    "key.recorded",
    "POST",
    "/v1/keys/recorded",
    "List the data keys that were recorded for a key.",
    key_api.ListOfKey,
    key_api.RecordedDataKeys,
)
KEY_PUBLIC_KEY: Final = Operation(
    "key.public_key",
    "POST",
    "/v1/keys/public-key",
    "The public half of a key pair.",
    key_api.KeyNamed,
    key_api.PublicKey,
)
KEY_CREATE_ALIAS: Final = Operation(
    "key.create_alias", "POST", "/v1/aliases", "Give a key an alias.", key_api.PutAlias, key_api.AliasInfo
)
KEY_UPDATE_ALIAS: Final = Operation(
    "key.update_alias",
    "POST",
    "/v1/aliases/update",
    "Let an alias name another key.",
    key_api.PutAlias,
    key_api.AliasInfo,
)
KEY_DELETE_ALIAS: Final = Operation(
    "key.delete_alias", "POST", "/v1/aliases/delete", "Remove an alias.", key_api.AliasNamed, api.Nothing
)
KEY_LIST_ALIASES: Final = Operation(
    "key.list_aliases",
    "POST",
    "/v1/aliases/list",
    "List aliases, a page at a time.",
    key_api.ListAliases,
    key_api.AliasList,
)
KEY_GENERATE_DATA_KEY: Final = Operation(
    "key.generate_data_key",
    "POST",
    "/v1/data-keys",
    "Make data keys.",
    key_api.GenerateDataKeys,
    key_api.DataKeys,
)
KEY_GENERATE_WRAPPED_DATA_KEY: Final = Operation(
    "key.generate_wrapped_data_key",
    "POST",
    "/v1/wrapped-data-keys",
    "Make data keys, of which only the ciphertexts are answered.",
    key_api.GenerateDataKeys,
    key_api.WrappedDataKeys,
)
KEY_GENERATE_DATA_KEY_PAIR: Final = Operation(
    "key.generate_data_key_pair",
    "POST",
    "/v1/data-key-pairs",
    "Make a data key pair.",
    key_api.GenerateDataKeyPair,
    key_api.DataKeyPair,
)
KEY_GENERATE_WRAPPED_DATA_KEY_PAIR: Final = Operation(
    "key.generate_wrapped_data_key_pair",
    "POST",
    "/v1/wrapped-data-key-pairs",
    "Make a data key pair, without answering the private key.",
    key_api.GenerateDataKeyPair,
    key_api.WrappedDataKeyPair,
)
KEY_ENCRYPT: Final = Operation(
    "key.encrypt",
    "POST",
    "/v1/encrypt",
    "Encrypt up to 4,096 bytes an item.",
    key_api.Encrypt,
    key_api.Encrypted,
)
KEY_DECRYPT: Final = Operation(
    "key.decrypt", "POST", "/v1/decrypt", "Decrypt.", key_api.Decrypt, key_api.Decrypted
)
KEY_RE_ENCRYPT: Final = Operation(
    "key.re_encrypt",
    "POST",
    "/v1/re-encrypt",
    "Encrypt anew, under another key or context; the plaintext stays in the core.",
    key_api.ReEncrypt,
    key_api.ReEncrypted,
)
KEY_RANDOM: Final = Operation(
    "key.random",
    "POST",
    "/v1/random",
    "Random bytes from the hardware.",
    key_api.GenerateRandom,
    key_api.Random,
)
KEY_GENERATE_MAC: Final = Operation(
    "key.generate_mac", "POST", "/v1/mac", "HMACs of messages.", key_api.GenerateMacs, key_api.Macs
)
KEY_VERIFY_MAC: Final = Operation(
    "key.verify_mac", "POST", "/v1/mac/verify", "Verify HMACs.", key_api.VerifyMacs, key_api.Verified
)
KEY_SIGN: Final = Operation(
    "key.sign", "POST", "/v1/sign", "Sign messages or digests.", key_api.Sign, key_api.Signatures
)
KEY_VERIFY: Final = Operation(
    "key.verify", "POST", "/v1/verify", "Verify signatures.", key_api.VerifySignatures, key_api.Verified
)
KEY_DERIVE_SHARED_SECRET: Final = Operation(
    "key.derive_shared_secret",
    "POST",
    "/v1/derive-shared-secret",
    "Agree on a secret with the holder of a public key.",
    key_api.DeriveSharedSecret,
    key_api.SharedSecret,
)

KEY_OPERATIONS: Final = (
    KEY_CREATE,
    KEY_LIST,
    KEY_SHOW,
    KEY_UPDATE,
    KEY_ENABLE,
    KEY_DISABLE,
    KEY_SCHEDULE_DELETION,
    KEY_CANCEL_DELETION,
    KEY_ROTATE,
    KEY_SET_ROTATION,
    KEY_ROTATIONS,
    KEY_TAG,
    KEY_UNTAG,
    KEY_RECORDED,
    KEY_PUBLIC_KEY,
    KEY_CREATE_ALIAS,
    KEY_UPDATE_ALIAS,
    KEY_DELETE_ALIAS,
    KEY_LIST_ALIASES,
    KEY_GENERATE_DATA_KEY,
    KEY_GENERATE_WRAPPED_DATA_KEY,
    KEY_GENERATE_DATA_KEY_PAIR,
    KEY_GENERATE_WRAPPED_DATA_KEY_PAIR,
    KEY_ENCRYPT,
    KEY_DECRYPT,
    KEY_RE_ENCRYPT,
    KEY_RANDOM,
    KEY_GENERATE_MAC,
    KEY_VERIFY_MAC,
    KEY_SIGN,
    KEY_VERIFY,
    KEY_DERIVE_SHARED_SECRET,
)

DOMAIN_STATUS: Final = Operation(
    "domain.status",
    "GET",
    "/v1/domain",
    "The domain keys, and how far a rotation is.",
    api.Nothing,
    key_api.DomainInfo,
)
DOMAIN_ROTATE: Final = Operation(
    "domain.rotate",
    "POST",
    "/v1/domain/rotate",
    "Rotate the domain key: wrap all keys anew.",
    api.Nothing,
    key_api.DomainInfo,
)
DOMAIN_EXCHANGE: Final = Operation(
    "domain.exchange",
    "GET",
    "/v1/domain/exchange",
    "What another module needs to send keys here.",
    api.Nothing,
    key_api.ExchangeInfo,
)
DOMAIN_EXPORT: Final = Operation(
    "domain.export",
    "POST",
    "/v1/domain/export",
    "A page of all keys, wrapped to another module.",
    key_api.ExportKeys,
    key_api.ExportedKeys,
)
DOMAIN_IMPORT: Final = Operation(
    "domain.import",
    "POST",
    "/v1/domain/import",
    "Take a page of keys from another module.",
    key_api.ImportKeys,
    key_api.ImportedKeys,
)

OPERATIONS: Final = (
    STATUS,
    COHORT,
    VAULT_CREATE,
    VAULT_LIST,
    VAULT_SHOW,
    VAULT_REPLACE,
    VAULT_DELETE,
    VAULT_CHALLENGE,
    VAULT_OPEN,
    VAULT_RESUME,
    APPLICATION_KEY_LIST,
    APPLICATION_KEY_PUT,
    APPLICATION_KEY_DELETE,
    AUDIT_CHECKPOINT,
    *KEY_OPERATIONS,
    DOMAIN_STATUS,
    DOMAIN_ROTATE,
    DOMAIN_EXCHANGE,
    DOMAIN_EXPORT,
    DOMAIN_IMPORT,
)
