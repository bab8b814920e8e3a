"""Customer master keys: their life, versions, aliases, tags, and data keys recorded under labels."""

import sqlalchemy as sa
from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    _keys()
    _versions()
    _aliases()
    _tags()
    _recorded()
    _domain_rotations()


def downgrade() -> None:
    for table in (
        "domain_rotations",
        "recorded_data_keys",
        "key_tags",
        "key_aliases",
        "key_versions",
        "keys",
    ):
        op.drop_table(table)


def _keys() -> None:
    op.create_table(
        "keys",
        sa.Column("key_id", sa.LargeBinary(16), nullable=False),
        sa.Column("account", sa.String(12), nullable=False),
        sa.Column("kind", sa.String(32), nullable=False),
        sa.Column("state", sa.String(16), nullable=False),
        sa.Column("description", sa.String(8192), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("rotation_period_days", sa.Integer),
        sa.Column("next_rotation_at_ms", sa.BigInteger),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("deletion_at_ms", sa.BigInteger),
        sa.Column("last_operation", sa.String(64)),
        sa.Column("last_used_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("key_id", name="pk_keys"),
        sa.CheckConstraint("length(key_id) = 16", name=op.f("ck_keys_key_id")),
        sa.CheckConstraint("length(account) = 12", name=op.f("ck_keys_account")),
        sa.CheckConstraint("version >= 1", name=op.f("ck_keys_version")),
        sa.CheckConstraint(
            "state IN ('enabled', 'disabled', 'pending_deletion', 'deleted')", name=op.f("ck_keys_state")
        ),
        sa.CheckConstraint(
            "(state IN ('pending_deletion', 'deleted')) = (deletion_at_ms IS NOT NULL)",
            name=op.f("ck_keys_deletion"),
        ),
        sa.CheckConstraint(
            "(rotation_period_days IS NULL) = (next_rotation_at_ms IS NULL)", name=op.f("ck_keys_rotation")
        ),
        sa.CheckConstraint(
            "(last_operation IS NULL) = (last_used_at_ms IS NULL)", name=op.f("ck_keys_last_use")
        ),
    )
    op.create_index("ix_keys_account_key_id", "keys", ["account", "key_id"])
    op.create_index("ix_keys_state_deletion_at_ms", "keys", ["state", "deletion_at_ms"])
    op.create_index("ix_keys_next_rotation_at_ms", "keys", ["next_rotation_at_ms"])


def _versions() -> None:
    op.create_table(
        "key_versions",
        sa.Column("key_id", sa.LargeBinary(16), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("wrapped", sa.LargeBinary),
        sa.Column("public_key", sa.LargeBinary, nullable=False),
        sa.Column("generation", sa.BigInteger, nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("cause", sa.String(16), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "version", name="pk_key_versions"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.key_id"], name="fk_key_versions_keys"),
        sa.CheckConstraint("version >= 1", name=op.f("ck_key_versions_version")),
        sa.CheckConstraint("generation >= 1", name=op.f("ck_key_versions_generation")),
        sa.CheckConstraint(
            "cause IN ('created', 'automatic', 'on_demand')", name=op.f("ck_key_versions_cause")
        ),
    )
    op.create_index("ix_key_versions_generation", "key_versions", ["generation", "key_id", "version"])


def _aliases() -> None:
    op.create_table(
        "key_aliases",
        sa.Column("account", sa.String(12), nullable=False),
        sa.Column("alias", sa.String(256), nullable=False),
        sa.Column("key_id", sa.LargeBinary(16), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.Column("updated_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("account", "alias", name="pk_key_aliases"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.key_id"], name="fk_key_aliases_keys"),
    )
    op.create_index("ix_key_aliases_key_id", "key_aliases", ["key_id"])


def _tags() -> None:
    op.create_table(
        "key_tags",
        sa.Column("key_id", sa.LargeBinary(16), nullable=False),
        sa.Column("name", sa.String(128), nullable=False),
        sa.Column("value", sa.String(256), nullable=False),
        sa.PrimaryKeyConstraint("key_id", "name", name="pk_key_tags"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.key_id"], name="fk_key_tags_keys"),
    )


def _recorded() -> None:
    op.create_table(
        "recorded_data_keys",
        # SQLite numbers rows by itself only in a column of exactly this type.
        sa.Column("number", sa.BigInteger().with_variant(sa.Integer, "sqlite"), autoincrement=True),
        sa.Column("key_id", sa.LargeBinary(16), nullable=False),
        sa.Column("version", sa.BigInteger, nullable=False),
        sa.Column("digest", sa.LargeBinary(32), nullable=False),
        sa.Column("label", sa.String(256), nullable=False),
        sa.Column("created_at_ms", sa.BigInteger, nullable=False),
        sa.PrimaryKeyConstraint("number", name="pk_recorded_data_keys"),
        sa.ForeignKeyConstraint(["key_id"], ["keys.key_id"], name="fk_recorded_data_keys_keys"),
        sa.UniqueConstraint("key_id", "digest", name="uq_recorded_data_keys_key_id_digest"),
        sa.CheckConstraint("length(digest) = 32", name=op.f("ck_recorded_data_keys_digest")),
    )
    op.create_index("ix_recorded_data_keys_key_id_number", "recorded_data_keys", ["key_id", "number"])


def _domain_rotations() -> None:
    op.create_table(
        "domain_rotations",
        sa.Column("generation", sa.BigInteger, autoincrement=False, nullable=False),
        sa.Column("started_at_ms", sa.BigInteger, nullable=False),
        sa.Column("finished_at_ms", sa.BigInteger),
        sa.PrimaryKeyConstraint("generation", name="pk_domain_rotations"),
    )
