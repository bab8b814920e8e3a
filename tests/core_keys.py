"""Customer master keys of a real core, driven over its channel; the test plays the store."""

from __future__ import annotations

import secrets
from dataclasses import dataclass, field
from typing import TypeVar

from hwkm.formats.context import encode_context
from hwkm.formats.key_kind import KeyKind
from hwkm.wire import core_messages as wire
from hwkm.wire import key_messages as keys
from hwkm.wire.key_messages import KeyRef
from tests.core_process import CoreProcess
from tests.key_world import Context

Reply = TypeVar("Reply")

TENANT: Context = {"tenant": "mint"}
OTHER: Context = {"tenant": "acme"}


def ask(core: CoreProcess, request: keys.KeyRequest, kind: type[Reply]) -> Reply:
    """A reply of the kind that the request is answered with."""
    reply = core.call(request)
    assert isinstance(reply, kind), reply
    return reply


def refusal(core: CoreProcess, request: keys.KeyRequest) -> str:
    """The code that the core refuses with."""
    return ask(core, request, wire.Failed).code


@dataclass
class StoredKey:
    """A customer master key with all its versions."""

    kind: KeyKind = KeyKind.SYMMETRIC
    key_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    refs: list[KeyRef] = field(default_factory=list)
    public_key: bytes = b""

    @property
    def current(self) -> KeyRef:
        return self.refs[-1]

    def rotate(self, core: CoreProcess) -> keys.KeyCreated:
        """Make the next version."""
        version = len(self.refs) + 1
        request = keys.CreateKey(key_id=self.key_id, version=version, kind=self.kind)
        made = ask(core, request, keys.KeyCreated)
        self.refs.append(KeyRef(self.key_id, version, self.kind, made.wrapped))
        self.public_key = made.public_key
        return made

    def rewrap(self, core: CoreProcess) -> int:
        """Bring every version under the newest domain key, whose generation is returned."""
        done = ask(core, keys.RewrapKeys(keys=tuple(self.refs)), keys.KeysRewrapped)
        for index, wrapped in enumerate(done.items):
            assert wrapped is not None
            old = self.refs[index]
            self.refs[index] = KeyRef(old.key_id, old.version, old.kind, wrapped)
        return done.generation


def create(core: CoreProcess, kind: KeyKind = KeyKind.SYMMETRIC) -> StoredKey:
    """A new key with its first version."""
    key = StoredKey(kind)
    key.rotate(core)
    return key


def generate(core: CoreProcess, key: StoredKey, context: Context = TENANT) -> keys.DataKey:
    item = keys.DataKeyItem(encode_context(context), 32)
    (made,) = ask(core, keys.GenerateDataKeys(key=key.current, items=(item,)), keys.DataKeys).items
    return made


def decrypting(key: StoredKey, ciphertext: bytes, context: Context = TENANT) -> keys.DecryptData:
    """The request, with the version that the ciphertext names; the newest if it names none of them."""
    version = int.from_bytes(ciphertext[17:21], "big")
    ref = key.refs[version - 1] if 1 <= version <= len(key.refs) else key.current
    item = keys.DecryptItem(0, encode_context(context), ciphertext)
    return keys.DecryptData(keys=(ref,), items=(item,))


def decrypt(core: CoreProcess, key: StoredKey, ciphertext: bytes, context: Context = TENANT) -> bytes | None:
    (plaintext,) = ask(core, decrypting(key, ciphertext, context), keys.Plaintexts).items
    return plaintext
