"""The AWS CLI (version 1) and curl's own Signature Version 4 against hwkmd."""

from __future__ import annotations

import base64
import json
from pathlib import Path

import pytest

from tests.interop.service import KeyService
from tests.interop.tenant import REGION, ClientFailed, Tenant


class TestAwsCli:
    def test_a_file_is_encrypted_rotated_and_decrypted(self, service: KeyService, tmp_path: Path) -> None:
        tenant = service.tenants[0]
        key = tenant.aws("kms", "create-key", "--description", "made by the CLI")["KeyMetadata"]["Arn"]
        tenant.aws("kms", "create-alias", "--alias-name", "alias/cli", "--target-key-id", key)
        (tmp_path / "plain").write_bytes(b"four hundred words")
        context = ("--encryption-context", "tenant=one,file=plain")
        made = tenant.aws(
            "kms", "encrypt", "--key-id", "alias/cli", "--plaintext", f"fileb://{tmp_path}/plain", *context
        )
        (tmp_path / "blob").write_bytes(base64.b64decode(made["CiphertextBlob"]))
        tenant.aws("kms", "rotate-key-on-demand", "--key-id", key)
        blob = ("--ciphertext-blob", f"fileb://{tmp_path}/blob")
        opened = tenant.aws("kms", "decrypt", *blob, *context)
        assert base64.b64decode(opened["Plaintext"]) == b"four hundred words"
        assert opened["KeyId"] == key
        with pytest.raises(ClientFailed, match=r"InvalidCiphertextException"):
            tenant.aws("kms", "decrypt", *blob)

    def test_a_data_key_and_the_list_of_keys(self, service: KeyService) -> None:
        tenant = service.tenants[0]
        key = tenant.aws("kms", "create-key")["KeyMetadata"]["KeyId"]
        made = tenant.aws("kms", "generate-data-key", "--key-id", key, "--key-spec", "AES_256")
        assert len(base64.b64decode(made["Plaintext"])) == 32
        listed = tenant.aws("kms", "list-keys", "--max-items", "1000")["Keys"]
        assert key in [entry["KeyId"] for entry in listed]

    def test_another_tenant_is_refused(self, service: KeyService) -> None:
        one, two = service.tenants
        key = one.aws("kms", "create-key")["KeyMetadata"]["Arn"]
        with pytest.raises(ClientFailed, match=r"AccessDeniedException|NotFoundException"):
            two.aws("kms", "describe-key", "--key-id", key)


class TestCurl:
    def test_a_request_that_curl_signs_is_answered(self, service: KeyService) -> None:
        tenant = service.tenants[0]
        answer = json.loads(curl(tenant, "GenerateRandom", {"NumberOfBytes": 32}))
        assert len(base64.b64decode(answer["Plaintext"])) == 32

    def test_an_unsigned_request_is_refused(self, service: KeyService) -> None:
        answer = json.loads(curl(service.tenants[0], "ListKeys", {}, signed=False))
        assert answer["__type"] == "MissingAuthenticationTokenException"


def curl(tenant: Tenant, operation: str, body: object, *, signed: bool = True) -> bytes:
    """One request; the credential is handed over on standard input, where no other user sees it."""
    config = f'user = "{tenant.access_key}:{tenant.secret_key}"\naws-sigv4 = "aws:amz:{REGION}:kms"\n'
    command = [
        "curl", "--silent", "--show-error", "--config", "-",
        "--header", f"X-Amz-Target: TrentService.{operation}",
        "--header", "Content-Type: application/x-amz-json-1.1",
        "--data", json.dumps(body),
        tenant.endpoint,
    ]  # fmt: skip
    return tenant.run(*command, stdin=config.encode() if signed else b"")
