"""Backfill: from where on a platform is to be asked for what was said while no bot listened.

Reads only. Knows which Conversations are alive and the newest Message of each; what was missed is the adapter's to ask.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, func, select
from sqlalchemy.orm import Session

from core.models import Conversation, Message, Turn, Workspace, tables
from core.values import Place


@dataclass(frozen=True, slots=True)
class BackfillPoint:
    """From where on a platform is to be asked for what was missed in a Conversation."""

    place: Place
    channel: str | None
    newest_event_id: str


_CONVERSATION, _WORKSPACE, _MESSAGE, _TURN = tables(Conversation, Workspace, Message, Turn)
_LATER, _ASKED_IN = _MESSAGE.alias("later"), _WORKSPACE.alias("asked_in")
_NEWEST_SEQ = (  # of what the person said: staff write elsewhere
    select(func.max(_LATER.c.seq))
    .where(_LATER.c.conversation_id == _CONVERSATION.c.id, ~_LATER.c.staff)
    .correlate(_CONVERSATION)
)
_BACKFILL = (
    select(
        _WORKSPACE.c.external_id.label("workspace"),
        _CONVERSATION.c.external_id.label("conversation"),
        _CONVERSATION.c.channel,
        _MESSAGE.c.external_id.label("event_id"),
    )
    .select_from(_CONVERSATION)
    .join(_WORKSPACE, _WORKSPACE.c.id == _CONVERSATION.c.workspace_id)
    .join(
        _MESSAGE,
        and_(_MESSAGE.c.conversation_id == _CONVERSATION.c.id, _MESSAGE.c.seq == _NEWEST_SEQ.scalar_subquery()),
    )
    .where(
        _CONVERSATION.c.id.in_(
            select(_TURN.c.conversation_id)
            .join(_ASKED_IN, _ASKED_IN.c.id == _TURN.c.workspace_id)
            .where(_ASKED_IN.c.platform == bindparam("on_platform"), _TURN.c.queued_at >= bindparam("since"))
        )
    )
    .order_by(_CONVERSATION.c.id)
)


def backfill_points(session: Session, platform: str, since: datetime) -> list[BackfillPoint]:
    """Every Conversation of a platform that something was asked in since then, with its newest Message."""
    return [
        BackfillPoint(_place(platform, row), row.channel, row.event_id)
        for row in session.execute(_BACKFILL, {"on_platform": platform, "since": since})
    ]


def _place(platform: str, row: Any) -> Place:
    values = {"platform": platform, "workspace": row.workspace, "conversation": row.conversation}
    return Place.model_validate(values)
