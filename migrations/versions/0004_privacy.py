"""Who opted out, and indexes over the messages whose words are still kept.

Revision ID: 0004
Revises: 0003
"""

import sqlalchemy as sa
from alembic import op

revision = "0004"
down_revision = "0003"
branch_labels = None
depends_on = None

_KEPT = sa.text("deleted_at IS NULL")
_OPTED_OUT = sa.text("opted_out_at IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.add_column("participant", sa.Column("opted_out_at", sa.DateTime(timezone=True), nullable=True))
    op.create_index(
        "ix_participant_opted_out",
        "participant",
        ["opted_out_at"],
        sqlite_where=_OPTED_OUT,
        postgresql_where=_OPTED_OUT,
    )
    op.drop_index(op.f("ix_message_participant_id"), table_name="message")
    for owner in ("participant", "conversation"):
        op.create_index(
            f"ix_message_kept_{owner}",
            "message",
            [f"{owner}_id", "created_at"],
            sqlite_where=_KEPT,
            postgresql_where=_KEPT,
        )


def downgrade() -> None:
    """Undo."""
    for owner in ("conversation", "participant"):
        op.drop_index(f"ix_message_kept_{owner}", table_name="message")
    op.create_index(op.f("ix_message_participant_id"), "message", ["participant_id"])
    op.drop_index("ix_participant_opted_out", table_name="participant")
    op.drop_column("participant", "opted_out_at")
