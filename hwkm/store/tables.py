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
