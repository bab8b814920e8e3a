"""SeaweedFS, a real S3 server, keeping its objects under hwkmd's keys; and clients that encrypt before it.

Two gateways share one store and let the S3 user read every bucket: each has the credential of one
tenant at the key service, and that alone keeps the tenants apart.
"""

from __future__ import annotations

import base64
import hashlib
import json
import os
from collections.abc import Iterator
from typing import Any, Final

import pytest
from botocore.exceptions import ClientError

from tests.interop.s3 import Storage, storage_of
from tests.interop.seaweedfs import ACCESS_KEY, SECRET_KEY
from tests.interop.service import KeyService
from tests.interop.tenant import ClientFailed

MARK_BYTES: Final = 64
LARGE_BYTES: Final = 9 << 20  # several chunks of SeaweedFS
CONTEXT: Final = '{"tenant": "one"}'


@pytest.fixture(scope="module")
def storage(service: KeyService) -> Iterator[Storage]:
    with storage_of([*service.tenants, service.bound]) as storage:
        yield storage


def body(size: int = 100_000) -> bytes:
    """Bytes that occur nowhere else, and that SeaweedFS does not compress."""
    return os.urandom(size)


def read(s3: Any, bucket: str, name: str, **options: Any) -> bytes:
    content: bytes = s3.get_object(Bucket=bucket, Key=name, **options)["Body"].read()
    return content


def context_header(context: dict[str, str]) -> str:
    """As the header x-amz-server-side-encryption-context wants it."""
    return base64.b64encode(json.dumps(context).encode()).decode()


def refused(s3: Any, bucket: str, name: str, **options: Any) -> bool:
    with pytest.raises(ClientError):
        s3.get_object(Bucket=bucket, Key=name, **options)
    return True


@pytest.mark.needs("weed")
class TestServerSide:
    def test_sse_kms_survives_both_rotations_and_stops_at_the_tenant(
        self, service: KeyService, storage: Storage
    ) -> None:
        one, two = storage.s3(0), storage.s3(1)
        key = service.new_key(service.tenants[0])
        bodies = {"first": body(), "large": body(LARGE_BYTES), "second": body()}
        one.create_bucket(Bucket="kms")
        put = {"Bucket": "kms", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key}
        assert one.put_object(Key="first", Body=bodies["first"], **put)["SSEKMSKeyId"] == key
        one.put_object(Key="large", Body=bodies["large"], **put)
        service.tenants[0].kms().rotate_key_on_demand(KeyId=key)
        service.rotate_domain()
        one.put_object(Key="second", Body=bodies["second"], **put)
        for name, content in bodies.items():
            assert read(one, "kms", name) == content
            assert refused(two, "kms", name)
            assert not storage.holds(content[:MARK_BYTES])
        assert (
            read(one, "kms", "large", Range="bytes=5000000-5000009") == bodies["large"][5_000_000:5_000_010]
        )

    def test_the_store_itself_keeps_nothing_from_the_other_tenant(self, storage: Storage) -> None:
        """What makes the refusals above count: the same reads succeed where the key service is not asked."""
        one, two = storage.s3(0), storage.s3(1)
        content = body()
        one.create_bucket(Bucket="open")
        one.put_object(Bucket="open", Key="x", Body=content)
        assert read(two, "open", "x") == content
        assert storage.holds(content[:MARK_BYTES])

    def test_a_bucket_encrypts_by_default(self, service: KeyService, storage: Storage) -> None:
        one, two = storage.s3(0), storage.s3(1)
        key = service.new_key(service.tenants[0])
        content = body()
        one.create_bucket(Bucket="default")
        by_default = {"SSEAlgorithm": "aws:kms", "KMSMasterKeyID": key}
        rules = {"Rules": [{"ApplyServerSideEncryptionByDefault": by_default}]}
        one.put_bucket_encryption(Bucket="default", ServerSideEncryptionConfiguration=rules)
        one.put_object(Bucket="default", Key="x", Body=content)
        head = one.head_object(Bucket="default", Key="x")
        assert (head["ServerSideEncryption"], head["SSEKMSKeyId"]) == ("aws:kms", key)
        assert read(one, "default", "x") == content
        assert refused(two, "default", "x")
        assert not storage.holds(content[:MARK_BYTES])

    def test_a_disabled_key_closes_its_objects_until_it_is_enabled(
        self, service: KeyService, storage: Storage
    ) -> None:
        one, kms = storage.s3(0), service.tenants[0].kms()
        key, content = service.new_key(service.tenants[0]), body()
        one.create_bucket(Bucket="disabled")
        one.put_object(
            Bucket="disabled", Key="x", Body=content, ServerSideEncryption="aws:kms", SSEKMSKeyId=key
        )
        kms.disable_key(KeyId=key)
        assert refused(one, "disabled", "x")
        kms.enable_key(KeyId=key)
        assert read(one, "disabled", "x") == content

    def test_a_gateway_bound_to_a_tenant_opens_only_what_is_of_that_tenant(
        self, service: KeyService, storage: Storage
    ) -> None:
        """Both gateways are of one account, so only the policy's ``require_context`` tells them apart."""
        one, bound = storage.s3(0), storage.s3(2)
        key, content = service.new_key(service.tenants[0]), body()
        one.create_bucket(Bucket="bound")
        put = {"Bucket": "bound", "ServerSideEncryption": "aws:kms", "SSEKMSKeyId": key, "Body": content}
        one.put_object(Key="of one", SSEKMSEncryptionContext=context_header({"tenant": "one"}), **put)
        one.put_object(Key="of two", SSEKMSEncryptionContext=context_header({"tenant": "two"}), **put)
        assert read(bound, "bound", "of one") == content
        assert refused(bound, "bound", "of two")
        assert read(one, "bound", "of two") == content

    def test_the_audit_log_says_which_object_was_opened_by_whom_and_who_was_refused(
        self, service: KeyService, storage: Storage
    ) -> None:
        one, two = storage.s3(0), storage.s3(1)
        key = service.new_key(service.tenants[0])
        one.create_bucket(Bucket="recorded")
        one.put_object(
            Bucket="recorded", Key="x", Body=body(), ServerSideEncryption="aws:kms", SSEKMSKeyId=key
        )
        read(one, "recorded", "x")
        assert refused(two, "recorded", "x")
        records = [
            (
                record["operation"],
                record["outcome"],
                record["caller"]["account"],
                record["context"]["aws:s3:arn"],
            )
            for record in service.audit_of(key)
            if "context" in record
        ]
        owner, stranger = (tenant.account for tenant in service.tenants)
        arn = "arn:aws:s3:::recorded/x"
        assert ("key.generate_data_key", "ok", owner, arn) in records
        assert ("key.decrypt", "ok", owner, arn) in records
        assert ("key.decrypt", "access_denied", stranger, arn) in records

    def test_a_customer_key_of_sse_c_is_asked_for_at_every_read(self, storage: Storage) -> None:
        one, content = storage.s3(0), body()
        mine = {"SSECustomerAlgorithm": "AES256", "SSECustomerKey": os.urandom(32)}
        one.create_bucket(Bucket="customer")
        one.put_object(Bucket="customer", Key="x", Body=content, **mine)
        assert read(one, "customer", "x", **mine) == content
        assert refused(one, "customer", "x")
        assert refused(one, "customer", "x", SSECustomerAlgorithm="AES256", SSECustomerKey=os.urandom(32))

    def test_rclone_writes_under_a_key_and_reads_back(self, service: KeyService, storage: Storage) -> None:
        tenant, content = service.tenants[0], body(1 << 20)
        key = service.new_key(tenant)
        one = storage.s3(0)
        one.create_bucket(Bucket="rclone")
        remote = {
            "RCLONE_CONFIG_S_TYPE": "s3",
            "RCLONE_CONFIG_S_PROVIDER": "Other",
            "RCLONE_CONFIG_S_ENDPOINT": storage.endpoints[0],
            "RCLONE_CONFIG_S_ACCESS_KEY_ID": ACCESS_KEY,
            "RCLONE_CONFIG_S_SECRET_ACCESS_KEY": SECRET_KEY,
            "RCLONE_CONFIG_S_SERVER_SIDE_ENCRYPTION": "aws:kms",
            "RCLONE_CONFIG_S_SSE_KMS_KEY_ID": key,
        }
        tenant.run("rclone", "rcat", "s:rclone/x", stdin=content, environment=remote)
        assert tenant.run("rclone", "cat", "s:rclone/x", environment=remote) == content
        assert one.head_object(Bucket="rclone", Key="x")["SSEKMSKeyId"] == key


@pytest.mark.needs("weed")
class TestClientSide:
    def test_the_s3_encryption_client_keeps_the_plaintext_from_the_store(
        self, service: KeyService, storage: Storage
    ) -> None:
        tenant, content = service.tenants[0], body()
        key = service.new_key(tenant)
        storage.s3(0).create_bucket(Bucket="client")
        environment = s3_environment(storage)
        arguments = ("client", "x", key, CONTEXT)
        tenant.python("encrypted_s3.py", "put", *arguments, stdin=content, environment=environment)
        tenant.kms().rotate_key_on_demand(KeyId=key)
        service.rotate_domain()
        assert tenant.python("encrypted_s3.py", "get", *arguments, environment=environment) == content
        stored = read(storage.s3(0), "client", "x")
        assert hashlib.sha256(stored).digest() != hashlib.sha256(content).digest()
        assert not storage.holds(content[:MARK_BYTES])
        with pytest.raises(ClientFailed):
            service.tenants[1].python("encrypted_s3.py", "get", *arguments, environment=environment)


def s3_environment(storage: Storage) -> dict[str, str]:
    return {
        "AWS_ENDPOINT_URL_S3": storage.endpoints[0],
        "S3_ACCESS_KEY": ACCESS_KEY,
        "S3_SECRET_KEY": SECRET_KEY,
    }
