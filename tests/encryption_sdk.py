"""The AWS Encryption SDK for Python with data keys of ours, in place of AWS KMS.

Only its message format is of interest here: what it writes and reads, under a data key given to it.
"""

from __future__ import annotations

from collections.abc import Mapping
from typing import Any

import attr
import aws_encryption_sdk
from aws_encryption_sdk.identifiers import AlgorithmSuite
from aws_encryption_sdk.key_providers.base import MasterKey, MasterKeyConfig
from aws_encryption_sdk.structures import DataKey

COMMITTED = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY
COMMITTED_SIGNED = AlgorithmSuite.AES_256_GCM_HKDF_SHA512_COMMIT_KEY_ECDSA_P384
UNCOMMITTED = AlgorithmSuite.AES_256_GCM_IV12_TAG16_HKDF_SHA256

PROVIDER = "aws-kms"


@attr.s(hash=True)
class _Config(MasterKeyConfig):  # type: ignore[misc]
    provider_id = PROVIDER


class _OneDataKey(MasterKey):  # type: ignore[misc]
    """A master key that wraps every data key as the same bytes, and unwraps those."""

    provider_id = PROVIDER
    _config_class = _Config
    data_key = b""
    wrapped = b""

    def _data_key(self) -> DataKey:
        return DataKey(
            key_provider=self.key_provider, data_key=self.data_key, encrypted_data_key=self.wrapped
        )

    def _generate_data_key(self, algorithm: Any, encryption_context: Any) -> DataKey:
        return self._data_key()

    def _encrypt_data_key(self, data_key: Any, algorithm: Any, encryption_context: Any) -> DataKey:
        raise NotImplementedError

    def _decrypt_data_key(self, encrypted_data_key: Any, algorithm: Any, encryption_context: Any) -> DataKey:
        assert encrypted_data_key.encrypted_data_key == self.wrapped
        return self._data_key()


class EncryptionSdk:
    """The SDK for one data key (32 bytes), wrapped as ``wrapped`` by the key of an ARN."""

    def __init__(self, arn: str, data_key: bytes, wrapped: bytes) -> None:
        self._client = aws_encryption_sdk.EncryptionSDKClient()
        self._key = _OneDataKey(key_id=arn.encode())
        self._key.data_key = data_key
        self._key.wrapped = wrapped

    def encrypt(
        self, data: bytes, context: Mapping[str, str], *, suite: Any = COMMITTED, frame_bytes: int = 4096
    ) -> bytes:
        """Encrypt as the SDK does."""
        policy = (
            aws_encryption_sdk.CommitmentPolicy.FORBID_ENCRYPT_ALLOW_DECRYPT
            if suite is UNCOMMITTED
            else aws_encryption_sdk.CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT
        )
        client = aws_encryption_sdk.EncryptionSDKClient(commitment_policy=policy)
        encrypted, _ = client.encrypt(
            source=data,
            key_provider=self._key,
            algorithm=suite,
            frame_length=frame_bytes,
            encryption_context=dict(context),
        )
        return bytes(encrypted)

    def decrypt(self, message: bytes) -> tuple[bytes, dict[str, str]]:
        """Decrypt as the SDK does; return plaintext and context."""
        plaintext, header = self._client.decrypt(source=message, key_provider=self._key)
        return bytes(plaintext), dict(header.encryption_context)
