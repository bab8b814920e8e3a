"""sdk_decrypt.py FILE KEY_ARN: open a file with the AWS Encryption SDK, and print how it begins."""

import logging
import sys
from pathlib import Path

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient, StrictAwsKmsMasterKeyProvider
from aws_encryption_sdk.exceptions import AWSEncryptionSDKClientError

logging.disable()  # the SDK logs the way to every refusal
name, key = sys.argv[1:]
client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
try:
    plaintext, header = client.decrypt(
        source=Path(name).read_bytes(), key_provider=StrictAwsKmsMasterKeyProvider(key_ids=[key])
    )
except AWSEncryptionSDKClientError as exc:
    sys.exit(f"refused: {exc}")
print(plaintext[:12].decode(), header.encryption_context)
