"""The tables of hand-offs: Handoff, and Relay, what is to be brought to the person or to staff.

Knows columns, keys and the index for each query of `states` and `relays`. No row holds what people said: that is in
Messages, so that forgetting, export and retention reach it.
"""

from __future__ import annotations

from datetime import datetime
from typing import Any

from sqlalchemy import JSON, ForeignKey, Index, Integer, String
from sqlalchemy.orm import Mapped, mapped_column

from core.models import Base, partial_index
from core.values import DeliveryState, HandoffReason, HandoffState, RelayKind, ReleaseCause, Side

OPEN = "state != 'released'"
UNSENT = "state != 'sent'"


class Handoff(Base):
    """One wish for a human, of the Participant who has it; at most one of a Conversation is open.

    What was said before `opened_seq`, from `from_seq` on, is what it is about; before `claimed_seq`, what was said while
    nobody had it. `staff_channel` is the platform's channel whose people may claim it, None where there is none;
    `notice_id` the message there that tells of it, once there is one. `target` is the adapter's own note of where the
    person is. `touched_at`: when anybody last did or said something.
    """

    __tablename__ = "handoff"
    __table_args__ = (
        partial_index("uq_handoff_open_conversation", "conversation_id", where=OPEN, unique=True),
        partial_index("ix_handoff_open", "workspace_id", "id", where=OPEN),
        partial_index("ix_handoff_touched", "touched_at", where=OPEN),
        Index(None, "conversation_id"),
        Index(None, "participant_id"),
        Index(None, "workspace_id", "notice_id"),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    workspace_id: Mapped[int] = mapped_column(ForeignKey("workspace.id"))
    conversation_id: Mapped[int] = mapped_column(ForeignKey("conversation.id"))
    participant_id: Mapped[int] = mapped_column(ForeignKey("participant.id"))
    turn_id: Mapped[int | None] = mapped_column(ForeignKey("turn.id"))
    why: Mapped[HandoffReason]
    state: Mapped[HandoffState] = mapped_column(default=HandoffState.REQUESTED)
    language: Mapped[str] = mapped_column(String(20))
    target: Mapped[dict[str, Any]] = mapped_column(default=dict)
    staff_channel: Mapped[str | None] = mapped_column(String(200))
    notice_id: Mapped[str | None] = mapped_column(String(200))
    from_seq: Mapped[int] = mapped_column(Integer)
    opened_seq: Mapped[int] = mapped_column(Integer)
    claimed_seq: Mapped[int | None] = mapped_column(Integer)
    requested_at: Mapped[datetime]
    claimed_at: Mapped[datetime | None]
    claimed_by: Mapped[int | None] = mapped_column(ForeignKey("participant.id"))
    released_at: Mapped[datetime | None]
    released_by: Mapped[int | None] = mapped_column(ForeignKey("participant.id"))
    cause: Mapped[ReleaseCause | None]
    touched_at: Mapped[datetime]


class Relay(Base):
    """One thing to be brought to one side of a Handoff, after everything older that goes there.

    Pending → sending → sent; back to pending where it is to look different, for which `wanted` grows. `external_ids` are
    the platform's messages that show it, in order. `fence` grows with each take, and voids older ones; `begun`: whoever
    took it may have sent something that is not noted.
    """

    __tablename__ = "relay"
    __table_args__ = (
        Index(None, "handoff_id", "side", "id"),
        Index(None, "message_id"),
        partial_index("ix_relay_unsent", "id", where=UNSENT),
    )

    id: Mapped[int] = mapped_column(primary_key=True)
    handoff_id: Mapped[int] = mapped_column(ForeignKey("handoff.id"))
    side: Mapped[Side]
    kind: Mapped[RelayKind]
    message_id: Mapped[int | None] = mapped_column(ForeignKey("message.id"))
    state: Mapped[DeliveryState] = mapped_column(default=DeliveryState.PENDING)
    external_ids: Mapped[list[str]] = mapped_column(JSON, default=list)
    wanted: Mapped[int] = mapped_column(Integer, default=1)
    fence: Mapped[int] = mapped_column(Integer, default=0)
    begun: Mapped[bool] = mapped_column(default=False)
    lease_until: Mapped[datetime | None]
    created_at: Mapped[datetime]
