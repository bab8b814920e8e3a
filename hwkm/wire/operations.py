"""The table of operations: name, method, path, types. Routes, client and OpenAPI come from it."""

from __future__ import annotations

from dataclasses import dataclass
from typing import Final

import msgspec

from hwkm.wire import api


@dataclass(frozen=True, slots=True)
class Operation:
    """One operation. ``name`` is also the word in policy files and the audit log."""

    name: str
    method: str
    path: str
    summary: str
    request: type[msgspec.Struct]
    response: type[msgspec.Struct]
    query: tuple[str, ...] = ()


STATUS: Final = Operation("status", "GET", "/v1/status", "How the daemon is.", api.Nothing, api.Status)
COHORT: Final = Operation(
    "cohort", "GET", "/v1/cohort", "The key that vaults are made for.", api.Nothing, api.CohortInfo
)
VAULT_CREATE: Final = Operation(
    "vault.create", "POST", "/v1/vaults", "Store a new sealed vault.", api.CreateVault, api.VaultInfo
)
VAULT_LIST: Final = Operation(
    "vault.list",
    "GET",
    "/v1/vaults",
    "List vaults, a page at a time.",
    api.Nothing,
    api.VaultList,
    query=("name", "after", "limit"),
)
VAULT_SHOW: Final = Operation(
    "vault.show", "GET", "/v1/vaults/{handle}", "Show a vault.", api.Nothing, api.VaultInfo
)
VAULT_REPLACE: Final = Operation(
    "vault.replace",
    "PUT",
    "/v1/vaults/{handle}",
    "Store a new snapshot of a vault.",
    api.ReplaceVault,
    api.VaultInfo,
)
VAULT_DELETE: Final = Operation(
    "vault.delete", "DELETE", "/v1/vaults/{handle}", "Delete a vault.", api.Nothing, api.Nothing
)
VAULT_CHALLENGE: Final = Operation(
    "vault.challenge",
    "POST",
    "/v1/vaults/{handle}/challenge",
    "Ask for a challenge to open a vault.",
    api.Nothing,
    api.ChallengeIssued,
)
VAULT_OPEN: Final = Operation(
    "vault.open",
    "POST",
    "/v1/vaults/{handle}/open",
    "Present a claim; costs an attempt.",
    api.OpenVault,
    api.VaultOpened,
)
VAULT_RESUME: Final = Operation(
    "vault.resume",
    "POST",
    "/v1/vaults/{handle}/resume",
    "Let a vault suspended after hardware faults be opened again.",
    api.Nothing,
    api.VaultInfo,
)
APPLICATION_KEY_LIST: Final = Operation(
    "application_key.list",
    "GET",
    "/v1/vaults/{handle}/application-keys",
    "List the wrapped application keys of a vault.",
    api.Nothing,
    api.ApplicationKeyList,
)
APPLICATION_KEY_PUT: Final = Operation(
    "application_key.put",
    "PUT",
    "/v1/vaults/{handle}/application-keys/{alias}",
    "Store a wrapped application key.",
    api.PutApplicationKey,
    api.VaultInfo,
)
APPLICATION_KEY_DELETE: Final = Operation(
    "application_key.delete",
    "DELETE",
    "/v1/vaults/{handle}/application-keys/{alias}",
    "Delete a wrapped application key.",
    api.Nothing,
    api.VaultInfo,
)
AUDIT_HEAD: Final = Operation(
    "audit.head", "GET", "/v1/audit/head", "The newest audit record.", api.Nothing, api.AuditHead
)

OPERATIONS: Final = (
    STATUS,
    COHORT,
    VAULT_CREATE,
    VAULT_LIST,
    VAULT_SHOW,
    VAULT_REPLACE,
    VAULT_DELETE,
    VAULT_CHALLENGE,
    VAULT_OPEN,
    VAULT_RESUME,
    APPLICATION_KEY_LIST,
    APPLICATION_KEY_PUT,
    APPLICATION_KEY_DELETE,
    AUDIT_HEAD,
)
