"""A small world around the rules of the key service: one module in memory, keys that rotate."""

from __future__ import annotations

import secrets
from collections.abc import Mapping
from dataclasses import dataclass, field

from hwkm.formats.context import encode_context
from hwkm.formats.key_kind import KeyKind, KeyName
from hwkm.thm.data_keys import begin_opening, begin_sealing
from hwkm.tokens.memory import InsecureAuditKey
from hwkm.tokens.memory_domain import InsecureDomain, new_domain_key

Context = Mapping[str, str]


def memory_domain() -> InsecureDomain:
    """A module with its first domain key, kept nowhere."""
    audit_key = InsecureAuditKey(secrets.token_bytes(32))
    return InsecureDomain((new_domain_key(1),), lambda _keys: None, secrets.token_bytes(32), audit_key)


@dataclass
class Cmk:
    """A customer master key with all its versions, as the store would keep it."""

    domain: InsecureDomain
    kind: KeyKind = KeyKind.SYMMETRIC
    key_id: bytes = field(default_factory=lambda: secrets.token_bytes(16))
    versions: dict[int, bytes] = field(default_factory=dict)

    def __post_init__(self) -> None:
        self.rotate()

    @property
    def current(self) -> int:
        return max(self.versions)

    def name(self, version: int | None = None) -> KeyName:
        return KeyName(self.key_id, version or self.current)

    def rotate(self) -> None:
        name = KeyName(self.key_id, len(self.versions) + 1)
        self.versions[name.version] = self.domain.create(name, self.kind).wrapped

    def rewrap(self) -> None:
        """Bring every version under the newest domain key."""
        for version, wrapped in self.versions.items():
            self.versions[version] = self.domain.rewrap(self.name(version), self.kind, wrapped)

    def hmac(self, version: int, message: bytes) -> bytes:
        loaded = self.domain.load(self.name(version), self.kind, self.versions[version])
        (result,) = loaded.hmac([message])
        loaded.unload()
        return result

    def encrypt(self, plaintext: bytes, context: Context) -> bytes:
        nonce = secrets.token_bytes(16)
        sealing = begin_sealing(self.name(), self.kind, encode_context(context), nonce)
        return sealing.seal(self.hmac(self.current, sealing.derivation()), plaintext)

    def decrypt(self, ciphertext: bytes, context: Context, version: int | None = None) -> bytes:
        version = version or self.current
        opening = begin_opening(self.name(version), self.kind, encode_context(context), ciphertext)
        return opening.open(self.hmac(version, opening.derivation()))
