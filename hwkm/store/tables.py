"""The tables of the record database, as the newest migration leaves them.

Only portable types and constraints, so that the same statements run on SQLite and PostgreSQL.
"""

from __future__ import annotations

from typing import Final

from sqlalchemy import (
    BigInteger,
    CheckConstraint,
    Column,
    ForeignKey,
    Index,
    Integer,
    LargeBinary,
    MetaData,
    String,
    Table,
    UniqueConstraint,
)

metadata: Final = MetaData(
    naming_convention={
        "pk": "pk_%(table_name)s",
        "fk": "fk_%(table_name)s_%(referred_table_name)s",
        "uq": "uq_%(table_name)s_%(column_0_N_name)s",
        "ck": "ck_%(table_name)s_%(constraint_name)s",
    }
)

vaults: Final = Table(
    "vaults",
    metadata,
    Column("handle", LargeBinary(17), primary_key=True),
    Column("name", String(255), nullable=False),
    Column("owner_uid", BigInteger, nullable=False),
    Column("owner_gid", BigInteger, nullable=False),
    Column("params", LargeBinary(94), nullable=False),
    Column("vault", LargeBinary),
    Column("vault_digest", LargeBinary(32)),
    Column("kf_type", String(16)),
    Column("kf_algorithm", String(16)),
    Column("kf_salt", LargeBinary),
    Column("kf_memory", Integer),
    Column("kf_iterations", Integer),
    Column("kf_lanes", Integer),
    Column("snapshot_version", Integer, nullable=False),
    Column("state", String(16), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
    UniqueConstraint("name", "owner_uid"),
    CheckConstraint("length(handle) = 17", name="handle"),
    CheckConstraint("length(params) = 94", name="params"),
    CheckConstraint("snapshot_version >= 1", name="snapshot_version"),
    CheckConstraint("state IN ('active', 'locked')", name="state"),
    CheckConstraint("(state = 'active') = (vault IS NOT NULL)", name="sealed"),
)

# A page of one owner's vaults is read without looking at those of others.
Index("ix_vaults_owner_uid_handle", vaults.c.owner_uid, vaults.c.handle)

application_keys: Final = Table(
    "application_keys",
    metadata,
    Column("handle", ForeignKey("vaults.handle", ondelete="CASCADE"), primary_key=True),
    Column("alias", String(255), primary_key=True),
    Column("wrapped", LargeBinary, nullable=False),
    Column("metadata", LargeBinary),
)

# --- the key service -------------------------------------------------------------------------

# SQLite numbers rows by itself only in a column of exactly this type.
ROW_NUMBER: Final = BigInteger().with_variant(Integer, "sqlite")

keys: Final = Table(
    "keys",
    metadata,
    Column("key_id", LargeBinary(16), primary_key=True),
    Column("account", String(12), nullable=False),
    Column("kind", String(32), nullable=False),
    Column("state", String(16), nullable=False),
    Column("description", String(8192), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("rotation_period_days", Integer),
    Column("next_rotation_at_ms", BigInteger),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("deletion_at_ms", BigInteger),
    Column("last_operation", String(64)),
    Column("last_used_at_ms", BigInteger),
    CheckConstraint("length(key_id) = 16", name="key_id"),
    CheckConstraint("length(account) = 12", name="account"),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint(
        "state IN ('enabled', 'disabled', 'pending_deletion', 'deleted')",
        name="state",
    ),
    CheckConstraint(
        "(state IN ('pending_deletion', 'deleted')) = (deletion_at_ms IS NOT NULL)", name="deletion"
    ),
    CheckConstraint("(rotation_period_days IS NULL) = (next_rotation_at_ms IS NULL)", name="rotation"),
    CheckConstraint("(last_operation IS NULL) = (last_used_at_ms IS NULL)", name="last_use"),
)
Index("ix_keys_account_key_id", keys.c.account, keys.c.key_id)
Index("ix_keys_state_deletion_at_ms", keys.c.state, keys.c.deletion_at_ms)
Index("ix_keys_next_rotation_at_ms", keys.c.next_rotation_at_ms)

key_versions: Final = Table(
    "key_versions",
    metadata,
    Column("key_id", ForeignKey("keys.key_id"), primary_key=True),
    Column("version", BigInteger, primary_key=True),
    Column("wrapped", LargeBinary),
    Column("public_key", LargeBinary, nullable=False),
    Column("generation", BigInteger, nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("cause", String(16), nullable=False),
    CheckConstraint("version >= 1", name="version"),
    CheckConstraint("generation >= 1", name="generation"),
    CheckConstraint("cause IN ('created', 'automatic', 'on_demand')", name="cause"),
)
# What is still wrapped under an older domain key is found without reading the rest.
Index("ix_key_versions_generation", key_versions.c.generation, key_versions.c.key_id, key_versions.c.version)

key_aliases: Final = Table(
    "key_aliases",
    metadata,
    Column("account", String(12), primary_key=True),
    Column("alias", String(256), primary_key=True),
    Column("key_id", ForeignKey("keys.key_id"), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    Column("updated_at_ms", BigInteger, nullable=False),
)
Index("ix_key_aliases_key_id", key_aliases.c.key_id)

key_tags: Final = Table(
    "key_tags",
    metadata,
    Column("key_id", ForeignKey("keys.key_id"), primary_key=True),
    Column("name", String(128), primary_key=True),
    Column("value", String(256), nullable=False),
)

recorded_data_keys: Final = Table(
    "recorded_data_keys",
    metadata,
    Column("number", ROW_NUMBER, primary_key=True, autoincrement=True),
    Column("key_id", ForeignKey("keys.key_id"), nullable=False),
    Column("version", BigInteger, nullable=False),
    Column("digest", LargeBinary(32), nullable=False),
    Column("label", String(256), nullable=False),
    Column("created_at_ms", BigInteger, nullable=False),
    UniqueConstraint("key_id", "digest"),
    CheckConstraint("length(digest) = 32", name="digest"),
)
Index("ix_recorded_data_keys_key_id_number", recorded_data_keys.c.key_id, recorded_data_keys.c.number)

# A rotation of the domain key to ``generation``. One without an end is gone on with after a crash.
domain_rotations: Final = Table(
    "domain_rotations",
    metadata,
    Column("generation", BigInteger, primary_key=True, autoincrement=False),
    Column("started_at_ms", BigInteger, nullable=False),
    Column("finished_at_ms", BigInteger),
)
