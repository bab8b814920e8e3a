"""The AWS Encryption SDKs for Python and for JavaScript open each other's files, through hwkmd."""

from __future__ import annotations

import json
from typing import Final

import pytest

from tests.interop.service import KeyService
from tests.interop.tenant import ClientFailed

CONTEXT: Final = json.dumps({"tenant": "one", "file": "letter.txt"})
LETTER: Final = b"Dear reader,\n" * 10_000  # several frames


class TestEncryptionSdk:
    def test_each_decrypts_what_the_other_encrypted_before_and_after_a_rotation(
        self, service: KeyService
    ) -> None:
        tenant = service.tenants[0]
        key = service.new_key(tenant)
        by_python = tenant.python("encryption_sdk.py", "encrypt", key, CONTEXT, stdin=LETTER)
        by_javascript = tenant.node("encryption_sdk.cjs", "encrypt", key, CONTEXT, stdin=LETTER)
        assert LETTER[:100] not in by_python + by_javascript
        assert tenant.node("encryption_sdk.cjs", "decrypt", key, CONTEXT, stdin=by_python) == LETTER
        tenant.kms().rotate_key_on_demand(KeyId=key)
        service.rotate_domain()
        assert tenant.python("encryption_sdk.py", "decrypt", key, CONTEXT, stdin=by_javascript) == LETTER
        assert tenant.python("encryption_sdk.py", "decrypt", key, CONTEXT, stdin=by_python) == LETTER

    def test_a_message_of_one_tenant_is_closed_to_another(self, service: KeyService) -> None:
        one, two = service.tenants
        key = service.new_key(one)
        message = one.python("encryption_sdk.py", "encrypt", key, CONTEXT, stdin=LETTER)
        with pytest.raises(ClientFailed, match=r"Unable to decrypt any data key|DecryptKeyError"):
            two.python("encryption_sdk.py", "decrypt", key, CONTEXT, stdin=message)
        with pytest.raises(ClientFailed):
            two.node("encryption_sdk.cjs", "decrypt", key, CONTEXT, stdin=message)
        assert one.node("encryption_sdk.cjs", "decrypt", key, CONTEXT, stdin=message) == LETTER
