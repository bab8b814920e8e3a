"""Between records and database rows. A row is untrusted: it is checked like any input."""

from __future__ import annotations

from collections.abc import Mapping, Sequence
from typing import Any, Final

from hwkm.crypto.knowledge_factor import KfAlgorithm, KfParams, KfType
from hwkm.errors import FormatError, StorageMismatch
from hwkm.store.tables import application_keys, vaults
from hwkm.store.vault_record import (
    ApplicationKeyRecord,
    KnowledgeFactorRecord,
    VaultRecord,
    VaultState,
)

# In the order in which record_of and key_of take them apart.
VAULT_COLUMNS: Final = (
    vaults.c.handle,
    vaults.c.name,
    vaults.c.owner_uid,
    vaults.c.owner_gid,
    vaults.c.params,
    vaults.c.vault,
    vaults.c.vault_digest,
    vaults.c.kf_type,
    vaults.c.kf_algorithm,
    vaults.c.kf_salt,
    vaults.c.kf_memory,
    vaults.c.kf_iterations,
    vaults.c.kf_lanes,
    vaults.c.snapshot_version,
    vaults.c.state,
    vaults.c.created_at_ms,
    vaults.c.updated_at_ms,
)
_DIGEST: Final = 6
KEY_COLUMNS: Final = (
    application_keys.c.alias,
    application_keys.c.wrapped,
    application_keys.c.metadata,
)

NO_KNOWLEDGE_FACTOR: Final[Mapping[str, None]] = dict.fromkeys(
    ("kf_type", "kf_algorithm", "kf_salt", "kf_memory", "kf_iterations", "kf_lanes")
)


def row_of(record: VaultRecord) -> dict[str, Any]:
    """Return the column values of a vault."""
    return {
        "handle": record.handle,
        "name": record.name,
        "owner_uid": record.owner_uid,
        "owner_gid": record.owner_gid,
        "params": record.params,
        "vault": record.vault or None,
        "vault_digest": record.vault_digest,
        **knowledge_factor_row(record.knowledge_factor),
        "snapshot_version": record.snapshot_version,
        "state": record.state.value,
        "created_at_ms": record.created_at_ms,
        "updated_at_ms": record.updated_at_ms,
    }


def knowledge_factor_row(factor: KnowledgeFactorRecord | None) -> Mapping[str, Any]:
    """Return the ``kf_`` column values."""
    if factor is None:
        return NO_KNOWLEDGE_FACTOR
    return {
        "kf_type": factor.kf_type.value,
        "kf_algorithm": factor.params.algorithm.value,
        "kf_salt": factor.params.salt,
        "kf_memory": factor.params.memory,
        "kf_iterations": factor.params.iterations,
        "kf_lanes": factor.params.lanes,
    }


def key_row_of(handle: bytes, key: ApplicationKeyRecord) -> dict[str, Any]:
    """Return the column values of an application key."""
    return {"handle": handle, "alias": key.alias, "wrapped": key.wrapped, "metadata": key.metadata}


def record_of(row: Sequence[Any]) -> VaultRecord:
    """Return the vault in a row of ``VAULT_COLUMNS``.

    Raises:
        StorageMismatch: the row is damaged. Handing out a vault with a flipped bit would cost
            its owner an attempt, so the digest is compared here.
    """
    try:
        record = _record(row)
        if record.vault_digest == row[_DIGEST]:
            return record
    except (FormatError, ValueError, TypeError, KeyError) as exc:
        raise StorageMismatch("a vault in the record database is damaged") from exc
    raise StorageMismatch(f"vault {record.handle.hex()} in the record database is damaged: wrong digest")


def key_of(row: Sequence[Any]) -> ApplicationKeyRecord:
    """Return the application key in a row of ``KEY_COLUMNS``.

    Raises:
        StorageMismatch: the row is damaged.
    """
    alias, wrapped, metadata = row
    if not (isinstance(alias, str) and isinstance(wrapped, bytes) and isinstance(metadata, bytes | None)):
        raise StorageMismatch("an application key in the record database is damaged")
    return ApplicationKeyRecord(alias, wrapped, metadata)


def _record(row: Sequence[Any]) -> VaultRecord:
    handle, name, uid, gid, params, vault, _digest, *factor, version, state, created, updated = row
    return VaultRecord(
        handle, name, uid, gid, params, vault or b"", _knowledge_factor(factor), created, updated,
        version, VaultState(state),
    )  # fmt: skip


def _knowledge_factor(columns: Sequence[Any]) -> KnowledgeFactorRecord | None:
    kf_type, algorithm, salt, memory, iterations, lanes = columns
    if kf_type is None:
        return None
    params = KfParams(KfAlgorithm(algorithm), salt, memory, iterations, lanes)
    return KnowledgeFactorRecord(KfType(kf_type), params)
