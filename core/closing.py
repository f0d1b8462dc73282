"""Closing: a Workspace that is left, whose open Turns end, and a channel that is deleted.

Knows rows. What was said in a Workspace stays, under the same retention as before: whoever comes back finds it. Nobody
comes back to a channel.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import or_, select
from sqlalchemy.orm import Session

from core import purging
from core.models import Conversation, Message, Turn, Workspace
from core.open_turns import close_unfinished
from core.purging import Purged
from core.values import Place, TurnState


def undelivered_turns(session: Session, platform: str, workspace: str) -> list[int]:
    """Every Turn of the Workspace that waits for an answer or for its delivery, the newest first.

    So ended, none begins because the one before it has ended.
    """
    return list(
        session.scalars(
            select(Turn.id)
            .join(Workspace, Workspace.id == Turn.workspace_id)
            .where(Workspace.platform == platform, Workspace.external_id == workspace, Turn.delivered_at.is_(None))
            .order_by(Turn.id.desc())
        )
    )


def give_up(session: Session, turn_id: int, now: datetime) -> tuple[Turn, Purged]:
    """End a Turn for whose answer there is no place, and purge it where its asker wants nothing kept.

    A worker that has it loses it.
    """
    unwanted = purging.lock_unwanted(session, turn_id)
    turn = session.get_one(Turn, turn_id, with_for_update=True)
    if not turn.state.ended:
        turn.state, turn.fence, turn.finished_at = TurnState.CANCELLED, turn.fence + 1, now
        turn.owner = turn.lease_until = None
        turn.cancel_requested = False
        close_unfinished(session, turn, now)
    turn.delivered_at = turn.delivered_at or now
    return turn, purging.purge(session, unwanted, now)


def said_in(session: Session, platform: str, workspace: str, channel: str) -> list[tuple[Place, str]]:
    """Every message that is kept of a channel or thread, with those of the channel's threads: its place and event."""
    place = Conversation.external_id
    here = or_(Conversation.channel == channel, place == channel, place.startswith(f"{channel}:", autoescape=True))
    found = session.execute(
        select(place, Message.external_id)
        .join(Message, Message.conversation_id == Conversation.id)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .where(Workspace.platform == platform, Workspace.external_id == workspace, here)
        .where(Message.external_id.is_not(None), Message.deleted_at.is_(None))
        .order_by(Message.id)
    )
    keys = {"platform": platform, "workspace": workspace}
    return [(Place.model_validate({**keys, "conversation": conversation}), event) for conversation, event in found]


def workspaces(session: Session, platform: str, prefix: str) -> list[str]:
    """The Workspaces of a platform whose own ids begin so."""
    names = select(Workspace.external_id).where(
        Workspace.platform == platform, Workspace.external_id.startswith(prefix, autoescape=True)
    )
    return list(session.scalars(names.order_by(Workspace.id)))
