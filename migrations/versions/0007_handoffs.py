"""Hand-offs, what is relayed in them, and which Messages were said in one.

Revision ID: 0007
Revises: 0006
"""

import sqlalchemy as sa
from alembic import op

revision = "0007"
down_revision = "0006"
branch_labels = None
depends_on = None

ID = sa.BigInteger().with_variant(sa.Integer(), "sqlite")
MOMENT = sa.DateTime(timezone=True)
WORD = sa.String(length=16)
OPEN = sa.text("state != 'released'")
UNSENT = sa.text("state != 'sent'")
SAID_IN_ONE = sa.text("handoff_id IS NOT NULL")


def upgrade() -> None:
    """Apply."""
    op.add_column("conversation", sa.Column("handed_off", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.add_column("message", sa.Column("handoff_id", ID, nullable=True))
    op.add_column("message", sa.Column("staff", sa.Boolean(), nullable=False, server_default=sa.false()))
    op.create_index(
        "ix_message_handoff", "message", ["handoff_id"], sqlite_where=SAID_IN_ONE, postgresql_where=SAID_IN_ONE
    )
    op.create_table(
        "handoff",
        sa.Column("id", ID, nullable=False),
        sa.Column("workspace_id", ID, nullable=False),
        sa.Column("conversation_id", ID, nullable=False),
        sa.Column("participant_id", ID, nullable=False),
        sa.Column("turn_id", ID, nullable=True),
        sa.Column("why", WORD, nullable=False),
        sa.Column("state", WORD, nullable=False),
        sa.Column("language", sa.String(length=20), nullable=False),
        sa.Column("target", sa.JSON(), nullable=False),
        sa.Column("staff_channel", sa.String(length=200), nullable=True),
        sa.Column("notice_id", sa.String(length=200), nullable=True),
        sa.Column("from_seq", sa.Integer(), nullable=False),
        sa.Column("opened_seq", sa.Integer(), nullable=False),
        sa.Column("claimed_seq", sa.Integer(), nullable=True),
        sa.Column("requested_at", MOMENT, nullable=False),
        sa.Column("claimed_at", MOMENT, nullable=True),
        sa.Column("claimed_by", ID, nullable=True),
        sa.Column("released_at", MOMENT, nullable=True),
        sa.Column("released_by", ID, nullable=True),
        sa.Column("cause", WORD, nullable=True),
        sa.Column("touched_at", MOMENT, nullable=False),
        *(
            sa.ForeignKeyConstraint([column], [f"{table}.id"], name=op.f(f"fk_handoff_{column}"))
            for column, table in (
                ("workspace_id", "workspace"),
                ("conversation_id", "conversation"),
                ("participant_id", "participant"),
                ("turn_id", "turn"),
                ("claimed_by", "participant"),
                ("released_by", "participant"),
            )
        ),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_handoff")),
    )
    op.create_index(
        "uq_handoff_open_conversation",
        "handoff",
        ["conversation_id"],
        unique=True,
        sqlite_where=OPEN,
        postgresql_where=OPEN,
    )
    op.create_index("ix_handoff_open", "handoff", ["workspace_id", "id"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index("ix_handoff_touched", "handoff", ["touched_at"], sqlite_where=OPEN, postgresql_where=OPEN)
    op.create_index(op.f("ix_handoff_conversation_id"), "handoff", ["conversation_id"])
    op.create_index(op.f("ix_handoff_participant_id"), "handoff", ["participant_id"])
    op.create_index(op.f("ix_handoff_workspace_id_notice_id"), "handoff", ["workspace_id", "notice_id"])
    op.create_table(
        "relay",
        sa.Column("id", ID, nullable=False),
        sa.Column("handoff_id", ID, nullable=False),
        sa.Column("side", WORD, nullable=False),
        sa.Column("kind", WORD, nullable=False),
        sa.Column("message_id", ID, nullable=True),
        sa.Column("state", WORD, nullable=False),
        sa.Column("external_ids", sa.JSON(), nullable=False),
        sa.Column("wanted", sa.Integer(), nullable=False),
        sa.Column("fence", sa.Integer(), nullable=False),
        sa.Column("begun", sa.Boolean(), nullable=False),
        sa.Column("lease_until", MOMENT, nullable=True),
        sa.Column("created_at", MOMENT, nullable=False),
        sa.ForeignKeyConstraint(["handoff_id"], ["handoff.id"], name=op.f("fk_relay_handoff_id")),
        sa.ForeignKeyConstraint(["message_id"], ["message.id"], name=op.f("fk_relay_message_id")),
        sa.PrimaryKeyConstraint("id", name=op.f("pk_relay")),
    )
    op.create_index(op.f("ix_relay_handoff_id_side_id"), "relay", ["handoff_id", "side", "id"])
    op.create_index(op.f("ix_relay_message_id"), "relay", ["message_id"])
    op.create_index("ix_relay_unsent", "relay", ["id"], sqlite_where=UNSENT, postgresql_where=UNSENT)


def downgrade() -> None:
    """Undo."""
    op.drop_table("relay")
    op.drop_table("handoff")
    op.drop_index("ix_message_handoff", table_name="message")
    op.drop_column("message", "staff")
    op.drop_column("message", "handoff_id")
    op.drop_column("conversation", "handed_off")
