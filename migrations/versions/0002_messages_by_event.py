"""Messages are found by the platform's own id in any Conversation: edits and deletes name nothing else.

Revision ID: 0002
Revises: 0001
"""

from alembic import op

revision = "0002"
down_revision = "0001"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.create_index(op.f("ix_message_external_id"), "message", ["external_id"])


def downgrade() -> None:
    """Take back."""
    op.drop_index(op.f("ix_message_external_id"), "message")
