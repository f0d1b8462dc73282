"""Which of the entries that a FAQ found for a question were given to people.

Revision ID: 0009
Revises: 0008
"""

import sqlalchemy as sa
from alembic import op

revision = "0009"
down_revision = "0008"
branch_labels = None
depends_on = None

_BACKFILL = """UPDATE faq_match SET cited = true WHERE rank = 0 AND generation_id IN
(SELECT generation_id FROM faq_decision WHERE outcome IN ('answer', 'passage'))"""


def upgrade() -> None:
    """Apply. What the model's answers of before cited is in their words only, and stays uncounted."""
    op.add_column("faq_match", sa.Column("cited", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.execute(_BACKFILL)


def downgrade() -> None:
    """Take back."""
    op.drop_column("faq_match", "cited")
