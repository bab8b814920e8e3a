"""Application keys: 32-byte keys that travel with a vault, wrapped under its recovery key.

Wrapping is Android's (``docs/spec/vault.md``): the metadata is authenticated, not encrypted, and
absent and empty metadata are the same thing. Pure; sees secrets.
"""

from __future__ import annotations

import secrets
from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import Self

from hwkm.errors import DecryptionError, FormatError
from hwkm.formats import vault as boxes
from hwkm.secret import SecretBytes
from hwkm.wire.api import WrappedApplicationKey


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class ApplicationKey:
    """A key of an application: its alias, the key (32 bytes), and metadata (up to 4,096 bytes)."""

    alias: str
    key: SecretBytes
    metadata: bytes = b""

    def __post_init__(self) -> None:
        boxes.check_length("application key", self.key.expose(), boxes.APPLICATION_KEY_BYTES)
        if len(self.metadata) > boxes.METADATA_BYTES_MAX:
            raise FormatError(f"metadata of an application key is at most {boxes.METADATA_BYTES_MAX} bytes")

    @classmethod
    def generate(cls, alias: str, metadata: bytes = b"") -> Self:
        """Draw a new key."""
        return cls(alias, SecretBytes(secrets.token_bytes(boxes.APPLICATION_KEY_BYTES)), metadata)

    def wrap(self, recovery_key: SecretBytes) -> WrappedApplicationKey:
        """Wrap it under a recovery key (32 bytes)."""
        wrapped = boxes.wrap_application_key(recovery_key.expose(), self.key.expose(), self.metadata)
        return WrappedApplicationKey(alias=self.alias, wrapped=wrapped, metadata=self.metadata)

    @classmethod
    def unwrap(cls, recovery_key: SecretBytes, wrapped: WrappedApplicationKey) -> Self:
        """Reverse of :meth:`wrap`.

        Raises:
            DecryptionError: wrapped under another recovery key, with other metadata, or damaged.
        """
        key = boxes.unwrap_application_key(recovery_key.expose(), wrapped.wrapped, wrapped.metadata)
        return cls(wrapped.alias, SecretBytes(key), wrapped.metadata)


@dataclass(frozen=True, slots=True, repr=False, eq=False)
class KeyRing:
    """The application keys that opened, by alias, and the aliases of those that did not."""

    keys: Mapping[str, ApplicationKey] = field(default_factory=dict)
    damaged: tuple[str, ...] = ()

    def wipe(self) -> None:
        """Wipe every key."""
        for key in self.keys.values():
            key.key.wipe()


def unwrap_all(recovery_key: SecretBytes, wrapped: Iterable[WrappedApplicationKey]) -> KeyRing:
    """Unwrap the keys of a vault; one that fails its tag is left out.

    Raises:
        DecryptionError: there was at least one, and all failed (Android's rule).
    """
    keys: dict[str, ApplicationKey] = {}
    damaged: list[str] = []
    for item in wrapped:
        try:
            keys[item.alias] = ApplicationKey.unwrap(recovery_key, item)
        except DecryptionError:
            damaged.append(item.alias)
    if damaged and not keys:
        raise DecryptionError(f"none of the vault's {len(damaged)} application keys opens")
    return KeyRing(keys, tuple(damaged))
