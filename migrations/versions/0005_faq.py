"""FAQ collections, their entries with every version, vectors, and what was matched for a Turn.

Revision ID: 0005
Revises: 0004
"""

import sqlalchemy as sa
from alembic import op

revision = "0005"
down_revision = "0004"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)


def upgrade() -> None:
    """Apply."""
    op.create_table(
        "faq_collection",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=True),
        sa.Column("name", sa.String(length=80), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("calibration", sa.JSON(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.Column("updated_at", MOMENT, nullable=False),
        sa.Column("removed_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_faq_collection_workspace_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_faq_collection")),
        sa.UniqueConstraint("workspace_id", "name", name=op.f("uq_faq_collection_workspace_id_name")),
    )
    op.create_index(
        "uq_faq_collection_shared_name",
        "faq_collection",
        ["name"],
        unique=True,
        sqlite_where=sa.text("workspace_id IS NULL"),
        postgresql_where=sa.text("workspace_id IS NULL"),
    )
    op.create_table(
        "faq_entry",
        sa.Column("id", ID, nullable=False),
        sa.Column("collection_id", ID, nullable=False),
        sa.Column("key", sa.String(length=100), nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("revision", sa.Integer(), nullable=False),
        sa.Column("removed_at", MOMENT, nullable=True),
        sa.ForeignKeyConstraint(["collection_id"], ["faq_collection.id"], name=op.f("fk_faq_entry_collection_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_faq_entry")),
        sa.UniqueConstraint("collection_id", "key", name=op.f("uq_faq_entry_collection_id_key")),
    )
    op.create_index(op.f("ix_faq_entry_collection_id_revision"), "faq_entry", ["collection_id", "revision"])
    op.create_table(
        "faq_version",
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("number", sa.Integer(), nullable=False),
        sa.Column("phrasings", sa.JSON(), nullable=False),
        sa.Column("answer", sa.Text(), nullable=False),
        sa.Column("tags", sa.JSON(), nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("valid_from", sa.Date(), nullable=True),
        sa.Column("valid_until", sa.Date(), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["entry_id"], ["faq_entry.id"], name=op.f("fk_faq_version_entry_id")),
        sa.PrimaryKeyConstraint("entry_id", "number", name=op.f("pk_faq_version")),
    )
    op.create_table(
        "faq_vector",
        sa.Column("embedder", sa.String(length=120), nullable=False),
        sa.Column("digest", sa.String(length=32), nullable=False),
        sa.Column("vector", sa.LargeBinary(), nullable=False),
        sa.PrimaryKeyConstraint("embedder", "digest", name=op.f("pk_faq_vector")),
    )
    _create_what_was_matched()


def _create_what_was_matched() -> None:
    op.create_table(
        "faq_decision",
        sa.Column("generation_id", ID, autoincrement=False, nullable=False),
        sa.Column("turn_id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("outcome", sa.String(length=16), nullable=False),
        sa.Column("reason", sa.String(length=40), nullable=False),
        sa.Column("thresholds", sa.JSON(), nullable=False),
        sa.Column("embedder", sa.String(length=120), nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["generation_id"], ["generation.id"], name=op.f("fk_faq_decision_generation_id")),
        sa.ForeignKeyConstraint(["turn_id"], ["turn.id"], name=op.f("fk_faq_decision_turn_id")),
        sa.ForeignKeyConstraint(["workspace_id"], ["workspace.id"], name=op.f("fk_faq_decision_workspace_id")),
        sa.PrimaryKeyConstraint("generation_id", name=op.f("pk_faq_decision")),
    )
    op.create_index(
        op.f("ix_faq_decision_workspace_id_outcome_generation_id"),
        "faq_decision",
        ["workspace_id", "outcome", "generation_id"],
    )
    op.create_index(op.f("ix_faq_decision_turn_id"), "faq_decision", ["turn_id"])
    op.create_table(
        "faq_match",
        sa.Column("generation_id", ID, autoincrement=False, nullable=False),
        sa.Column("rank", sa.Integer(), autoincrement=False, nullable=False),
        sa.Column("entry_id", ID, nullable=False),
        sa.Column("version", sa.Integer(), nullable=False),
        sa.Column("phrasing", sa.Integer(), nullable=False),
        sa.Column("score", sa.Float(), nullable=False),
        sa.Column("lexical", sa.Float(), nullable=False),
        sa.Column("dense", sa.Float(), nullable=True),
        sa.Column("probability", sa.Float(), nullable=False),
        sa.ForeignKeyConstraint(["generation_id"], ["generation.id"], name=op.f("fk_faq_match_generation_id")),
        sa.ForeignKeyConstraint(["entry_id"], ["faq_entry.id"], name=op.f("fk_faq_match_entry_id")),
        sa.PrimaryKeyConstraint("generation_id", "rank", name=op.f("pk_faq_match")),
    )
    op.create_index(op.f("ix_faq_match_entry_id"), "faq_match", ["entry_id"])


def downgrade() -> None:
    """Take back."""
    for table in ("faq_match", "faq_decision", "faq_vector", "faq_version", "faq_entry", "faq_collection"):
        op.drop_table(table)
