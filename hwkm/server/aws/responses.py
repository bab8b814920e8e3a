"""The responses, one struct an operation, in AWS's names. Members that are not set are left out.

Times are seconds since 1970 with a fraction; bytes become base64. Structs that hold secrets do not print them.
"""

from __future__ import annotations

from typing import Literal

import msgspec

from hwkm.server.aws.requests import EncryptionAlgorithm


class Response(msgspec.Struct, frozen=True, kw_only=True, rename="pascal", omit_defaults=True):
    """A response. Its repr names the type only: it may hold a plaintext."""

    def __repr__(self) -> str:
        return f"<{type(self).__name__}>"


class KeyMetadata(Response, frozen=True, kw_only=True):
    """What is known of a key."""

    account: str = msgspec.field(name="AWSAccountId")
    key_id: str
    arn: str
    creation_date: float
    enabled: bool
    description: str
    key_usage: str
    key_state: Literal["Enabled", "Disabled", "PendingDeletion"]
    deletion_date: float | None = None
    origin: Literal["AWS_KMS"]
    key_manager: Literal["CUSTOMER"]
    customer_master_key_spec: str
    key_spec: str
    encryption_algorithms: tuple[str, ...] = ()
    signing_algorithms: tuple[str, ...] = ()
    key_agreement_algorithms: tuple[str, ...] = ()
    mac_algorithms: tuple[str, ...] = ()
    multi_region: bool


class KeyDescribed(Response, frozen=True, kw_only=True):
    """CreateKey, DescribeKey."""

    key_metadata: KeyMetadata


class KeyNamed(Response, frozen=True, kw_only=True):
    """CancelKeyDeletion, RotateKeyOnDemand."""

    key_id: str


class KeyListed(Response, frozen=True, kw_only=True):
    """A key in a list."""

    key_id: str
    key_arn: str


class Page(Response, frozen=True, kw_only=True):
    """A page of a list."""

    next_marker: str | None = None
    truncated: bool


class Keys(Page, frozen=True, kw_only=True):
    """ListKeys."""

    keys: tuple[KeyListed, ...]


class AliasListed(Response, frozen=True, kw_only=True):
    """An alias in a list."""

    alias_name: str
    alias_arn: str
    target_key_id: str
    creation_date: float
    last_updated_date: float


class Aliases(Page, frozen=True, kw_only=True):
    """ListAliases."""

    aliases: tuple[AliasListed, ...]


class DeletionScheduled(Response, frozen=True, kw_only=True):
    """ScheduleKeyDeletion."""

    key_id: str
    deletion_date: float
    key_state: Literal["PendingDeletion"]
    pending_window_in_days: int


class RotationStatus(Response, frozen=True, kw_only=True):
    """GetKeyRotationStatus."""

    key_rotation_enabled: bool
    key_id: str
    rotation_period_in_days: int | None = None
    next_rotation_date: float | None = None


class RotationListed(Response, frozen=True, kw_only=True):
    """A rotation in a list."""

    key_id: str
    key_material_state: Literal["CURRENT", "NON_CURRENT"] | None = None
    rotation_date: float | None = None
    rotation_type: Literal["AUTOMATIC", "ON_DEMAND"] | None = None


class Rotations(Page, frozen=True, kw_only=True):
    """ListKeyRotations."""

    rotations: tuple[RotationListed, ...]


class TagListed(Response, frozen=True, kw_only=True):
    """A tag in a list."""

    tag_key: str
    tag_value: str


class Tags(Page, frozen=True, kw_only=True):
    """ListResourceTags."""

    tags: tuple[TagListed, ...]


class KeyPolicy(Response, frozen=True, kw_only=True):
    """GetKeyPolicy."""

    policy: str
    policy_name: str


class PolicyNames(Page, frozen=True, kw_only=True):
    """ListKeyPolicies."""

    policy_names: tuple[str, ...]


class LastUsageData(Response, frozen=True, kw_only=True):
    """The newest successful cryptographic operation with a key."""

    operation: str
    timestamp: float


class LastUsage(Response, frozen=True, kw_only=True):
    """GetKeyLastUsage."""

    key_id: str
    key_last_usage: LastUsageData | None = None
    tracking_start_date: float
    key_creation_date: float


class DataKey(Response, frozen=True, kw_only=True):
    """GenerateDataKey."""

    ciphertext_blob: bytes
    plaintext: bytes
    key_id: str


class WrappedDataKey(Response, frozen=True, kw_only=True):
    """GenerateDataKeyWithoutPlaintext."""

    ciphertext_blob: bytes
    key_id: str


class DataKeyPair(Response, frozen=True, kw_only=True):
    """GenerateDataKeyPair."""

    private_key_ciphertext_blob: bytes
    private_key_plaintext: bytes
    public_key: bytes
    key_id: str
    key_pair_spec: str


class WrappedDataKeyPair(Response, frozen=True, kw_only=True):
    """GenerateDataKeyPairWithoutPlaintext."""

    private_key_ciphertext_blob: bytes
    public_key: bytes
    key_id: str
    key_pair_spec: str


class Encrypted(Response, frozen=True, kw_only=True):
    """Encrypt."""

    ciphertext_blob: bytes
    key_id: str
    encryption_algorithm: EncryptionAlgorithm


class Decrypted(Response, frozen=True, kw_only=True):
    """Decrypt."""

    key_id: str
    plaintext: bytes
    encryption_algorithm: EncryptionAlgorithm


class ReEncrypted(Response, frozen=True, kw_only=True):
    """ReEncrypt."""

    ciphertext_blob: bytes
    source_key_id: str
    key_id: str
    source_encryption_algorithm: EncryptionAlgorithm
    destination_encryption_algorithm: EncryptionAlgorithm


class RandomBytes(Response, frozen=True, kw_only=True):
    """GenerateRandom."""

    plaintext: bytes


class PublicKey(Response, frozen=True, kw_only=True):
    """GetPublicKey."""

    key_id: str
    public_key: bytes
    customer_master_key_spec: str
    key_spec: str
    key_usage: str
    signing_algorithms: tuple[str, ...] = ()
    key_agreement_algorithms: tuple[str, ...] = ()


class Signature(Response, frozen=True, kw_only=True):
    """Sign."""

    key_id: str
    signature: bytes
    signing_algorithm: str


class SignatureVerified(Response, frozen=True, kw_only=True):
    """Verify."""

    key_id: str
    signature_valid: Literal[True]
    signing_algorithm: str


class Mac(Response, frozen=True, kw_only=True):
    """GenerateMac."""

    mac: bytes
    mac_algorithm: str
    key_id: str


class MacVerified(Response, frozen=True, kw_only=True):
    """VerifyMac."""

    key_id: str
    mac_valid: Literal[True]
    mac_algorithm: str


class SharedSecret(Response, frozen=True, kw_only=True):
    """DeriveSharedSecret."""

    key_id: str
    shared_secret: bytes
    key_agreement_algorithm: Literal["ECDH"]
    key_origin: Literal["AWS_KMS"]
