"""The AWS SDK for JavaScript maps hwkmd's refusals to its own exception classes."""

from __future__ import annotations

import base64
import json
from typing import Any

from tests.interop.service import KeyService


def blob(data: bytes) -> dict[str, str]:
    return {"base64": base64.b64encode(data).decode()}


class TestJavaScript:
    def test_refusals_arrive_as_the_exceptions_of_the_sdk(self, service: KeyService) -> None:
        tenant = service.tenants[0]
        kms = tenant.kms()
        key, disabled = service.new_key(tenant), service.new_key(tenant)
        kms.disable_key(KeyId=disabled)
        sealed = kms.encrypt(KeyId=key, Plaintext=b"x", EncryptionContext={"a": "b"})["CiphertextBlob"]
        requests: dict[str, list[Any]] = {
            "NotFoundException": ["DescribeKey", {"KeyId": "00000000-0000-4000-8000-000000000000"}],
            "DisabledException": ["Encrypt", {"KeyId": disabled, "Plaintext": blob(b"x")}],
            "InvalidCiphertextException": ["Decrypt", {"CiphertextBlob": blob(sealed)}],
            "InvalidKeyUsageException": [
                "Sign",
                {"KeyId": key, "Message": blob(b"x"), "SigningAlgorithm": "ECDSA_SHA_256"},
            ],
            "AlreadyExistsException": ["CreateAlias", {"AliasName": "alias/twice", "TargetKeyId": key}],
            "UnsupportedOperationException": ["DescribeCustomKeyStores", {}],
        }
        kms.create_alias(AliasName="alias/twice", TargetKeyId=key)
        outcomes = json.loads(
            tenant.node("kms_errors.cjs", stdin=json.dumps(list(requests.values())).encode())
        )
        assert [outcome["name"] for outcome in outcomes] == list(requests)
        assert all(outcome["modelled"] and outcome["status"] == 400 for outcome in outcomes)
        assert len({outcome["requestId"] for outcome in outcomes}) == len(requests)
        assert f"{disabled} is disabled." in outcomes[1]["message"]

    def test_what_succeeds_raises_nothing(self, service: KeyService) -> None:
        requests = json.dumps([["GenerateRandom", {"NumberOfBytes": 8}], ["ListKeys", {}]])
        assert json.loads(service.tenants[0].node("kms_errors.cjs", stdin=requests.encode())) == [None, None]
