"""Channels of Conversations, and the indexes of daily quotas and of what stands on the platform.

Revision ID: 0003
Revises: 0002
"""

import sqlalchemy as sa
from alembic import op

revision = "0003"
down_revision = "0002"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("conversation", sa.Column("channel", sa.String(length=200), nullable=True))
    op.create_index("ix_turn_participant", "turn", ["participant_id", "workspace_id", "queued_at"])
    op.create_index("ix_turn_workspace", "turn", ["workspace_id", "queued_at"])
    op.create_index("ix_delivery_external_id", "delivery", ["external_id"])
    op.drop_index("ix_turn_participant_id", "turn")  # the first column of ix_turn_participant


def downgrade() -> None:
    """Undo."""
    op.create_index("ix_turn_participant_id", "turn", ["participant_id"])
    op.drop_index("ix_delivery_external_id", "delivery")
    op.drop_index("ix_turn_workspace", "turn")
    op.drop_index("ix_turn_participant", "turn")
    op.drop_column("conversation", "channel")
