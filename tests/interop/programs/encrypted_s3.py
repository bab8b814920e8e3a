"""The Amazon S3 Encryption Client for Python, as a user of it would call it.

encrypted_s3.py put BUCKET NAME KEY_ARN CONTEXT    standard input to an object; the context is JSON
encrypted_s3.py get BUCKET NAME KEY_ARN CONTEXT    an object to standard output

Endpoints come from the environment, as for every AWS SDK; S3 has a credential of its own, in S3_ACCESS_KEY
and S3_SECRET_KEY.
"""

from __future__ import annotations

import json
import os
import sys

import boto3
from s3_encryption import S3EncryptionClient, S3EncryptionClientConfig
from s3_encryption.materials.kms_keyring import KmsKeyring


def main(action: str, bucket: str, name: str, key: str, context: str) -> None:
    s3 = boto3.client(
        "s3",
        aws_access_key_id=os.environ["S3_ACCESS_KEY"],
        aws_secret_access_key=os.environ["S3_SECRET_KEY"],
    )
    client = S3EncryptionClient(s3, S3EncryptionClientConfig(keyring=KmsKeyring(boto3.client("kms"), key)))
    wanted = json.loads(context)
    if action == "put":
        client.put_object(Bucket=bucket, Key=name, Body=sys.stdin.buffer.read(), EncryptionContext=wanted)
    else:
        answer = client.get_object(Bucket=bucket, Key=name, EncryptionContext=wanted)
        sys.stdout.buffer.write(answer["Body"].read())


if __name__ == "__main__":
    main(*sys.argv[1:])
