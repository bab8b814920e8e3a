"""What is kept about one customer master key. The key itself is in it only wrapped by the hardware."""

from __future__ import annotations

from collections.abc import Mapping
from dataclasses import dataclass, field
from enum import StrEnum
from types import MappingProxyType
from typing import Final

from hwkm.formats.key_kind import KeyKind

EMPTY: Final[Mapping[str, str]] = MappingProxyType({})


class KeyState(StrEnum):
    """Where a key is in its life."""

    ENABLED = "enabled"
    DISABLED = "disabled"
    PENDING_DELETION = "pending_deletion"
    DELETED = "deleted"


class VersionCause(StrEnum):
    """Why a version of a key was made."""

    CREATED = "created"
    AUTOMATIC = "automatic"
    ON_DEMAND = "on_demand"


@dataclass(frozen=True, slots=True)
class KeyRecord:
    """A key. Times are milliseconds since 1970 (UTC). ``version`` is the current one.

    ``deletion_at_ms`` is when it will be deleted, or was; ``last_use`` is operation and time, a
    little behind the truth after a crash.
    """

    key_id: bytes
    account: str
    kind: KeyKind
    state: KeyState
    description: str
    version: int
    rotation_period_days: int | None
    next_rotation_at_ms: int | None
    created_at_ms: int
    deletion_at_ms: int | None = None
    last_use: tuple[str, int] | None = None


@dataclass(frozen=True, slots=True)
class VersionRecord:
    """One version of a key, under the domain key of ``generation``. ``wrapped`` is empty once erased."""

    key_id: bytes
    version: int
    wrapped: bytes
    public_key: bytes
    generation: int
    created_at_ms: int
    cause: VersionCause


@dataclass(frozen=True, slots=True)
class AliasRecord:
    """A name of a key, unique in its account; ``alias`` begins with ``alias/``."""

    account: str
    alias: str
    key_id: bytes
    created_at_ms: int
    updated_at_ms: int


@dataclass(frozen=True, slots=True)
class RecordedKey:
    """A data key that was recorded. ``digest`` is SHA-256 of its ciphertext; ``number`` grows."""

    number: int
    version: int
    digest: bytes
    label: str
    created_at_ms: int


@dataclass(frozen=True, slots=True)
class KeySnapshot:
    """A key and what belongs to it, read at one moment."""

    record: KeyRecord
    current: VersionRecord
    aliases: tuple[str, ...] = ()
    tags: Mapping[str, str] = field(default_factory=lambda: EMPTY)
