"""The AWS Encryption SDK for Python, as a user of it would call it. Run by the Python of ``.venv-interop``.

encryption_sdk.py encrypt KEY_ARN CONTEXT    standard input to standard output; the context is JSON
encryption_sdk.py decrypt KEY_ARN CONTEXT    the message's context must hold these pairs

Endpoint and credential come from the environment, as for every AWS SDK.
"""

from __future__ import annotations

import json
import sys

from aws_encryption_sdk import CommitmentPolicy, EncryptionSDKClient, StrictAwsKmsMasterKeyProvider


def main(action: str, key: str, context: str) -> None:
    client = EncryptionSDKClient(commitment_policy=CommitmentPolicy.REQUIRE_ENCRYPT_REQUIRE_DECRYPT)
    provider = StrictAwsKmsMasterKeyProvider(key_ids=[key])
    source, wanted = sys.stdin.buffer.read(), json.loads(context)
    if action == "encrypt":
        result, _ = client.encrypt(source=source, key_provider=provider, encryption_context=wanted)
    else:
        result, header = client.decrypt(source=source, key_provider=provider)
        if not wanted.items() <= header.encryption_context.items():
            sys.exit(f"the message has another context: {header.encryption_context}")
    sys.stdout.buffer.write(result)


if __name__ == "__main__":
    main(*sys.argv[1:])
