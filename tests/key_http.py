"""The operations on keys as plain calls over HTTP: typed request in, typed response or typed error out."""

from __future__ import annotations

from typing import Any, Final

import httpx
import msgspec

from hwkm.wire import key_api as api
from hwkm.wire.operations import OPERATIONS
from hwkm.wire.problems import ProblemBody, error_of

_OPERATIONS: Final = {operation.name: operation for operation in OPERATIONS}


class KeyHttp:
    """One connection. ``call("key.show", key=...)`` sends any operation; the rest are short forms."""

    def __init__(self, http: httpx.Client) -> None:
        self.http = http

    def call(self, name: str, **fields: Any) -> Any:
        operation = _OPERATIONS[name]
        body = msgspec.json.encode(operation.request(**fields)) if operation.method == "POST" else None
        answer = self.http.request(operation.method, operation.path, content=body)
        if answer.status_code != 200:
            raise error_of(msgspec.json.decode(answer.content, type=ProblemBody).error)
        return msgspec.json.decode(answer.content, type=operation.response)

    def create(self, **fields: Any) -> api.KeyInfo:
        made = self.call("key.create", **fields)
        assert isinstance(made, api.KeyInfo)
        return made

    def show(self, key: str) -> api.KeyInfo:
        shown = self.call("key.show", key=key)
        assert isinstance(shown, api.KeyInfo)
        return shown

    def generate(self, key: str, length: int = 32, record: str = "", **context: str) -> api.DataKey:
        wanted = api.DataKeyWanted(context=context, length=length, record=record)
        made = self.call("key.generate_data_key", key=key, items=(wanted,))
        assert isinstance(made, api.DataKeys)
        return made.items[0]

    def encrypt(self, key: str, plaintext: bytes, **context: str) -> bytes:
        item = api.PlaintextItem(plaintext=plaintext, context=context)
        made = self.call("key.encrypt", key=key, items=(item,))
        assert isinstance(made, api.Encrypted)
        return made.items[0]

    def decrypt(self, ciphertext: bytes, key: str | None = None, **context: str) -> bytes:
        item = api.CiphertextItem(ciphertext=ciphertext, context=context)
        opened = self.call("key.decrypt", key=key, items=(item,))
        assert isinstance(opened, api.Decrypted)
        plaintext = opened.items[0].plaintext
        assert plaintext is not None
        return plaintext

    def re_encrypt(
        self, ciphertext: bytes, key: str, new_context: dict[str, str] | None = None, **context: str
    ) -> bytes:
        item = api.ReEncryptItem(ciphertext=ciphertext, context=context, new_context=new_context)
        made = self.call("key.re_encrypt", key=key, items=(item,))
        assert isinstance(made, api.ReEncrypted)
        new = made.items[0].ciphertext
        assert new is not None
        return new
