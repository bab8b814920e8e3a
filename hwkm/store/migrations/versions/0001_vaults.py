"""Vaults and the application keys wrapped under their recovery keys."""

import sqlalchemy as sa
from alembic import op

revision = "0001"
down_revision = None
branch_labels = None
depends_on = None


def upgrade() -> None:
    op.create_table(
        "vaults",
        sa.Column("handle", sa.LargeBinary(17), nullable=False),
        sa.Column("name", sa.String(255), nullable=False),
        sa.Column("owner_uid", sa.BigInteger, nullable=False),
        sa.Column("owner_gid", sa.BigInteger, nullable=False),
        sa.Column("params", sa.LargeBinary(94), nullable=False),
        sa.Column("vault", sa.LargeBinary),
        sa.Column("vault_digest", sa.LargeBinary(32)),
        sa.Column("kf_type", sa.String(16)),
        sa.Column("kf_algorithm", sa.String(16)),
        sa.Column("kf_salt", sa.LargeBinary),
        sa.Column("kf_memory", sa.Integer),
        sa.Column("kf_iterations", sa.Integer),
        sa.Column("kf_lanes", sa.Integer),
        sa.Column("snapshot_version", sa.Integer, nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("handle", name="pk_vaults"),
        sa.UniqueConstraint("name", "owner_uid", name="uq_vaults_name_owner_uid"),
        sa.CheckConstraint("length(handle) = 17", name=op.f("ck_vaults_handle")),
        sa.CheckConstraint("length(params) = 94", name=op.f("ck_vaults_params")),
        sa.CheckConstraint("snapshot_version >= 1", name=op.f("ck_vaults_snapshot_version")),
        sa.CheckConstraint("state IN ('active', 'locked')", name=op.f("ck_vaults_state")),
        sa.CheckConstraint("(state = 'active') = (vault IS NOT NULL)", name=op.f("ck_vaults_sealed")),
    )
    op.create_index("ix_vaults_owner_uid_handle", "vaults", ["owner_uid", "handle"])
    op.create_table(
        "application_keys",
        sa.Column("handle", sa.LargeBinary(17), nullable=False),
        sa.Column("alias", sa.String(255), nullable=False),
        sa.Column("wrapped", sa.LargeBinary, nullable=False),
        sa.Column("metadata", sa.LargeBinary),
        sa.PrimaryKeyConstraint("handle", "alias", name="pk_application_keys"),
        sa.ForeignKeyConstraint(
            ["handle"], ["vaults.handle"], name="fk_application_keys_vaults", ondelete="CASCADE"
        ),
    )


def downgrade() -> None:
    op.drop_table("application_keys")
    op.drop_table("vaults")
