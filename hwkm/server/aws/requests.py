"""The requests that are taken, one struct an operation, in AWS's names (``KeyId`` is ``key_id`` here).

Constraints are those of botocore's service model, narrowed where the real service is narrower. A
member that is not in here is refused: a newer client may mean something by it that must not be
passed over. Every optional member may
be null, which is the same as absent. Structs that hold secrets do not print them.
"""

from __future__ import annotations

from typing import Annotated, Final, Literal

import msgspec
from msgspec import Meta, Raw

from hwkm.wire.key_api import (
    CIPHERTEXT_BYTES_MAX,
    PENDING_DAYS_MAX,
    PENDING_DAYS_MIN,
    PERIOD_DAYS_MAX,
    PERIOD_DAYS_MIN,
    PLAINTEXT_BYTES_MAX,
)

GRANT_TOKENS_MAX: Final = 10
ABSENT: Final = Raw()

KeyId = Annotated[str, Meta(min_length=1, max_length=2048)]
AliasName = Annotated[str, Meta(min_length=1, max_length=256, pattern="^[a-zA-Z0-9:/_-]+$")]
GrantTokens = Annotated[
    list[Annotated[str, Meta(min_length=1, max_length=8192)]], Meta(max_length=GRANT_TOKENS_MAX)
]
Plaintext = Annotated[bytes, Meta(min_length=1, max_length=PLAINTEXT_BYTES_MAX)]
Ciphertext = Annotated[bytes, Meta(min_length=1, max_length=CIPHERTEXT_BYTES_MAX)]
PublicKey = Annotated[bytes, Meta(min_length=1, max_length=8192)]
Description = Annotated[str, Meta(max_length=8192)]
Policy = Annotated[str, Meta(min_length=1, max_length=131072)]
PolicyName = Annotated[str, Meta(min_length=1, max_length=128, pattern=r"^[\w]+$")]
Marker = Annotated[str, Meta(min_length=1, max_length=1024)]
Limit = Annotated[int, Meta(ge=1, le=1000)]
Length = Annotated[int, Meta(ge=1, le=1024)]
Period = Annotated[int, Meta(ge=PERIOD_DAYS_MIN, le=PERIOD_DAYS_MAX)]
Window = Annotated[int, Meta(ge=PENDING_DAYS_MIN, le=PENDING_DAYS_MAX)]
StoreId = Annotated[str, Meta(min_length=1, max_length=64)]
XksKeyId = Annotated[str, Meta(min_length=1, max_length=128, pattern="^[a-zA-Z0-9-_.]+$")]
TagKey = Annotated[str, Meta(min_length=1, max_length=128)]
TagValue = Annotated[str, Meta(max_length=256)]

EncryptionAlgorithm = Literal["SYMMETRIC_DEFAULT", "RSAES_OAEP_SHA_1", "RSAES_OAEP_SHA_256", "SM2PKE"]
SigningAlgorithm = Literal[
    "RSASSA_PSS_SHA_256",
    "RSASSA_PSS_SHA_384",
    "RSASSA_PSS_SHA_512",
    "RSASSA_PKCS1_V1_5_SHA_256",
    "RSASSA_PKCS1_V1_5_SHA_384",
    "RSASSA_PKCS1_V1_5_SHA_512",
    "ECDSA_SHA_256",
    "ECDSA_SHA_384",
    "ECDSA_SHA_512",
    "SM2DSA",
    "ML_DSA_SHAKE_256",
    "ED25519_SHA_512",
    "ED25519_PH_SHA_512",
]
MacAlgorithm = Literal["HMAC_SHA_224", "HMAC_SHA_256", "HMAC_SHA_384", "HMAC_SHA_512"]
MessageType = Literal["RAW", "DIGEST", "EXTERNAL_MU"]
OldKeySpec = Literal[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
]
KeySpec = Literal[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SYMMETRIC_DEFAULT",
    "HMAC_224",
    "HMAC_256",
    "HMAC_384",
    "HMAC_512",
    "SM2",
    "ML_DSA_44",
    "ML_DSA_65",
    "ML_DSA_87",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
]
KeyUsage = Literal[
    "SIGN_VERIFY", "ENCRYPT_DECRYPT", "GENERATE_VERIFY_MAC", "KEY_AGREEMENT", "ENCAPSULATE_DECAPSULATE"
]
KeyPairSpec = Literal[
    "RSA_2048",
    "RSA_3072",
    "RSA_4096",
    "ECC_NIST_P256",
    "ECC_NIST_P384",
    "ECC_NIST_P521",
    "ECC_SECG_P256K1",
    "SM2",
    "ECC_NIST_EDWARDS25519",
    "ML_KEM_512",
    "ML_KEM_768",
    "ML_KEM_1024",
]


class Request(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="pascal"):
    """A request. Its repr names the type only: it may hold a plaintext."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class _OfKey(Request, frozen=True, kw_only=True):
    """A request about one key."""

    key_id: KeyId


class Recipient(msgspec.Struct, frozen=True, kw_only=True, rename="pascal"):
    """Of a Nitro Enclave; refused."""

    key_encryption_algorithm: str | None = None
    attestation_document: bytes | None = None


# --- life of a key ---------------------------------------------------------------------------


class Tag(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True, rename="pascal"):
    """One tag."""

    tag_key: TagKey
    tag_value: TagValue


class CreateKey(Request, frozen=True, kw_only=True):
    """A new key."""

    policy: Policy | None = None
    description: Description | None = None
    key_usage: KeyUsage | None = None
    customer_master_key_spec: OldKeySpec | None = None
    key_spec: KeySpec | None = None
    origin: Literal["AWS_KMS", "EXTERNAL", "AWS_CLOUDHSM", "EXTERNAL_KEY_STORE"] | None = None
    custom_key_store_id: StoreId | None = None
    bypass_policy_lockout_safety_check: bool | None = None
    tags: list[Tag] | None = None
    multi_region: bool | None = None
    xks_key_id: XksKeyId | None = None


class DescribeKey(_OfKey, frozen=True, kw_only=True):
    """What is known of a key."""

    grant_tokens: GrantTokens | None = None


class KeyNamed(_OfKey, frozen=True, kw_only=True):
    """A key and nothing else: EnableKey, DisableKey, RotateKeyOnDemand and more."""


class ListKeys(Request, frozen=True, kw_only=True):
    """A page of keys."""

    limit: Limit | None = None
    marker: Marker | None = None
    resource_owners: list[Literal["SELF", "OTHER_ACCOUNTS_VIA_RAM"]] | None = None


class UpdateKeyDescription(_OfKey, frozen=True, kw_only=True):
    """Another description."""

    description: Description


class ScheduleKeyDeletion(_OfKey, frozen=True, kw_only=True):
    """Delete a key after a waiting period."""

    pending_window_in_days: Window | None = None


class EnableKeyRotation(_OfKey, frozen=True, kw_only=True):
    """Rotate a key by itself."""

    rotation_period_in_days: Period | None = None


class ListKeyRotations(_OfKey, frozen=True, kw_only=True):
    """A page of the rotations of a key."""

    include_key_material: Literal["ALL_KEY_MATERIAL", "ROTATIONS_ONLY"] | None = None
    limit: Limit | None = None
    marker: Marker | None = None


class TagResource(_OfKey, frozen=True, kw_only=True):
    """Tags to add or change."""

    tags: list[Tag]


class UntagResource(_OfKey, frozen=True, kw_only=True):
    """Tags to remove."""

    tag_keys: list[TagKey]


class ListResourceTags(_OfKey, frozen=True, kw_only=True):
    """A page of tags."""

    limit: Limit | None = None
    marker: Marker | None = None


class GetKeyPolicy(_OfKey, frozen=True, kw_only=True):
    """The policy of a key."""

    policy_name: PolicyName | None = None


class PutKeyPolicy(_OfKey, frozen=True, kw_only=True):
    """A policy for a key."""

    policy_name: PolicyName | None = None
    policy: Policy
    bypass_policy_lockout_safety_check: bool | None = None


class ListKeyPolicies(_OfKey, frozen=True, kw_only=True):
    """The names of the policies of a key: one."""

    limit: Limit | None = None
    marker: Marker | None = None


# --- aliases ---------------------------------------------------------------------------------


class PutAlias(Request, frozen=True, kw_only=True):
    """CreateAlias and UpdateAlias."""

    alias_name: AliasName
    target_key_id: KeyId


class DeleteAlias(Request, frozen=True, kw_only=True):
    """An alias to remove."""

    alias_name: AliasName


class ListAliases(Request, frozen=True, kw_only=True):
    """A page of aliases."""

    key_id: KeyId | None = None
    limit: Limit | None = None
    marker: Marker | None = None


# --- data keys, encryption -------------------------------------------------------------------


class GenerateDataKey(_OfKey, frozen=True, kw_only=True):
    """A data key."""

    encryption_context: Raw = ABSENT
    number_of_bytes: Length | None = None
    key_spec: Literal["AES_256", "AES_128"] | None = None
    grant_tokens: GrantTokens | None = None
    recipient: Recipient | None = None
    dry_run: bool | None = None


class GenerateDataKeyWithoutPlaintext(_OfKey, frozen=True, kw_only=True):
    """A wrapped data key."""

    encryption_context: Raw = ABSENT
    number_of_bytes: Length | None = None
    key_spec: Literal["AES_256", "AES_128"] | None = None
    grant_tokens: GrantTokens | None = None
    dry_run: bool | None = None


class GenerateDataKeyPair(_OfKey, frozen=True, kw_only=True):
    """A data key pair."""

    encryption_context: Raw = ABSENT
    key_pair_spec: KeyPairSpec
    grant_tokens: GrantTokens | None = None
    recipient: Recipient | None = None
    dry_run: bool | None = None


class GenerateDataKeyPairWithoutPlaintext(_OfKey, frozen=True, kw_only=True):
    """A wrapped data key pair."""

    encryption_context: Raw = ABSENT
    key_pair_spec: KeyPairSpec
    grant_tokens: GrantTokens | None = None
    dry_run: bool | None = None


class Encrypt(_OfKey, frozen=True, kw_only=True):
    """Something to encrypt."""

    plaintext: Plaintext
    encryption_context: Raw = ABSENT
    grant_tokens: GrantTokens | None = None
    encryption_algorithm: EncryptionAlgorithm | None = None
    dry_run: bool | None = None


class Decrypt(Request, frozen=True, kw_only=True):
    """Something to decrypt."""

    ciphertext_blob: Ciphertext | None = None
    encryption_context: Raw = ABSENT
    grant_tokens: GrantTokens | None = None
    key_id: KeyId | None = None
    encryption_algorithm: EncryptionAlgorithm | None = None
    recipient: Recipient | None = None
    dry_run: bool | None = None
    dry_run_modifiers: list[Literal["IGNORE_CIPHERTEXT"]] | None = None


class ReEncrypt(Request, frozen=True, kw_only=True):
    """Something to encrypt anew."""

    ciphertext_blob: Ciphertext | None = None
    source_encryption_context: Raw = ABSENT
    source_key_id: KeyId | None = None
    destination_key_id: KeyId
    destination_encryption_context: Raw = ABSENT
    source_encryption_algorithm: EncryptionAlgorithm | None = None
    destination_encryption_algorithm: EncryptionAlgorithm | None = None
    grant_tokens: GrantTokens | None = None
    dry_run: bool | None = None
    dry_run_modifiers: list[Literal["IGNORE_CIPHERTEXT"]] | None = None


class GenerateRandom(Request, frozen=True, kw_only=True):
    """Random bytes."""

    number_of_bytes: Length | None = None
    custom_key_store_id: StoreId | None = None
    recipient: Recipient | None = None


# --- MAC, signature, key agreement -----------------------------------------------------------


class GetPublicKey(_OfKey, frozen=True, kw_only=True):
    """The public half of a key pair."""

    grant_tokens: GrantTokens | None = None


class Sign(_OfKey, frozen=True, kw_only=True):
    """Something to sign."""

    message: Plaintext
    message_type: MessageType | None = None
    grant_tokens: GrantTokens | None = None
    signing_algorithm: SigningAlgorithm
    dry_run: bool | None = None


class Verify(_OfKey, frozen=True, kw_only=True):
    """A signature to verify."""

    message: Plaintext
    message_type: MessageType | None = None
    signature: Ciphertext
    signing_algorithm: SigningAlgorithm
    grant_tokens: GrantTokens | None = None
    dry_run: bool | None = None


class GenerateMac(_OfKey, frozen=True, kw_only=True):
    """Something to authenticate."""

    message: Plaintext
    mac_algorithm: MacAlgorithm
    grant_tokens: GrantTokens | None = None
    dry_run: bool | None = None


class VerifyMac(_OfKey, frozen=True, kw_only=True):
    """An HMAC to verify."""

    message: Plaintext
    mac_algorithm: MacAlgorithm
    mac: Ciphertext
    grant_tokens: GrantTokens | None = None
    dry_run: bool | None = None


class DeriveSharedSecret(_OfKey, frozen=True, kw_only=True):
    """A key agreement."""

    key_agreement_algorithm: Literal["ECDH"]
    public_key: PublicKey
    grant_tokens: GrantTokens | None = None
    dry_run: bool | None = None
    recipient: Recipient | None = None
