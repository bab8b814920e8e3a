"""What is kept about one vault: sealed bytes and plain facts, never a secret."""

from __future__ import annotations

import hashlib
from dataclasses import dataclass
from enum import StrEnum
from typing import Final

from hwkm.crypto.knowledge_factor import KfParams, KfType
from hwkm.errors import FormatError
from hwkm.formats.vault_params import HANDLE_BYTES, VAULT_PARAMS_BYTES

NAME_CHARACTERS_MAX: Final = 255


class VaultState(StrEnum):
    """Whether there is anything left to open."""

    ACTIVE = "active"
    LOCKED = "locked"


@dataclass(frozen=True, slots=True)
class KnowledgeFactorRecord:
    """Which dialog to show, and how to stretch what is typed into it."""

    kf_type: KfType
    params: KfParams


@dataclass(frozen=True, slots=True)
class ApplicationKeyRecord:
    """An application key wrapped under the recovery key of its vault."""

    alias: str
    wrapped: bytes
    metadata: bytes | None = None

    def __post_init__(self) -> None:
        if not 1 <= len(self.alias) <= NAME_CHARACTERS_MAX:
            raise FormatError(f"an application key's alias has 1 to {NAME_CHARACTERS_MAX} characters")


@dataclass(frozen=True, slots=True)
class VaultRecord:
    """One vault. Times are milliseconds since 1970 (UTC), as told by the caller.

    A locked vault is a tombstone: ``vault`` is empty and ``knowledge_factor`` is None.
    """

    handle: bytes
    name: str
    owner_uid: int
    owner_gid: int
    params: bytes
    vault: bytes
    knowledge_factor: KnowledgeFactorRecord | None
    created_at_ms: int
    updated_at_ms: int
    snapshot_version: int = 1
    state: VaultState = VaultState.ACTIVE

    def __post_init__(self) -> None:
        if len(self.handle) != HANDLE_BYTES:
            raise FormatError(f"a vault handle is {HANDLE_BYTES} bytes")
        check_params(self.params)
        check_name(self.name)
        active = self.state is VaultState.ACTIVE
        if bool(self.vault) != active or (self.knowledge_factor is not None) != active:
            raise FormatError("an active vault has a blob and a knowledge factor, a locked one has neither")

    @property
    def vault_digest(self) -> bytes | None:
        """SHA-256 of the vault blob (32 bytes), or None for a locked vault."""
        return vault_digest(self.vault) if self.vault else None


def vault_digest(vault: bytes) -> bytes:
    """Return SHA-256 of a vault blob, 32 bytes.

    Raises:
        FormatError: the blob is empty.
    """
    if not vault:
        raise FormatError("a vault blob is not empty")
    return hashlib.sha256(vault).digest()


def check_params(params: bytes) -> None:
    """Refuse vault params that are not 94 bytes.

    Raises:
        FormatError: they are not.
    """
    if len(params) != VAULT_PARAMS_BYTES:
        raise FormatError(f"vault params are {VAULT_PARAMS_BYTES} bytes")


def check_name(name: str) -> None:
    """Refuse an empty name, or one of more than 255 characters.

    Raises:
        FormatError: it is.
    """
    if not 1 <= len(name) <= NAME_CHARACTERS_MAX:
        raise FormatError(f"a vault's name has 1 to {NAME_CHARACTERS_MAX} characters")
