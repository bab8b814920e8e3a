"""The table of operations: what is taken, what does it, and the word for it in policy and audit log."""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from dataclasses import dataclass, field
from typing import Any, Final

import msgspec

from hwkm.server.aws import requests as asked
from hwkm.server.aws.operations import aliases, data_keys, keys, signatures, tags
from hwkm.server.keys.principal import KeyCall
from hwkm.server.keys.service import KeyService

Handler = Callable[[KeyService, KeyCall, Any], Awaitable[msgspec.Struct | None]]


@dataclass(frozen=True, slots=True, eq=False)
class AwsOperation:
    """One operation. ``audit_name`` is that of the native operation that does the same."""

    name: str
    audit_name: str
    handler: Handler
    request: type[asked.Request]
    decoder: msgspec.json.Decoder[Any] = field(init=False)

    def __post_init__(self) -> None:
        object.__setattr__(self, "decoder", msgspec.json.Decoder(self.request))


_TABLE: Final = (
    # core
    AwsOperation("CreateKey", "key.create", keys.create, asked.CreateKey),
    AwsOperation("DescribeKey", "key.show", keys.describe, asked.DescribeKey),
    AwsOperation("ListKeys", "key.list", keys.list_keys, asked.ListKeys),
    AwsOperation("CreateAlias", "key.create_alias", aliases.create, asked.PutAlias),
    AwsOperation("ListAliases", "key.list_aliases", aliases.list_aliases, asked.ListAliases),
    AwsOperation("GenerateDataKey", "key.generate_data_key", data_keys.generate, asked.GenerateDataKey),
    AwsOperation(
        "GenerateDataKeyWithoutPlaintext",
        "key.generate_wrapped_data_key",
        data_keys.generate_wrapped,
        asked.GenerateDataKeyWithoutPlaintext,
    ),
    AwsOperation("Encrypt", "key.encrypt", data_keys.encrypt, asked.Encrypt),
    AwsOperation("Decrypt", "key.decrypt", data_keys.decrypt, asked.Decrypt),
    AwsOperation("ReEncrypt", "key.re_encrypt", data_keys.re_encrypt, asked.ReEncrypt),
    AwsOperation("GenerateRandom", "key.random", data_keys.random, asked.GenerateRandom),
    AwsOperation("EnableKey", "key.enable", keys.enable, asked.KeyNamed),
    AwsOperation("DisableKey", "key.disable", keys.disable, asked.KeyNamed),
    # life-cycle
    AwsOperation("UpdateAlias", "key.update_alias", aliases.update, asked.PutAlias),
    AwsOperation("DeleteAlias", "key.delete_alias", aliases.delete, asked.DeleteAlias),
    AwsOperation(
        "ScheduleKeyDeletion", "key.schedule_deletion", keys.schedule_deletion, asked.ScheduleKeyDeletion
    ),
    AwsOperation("CancelKeyDeletion", "key.cancel_deletion", keys.cancel_deletion, asked.KeyNamed),
    AwsOperation("EnableKeyRotation", "key.set_rotation", keys.enable_rotation, asked.EnableKeyRotation),
    AwsOperation("DisableKeyRotation", "key.set_rotation", keys.disable_rotation, asked.KeyNamed),
    AwsOperation("GetKeyRotationStatus", "key.show", keys.rotation_status, asked.KeyNamed),
    AwsOperation("RotateKeyOnDemand", "key.rotate", keys.rotate, asked.KeyNamed),
    AwsOperation("ListKeyRotations", "key.rotations", keys.list_rotations, asked.ListKeyRotations),
    AwsOperation("UpdateKeyDescription", "key.update", keys.update_description, asked.UpdateKeyDescription),
    AwsOperation("TagResource", "key.tag", tags.tag, asked.TagResource),
    AwsOperation("UntagResource", "key.untag", tags.untag, asked.UntagResource),
    AwsOperation("ListResourceTags", "key.show", tags.list_tags, asked.ListResourceTags),
    AwsOperation("GetKeyPolicy", "key.show", tags.get_policy, asked.GetKeyPolicy),
    AwsOperation("PutKeyPolicy", "key.show", tags.put_policy, asked.PutKeyPolicy),
    AwsOperation("ListKeyPolicies", "key.show", tags.list_policies, asked.ListKeyPolicies),
    # asymmetric keys, MACs, pairs
    AwsOperation("GetPublicKey", "key.public_key", signatures.get_public_key, asked.GetPublicKey),
    AwsOperation("Sign", "key.sign", signatures.sign, asked.Sign),
    AwsOperation("Verify", "key.verify", signatures.verify, asked.Verify),
    AwsOperation("GenerateMac", "key.generate_mac", signatures.generate_mac, asked.GenerateMac),
    AwsOperation("VerifyMac", "key.verify_mac", signatures.verify_mac, asked.VerifyMac),
    AwsOperation(
        "DeriveSharedSecret",
        "key.derive_shared_secret",
        signatures.derive_shared_secret,
        asked.DeriveSharedSecret,
    ),
    AwsOperation("GetKeyLastUsage", "key.show", keys.last_usage, asked.KeyNamed),
    AwsOperation(
        "GenerateDataKeyPair",
        "key.generate_data_key_pair",
        data_keys.generate_pair,
        asked.GenerateDataKeyPair,
    ),
    AwsOperation(
        "GenerateDataKeyPairWithoutPlaintext",
        "key.generate_wrapped_data_key_pair",
        data_keys.generate_wrapped_pair,
        asked.GenerateDataKeyPairWithoutPlaintext,
    ),
)

OPERATIONS: Final = {operation.name: operation for operation in _TABLE}

UNSUPPORTED: Final = frozenset(
    {
        # grants
        "CreateGrant", "ListGrants", "ListRetirableGrants", "RetireGrant", "RevokeGrant",
        # imported key material: keys are made in the hardware
        "DeleteImportedKeyMaterial", "GetParametersForImport", "ImportKeyMaterial",
        # custom key stores
        "ConnectCustomKeyStore", "CreateCustomKeyStore", "DeleteCustomKeyStore", "DescribeCustomKeyStores",
        "DisconnectCustomKeyStore", "UpdateCustomKeyStore",
        # several Regions
        "ReplicateKey", "UpdatePrimaryRegion",
        # key encapsulation
        "Decapsulate", "Encapsulate",
    }
)  # fmt: skip
"""Operations of AWS KMS that are known and refused."""
