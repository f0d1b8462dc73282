"""Which worker has a Conversation's KV.

Revision ID: 0010
Revises: 0009
"""

import sqlalchemy as sa
from alembic import op

revision = "0010"
down_revision = "0009"
branch_labels = None
depends_on = None


def upgrade() -> None:
    """Apply."""
    op.add_column("conversation", sa.Column("kv_worker", sa.String(length=200), nullable=True))
    op.add_column("conversation", sa.Column("kv_at", sa.DateTime(timezone=True), nullable=True))


def downgrade() -> None:
    """Take back."""
    op.drop_column("conversation", "kv_at")
    op.drop_column("conversation", "kv_worker")
