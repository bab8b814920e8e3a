"""Requests and responses of the HTTP interface. Strict: unknown fields are refused.

Binary values are base64 in JSON; handles are 34 hex digits in paths and bodies; times are
milliseconds. Sizes are fixed by the formats (``docs/spec/vault.md``).
"""

from __future__ import annotations

from typing import Annotated, Literal

import msgspec
from msgspec import Meta

from hwkm.crypto.knowledge_factor import KfAlgorithm, KfParams, KfType
from hwkm.formats.membership import MEMBERS_MAX, Membership

# Searched for, as JSON Schema says; Python's $ also matches before a last newline, hence (?!\n).
HANDLE_PATTERN = r"^[0-9a-f]{34}$(?!\n)"
ALIAS_PATTERN = r"^[A-Za-z0-9._-]{1,64}$(?!\n)"
NAME_PATTERN = r"^[^\x00-\x1f\x7f-\x9f/]{1,128}$(?!\n)"
APPLICATION_KEYS_MAX = 100
LIST_LIMIT_MAX = 500

Handle = Annotated[str, Meta(pattern=HANDLE_PATTERN, description="vault handle, 17 bytes in hex")]
Alias = Annotated[str, Meta(pattern=ALIAS_PATTERN, description="name of an application key")]
Name = Annotated[str, Meta(pattern=NAME_PATTERN, description="name of a vault, for people")]
Point = Annotated[bytes, Meta(min_length=65, max_length=65)]
Params = Annotated[bytes, Meta(min_length=94, max_length=94)]
Vault = Annotated[bytes, Meta(min_length=157, max_length=157)]
Challenge = Annotated[bytes, Meta(min_length=32, max_length=32)]
Claim = Annotated[bytes, Meta(min_length=143, max_length=143)]
Response = Annotated[bytes, Meta(min_length=92, max_length=92)]
WrappedKey = Annotated[bytes, Meta(min_length=62, max_length=62)]
Metadata = Annotated[bytes, Meta(max_length=4096)]
Salt = Annotated[bytes, Meta(min_length=16, max_length=16)]
Count = Annotated[int, Meta(ge=0, le=2**32 - 1)]
Version = Annotated[int, Meta(ge=1, le=2**31 - 1)]
State = Literal["active", "locked"]


class _Body(msgspec.Struct, frozen=True, forbid_unknown_fields=True, kw_only=True):
    pass


class KnowledgeFactor(_Body, frozen=True, kw_only=True):
    """Which dialog to show, and how the knowledge factor is stretched."""

    type: KfType
    algorithm: KfAlgorithm
    salt: Salt
    memory: Count = 0
    iterations: Count = 0
    lanes: Count = 0

    def params(self) -> KfParams:
        """The checked parameters.

        Raises:
            FormatError: the cost is out of range.
        """
        return KfParams(self.algorithm, self.salt, self.memory, self.iterations, self.lanes)

    @classmethod
    def of(cls, kf_type: KfType, params: KfParams) -> KnowledgeFactor:
        """From checked parameters."""
        return cls(
            type=kf_type,
            algorithm=params.algorithm,
            salt=params.salt,
            memory=params.memory,
            iterations=params.iterations,
            lanes=params.lanes,
        )


class WrappedApplicationKey(_Body, frozen=True, kw_only=True):
    """An application key under the recovery key. Absent and empty metadata are the same."""

    alias: Alias
    wrapped: WrappedKey
    metadata: Metadata = b""


ApplicationKeys = Annotated[tuple[WrappedApplicationKey, ...], Meta(max_length=APPLICATION_KEYS_MAX)]


# --- requests --------------------------------------------------------------------------------


class CreateVault(_Body, frozen=True, kw_only=True):
    """A new sealed vault. The handle is the one in its params."""

    name: Name
    params: Params
    vault: Vault
    knowledge_factor: KnowledgeFactor
    application_keys: ApplicationKeys = ()


class ReplaceVault(_Body, frozen=True, kw_only=True):
    """A new snapshot of a vault: same handle; the same counter id for the same PIN."""

    expected_snapshot_version: Version
    params: Params
    vault: Vault
    knowledge_factor: KnowledgeFactor
    application_keys: ApplicationKeys = ()


class OpenVault(_Body, frozen=True, kw_only=True):
    """A claim on a vault."""

    challenge: Challenge
    claim: Claim


class PutApplicationKey(_Body, frozen=True, kw_only=True):
    """A wrapped application key to store under the alias in the path."""

    wrapped: WrappedKey
    metadata: Metadata = b""
    expected_snapshot_version: Version


class Nothing(_Body, frozen=True, kw_only=True):
    """No fields."""


# --- responses -------------------------------------------------------------------------------


class CohortInfo(_Body, frozen=True, kw_only=True):
    """The cohort that new vaults are made for, and which of its members this is.

    ``member`` is counted from 0. A vault is pinned to one member by its handle.
    """

    public_key: Point
    max_attempts_limit: Count
    member: Count = 0
    members: Annotated[int, Meta(ge=1, le=MEMBERS_MAX)] = 1

    @property
    def membership(self) -> Membership:
        """The checked membership.

        Raises:
            FormatError: there is no such member.
        """
        return Membership(self.member, self.members)


class TokenInfo(_Body, frozen=True, kw_only=True):
    """What the token says of itself."""

    kind: str
    manufacturer: str
    model: str
    label: str
    serial: str
    firmware: str
    nv_bytes_free: int | None = None
    persistent_keys_free: int | None = None
    domain_trusted: bool | None = None


class Status(_Body, frozen=True, kw_only=True):
    """How the daemon is."""

    version: str
    state: Literal["ready", "starting", "halted"]
    detail: str
    cohort: CohortInfo | None
    audit_public_key: bytes
    epoch: Count
    token: TokenInfo | None
    core_restarts: Count
    core_pid: Count
    hardening: tuple[str, ...]
    vaults: Count
    keys: Count
    """Customer master keys that were not deleted."""


class VaultInfo(_Body, frozen=True, kw_only=True):
    """A vault as its owner may see it; nothing secret."""

    handle: Handle
    name: Name
    state: State
    owner_uid: Count
    snapshot_version: Version
    max_attempts: Count
    attempts_remaining: Count
    retry_after_ms: int
    suspended: bool
    knowledge_factor: KnowledgeFactor | None
    application_keys: tuple[Alias, ...]
    created_at_ms: int
    updated_at_ms: int


class VaultList(_Body, frozen=True, kw_only=True):
    """A page of vaults; ``next`` goes into the ``after`` parameter of the next request."""

    vaults: tuple[VaultInfo, ...]
    next: Handle | None


class ChallengeIssued(_Body, frozen=True, kw_only=True):
    """All a claimant needs: challenge, params, how to stretch the knowledge factor."""

    challenge: Challenge
    expires_in_ms: int
    params: Params
    knowledge_factor: KnowledgeFactor
    snapshot_version: Version
    attempts_remaining: Count
    retry_after_ms: int


class VaultOpened(_Body, frozen=True, kw_only=True):
    """The sealed response, and the application keys to unwrap with the recovery key."""

    response: Response
    attempts_remaining: Count
    application_keys: ApplicationKeys


class ApplicationKeyList(_Body, frozen=True, kw_only=True):
    """The wrapped application keys of a vault."""

    snapshot_version: Version
    application_keys: ApplicationKeys


class AuditCheckpoint(_Body, frozen=True, kw_only=True):
    """A signed state of the audit log, as text: keep it to notice a log that was cut or written anew.

    ``log_key`` is the public key that signed it.
    """

    checkpoint: str
    log_key: str
