"""What a handler is given."""

from __future__ import annotations

import re
import time
from collections.abc import Mapping
from dataclasses import dataclass, field
from typing import Final, Generic, TypeVar

import msgspec

from hwkm.errors import FormatError, VaultNotFound
from hwkm.server.audit_writer import AuditWriter
from hwkm.server.checkpoints import Checkpoints
from hwkm.server.core_calls import CoreCalls
from hwkm.server.keys.book import KeyBook
from hwkm.server.keys.domain import DomainRotation
from hwkm.server.keys.moving import KeyMoving
from hwkm.server.keys.principal import KeyCall
from hwkm.server.keys.service import KeyService
from hwkm.server.limits import OpenChallenges
from hwkm.server.metrics import Metrics
from hwkm.server.peer import Peer
from hwkm.server.policy import Scope
from hwkm.server.record_thread import RecordThread, VaultSnapshot
from hwkm.server.supervisor import CoreSupervisor
from hwkm.wire.api import HANDLE_PATTERN

Body_co = TypeVar("Body_co", bound=msgspec.Struct, covariant=True)

_HANDLE: Final = re.compile(HANDLE_PATTERN)


@dataclass(frozen=True, slots=True)
class Desk:
    """Everything the daemon has, for its handlers."""

    core: CoreCalls
    supervisor: CoreSupervisor
    records: RecordThread
    audit: AuditWriter
    checkpoints: Checkpoints
    challenges: OpenChallenges
    metrics: Metrics
    keys: KeyService
    domain: DomainRotation
    moving: KeyMoving
    book: KeyBook
    account: str
    max_attempts_limit: int
    vaults_per_uid: int


@dataclass(slots=True)
class Call(Generic[Body_co]):
    """One authorised request. ``vault`` is the handle it is about, for the audit log.

    ``key_call`` is there for operations of the key service.
    """

    peer: Peer
    path: Mapping[str, str]
    query: Mapping[str, str] = field(default_factory=dict)
    scope: Scope = Scope.OWN
    vault: bytes | None = None
    body: Body_co = field(init=False)
    key_call: KeyCall | None = None

    @property
    def keys(self) -> KeyCall:
        """The request as the key service takes it."""
        assert self.key_call is not None, "the dispatch makes it for every operation on keys"
        return self.key_call

    @property
    def owner_uid(self) -> int | None:
        """Whose vaults the caller may see; None stands for everybody's."""
        return self.peer.uid if self.scope is Scope.OWN else None


def now_ms() -> int:
    """Wall-clock time, for people: milliseconds since 1970, UTC."""
    return time.time_ns() // 1_000_000


def parse_handle(text: str) -> bytes:
    """Read a vault handle.

    Raises:
        FormatError: it is not 34 lower-case hex digits.
    """
    if not _HANDLE.fullmatch(text):
        raise FormatError("a vault handle is 34 hex digits, in lower case")
    return bytes.fromhex(text)


async def visible_vault(desk: Desk, call: Call[msgspec.Struct]) -> VaultSnapshot:
    """Return the vault in the path of the call.

    Raises:
        VaultNotFound: there is none, or not for this caller: the same answer, so that nobody
            learns of other people's vaults.
    """
    assert call.vault is not None, "the path names a vault"
    snapshot = await desk.records.snapshot(call.vault)
    if call.owner_uid not in (None, snapshot.record.owner_uid):
        raise VaultNotFound(f"no vault {call.vault.hex()}")
    return snapshot


async def vault_to_open(desk: Desk, call: Call[msgspec.Struct]) -> VaultSnapshot:
    """Return the vault in the path of the call, which is to be opened here. The core checks that again.

    Raises:
        VaultNotFound: as :func:`visible_vault`.
        VaultElsewhere: it is pinned to another member of the cohort.
        Busy: the core is restarting.
    """
    snapshot = await visible_vault(desk, call)
    desk.core.membership.verify_owns(snapshot.record.handle)
    return snapshot
