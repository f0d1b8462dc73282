"""Archive: everything that is kept of one person, as one document for them.

Reads only. Its form is versioned: whoever reads it ignores unknown fields, and a greater `version` means that known
ones have changed. Of others it holds nothing but answers to this person, staff's among them.
"""

from __future__ import annotations

from collections import defaultdict
from collections.abc import Sequence
from datetime import datetime
from typing import Any

from sqlalchemy import CompoundSelect, and_, select, union
from sqlalchemy.orm import Session

from core.handoffs.models import Handoff
from core.models import Conversation, Feedback, Generation, Message, MessageRevision, Turn, Workspace
from core.places import find_participant
from core.purging import batches

VERSION = 1


def export(session: Session, platform: str, person_id: str, now: datetime) -> dict[str, Any]:
    """The document, JSON-able. Someone who was never seen gets an empty one."""
    person = find_participant(session, platform, person_id)
    return {
        "version": VERSION,
        "exported_at": now.isoformat(),
        "platform": platform,
        "person": person_id,
        "display_name": person.display_name if person else None,
        "opted_out": person is not None and person.opted_out,
        "opted_out_at": _time(person.opted_out_at) if person else None,
        "first_seen_at": _time(person.created_at) if person else None,
        "messages": _messages(session, person.id) if person else [],
        "ratings": _ratings(session, person.id) if person else [],
        "handoffs": _handoffs(session, person.id) if person else [],
    }


def _messages(session: Session, participant_id: int) -> list[dict[str, Any]]:
    """Their messages with all wordings and answers, oldest first; of a purged one only that it was there."""
    rows = session.execute(
        select(Message, Turn, Conversation.external_id.label("conversation"), Workspace.external_id.label("workspace"))
        .join(Conversation, Conversation.id == Message.conversation_id)
        .join(Workspace, Workspace.id == Conversation.workspace_id)
        .outerjoin(Turn, Turn.message_id == Message.id)
        .where(Message.id.in_(_message_ids(participant_id)))
        .order_by(Message.created_at, Message.id)
    ).all()
    exported = []
    for batch in batches(rows):
        revisions = _revisions(session, [row.Message.id for row in batch])
        answers = _answers(session, [row.Turn.id for row in batch if row.Turn])
        for row in batch:
            turn = row.Turn
            exported.append(
                {
                    "workspace": row.workspace,
                    "conversation": row.conversation,
                    "event_id": row.Message.external_id,
                    "written_at": _time(row.Message.created_at),
                    "purged_at": _time(row.Message.deleted_at),
                    "handoff": row.Message.handoff_id,
                    "staff": row.Message.staff,
                    "revisions": revisions[row.Message.id],
                    "turn": _turn(turn, answers[turn.id]) if turn else None,
                }
            )
    return exported


def _message_ids(participant_id: int) -> CompoundSelect[int]:
    """Of what is kept, and of what was a Turn; each by an index."""
    kept = select(Message.id).where(Message.participant_id == participant_id, Message.deleted_at.is_(None))
    return union(kept, select(Turn.message_id).where(Turn.participant_id == participant_id))


def _revisions(session: Session, message_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    found = defaultdict(list)
    rows = select(MessageRevision).where(MessageRevision.message_id.in_(message_ids)).order_by(MessageRevision.number)
    for row in session.scalars(rows):
        found[row.message_id].append({"number": row.number, "text": row.text, "written_at": _time(row.created_at)})
    return found


def _answers(session: Session, turn_ids: Sequence[int]) -> dict[int, list[dict[str, Any]]]:
    found = defaultdict(list)
    rows = select(Generation).where(Generation.turn_id.in_(turn_ids)).order_by(Generation.number)
    for row in session.scalars(rows):
        answer = {
            "number": row.number,
            "selected": row.selected,
            "text": row.text,
            "model": row.model,
            "model_revision": row.model_revision,
            "finish_reason": row.finish_reason,
            "prompt_tokens": row.prompt_tokens,
            "completion_tokens": row.completion_tokens,
            "begun_at": _time(row.created_at),
            "finished_at": _time(row.finished_at),
        }
        found[row.turn_id].append(answer)
    return found


def _turn(turn: Turn, answers: list[dict[str, Any]]) -> dict[str, Any]:
    return {
        "id": turn.id,
        "state": turn.state,
        "recipe": turn.recipe,
        "arguments": turn.arguments,
        "language": turn.language,
        "delivered_at": _time(turn.delivered_at),
        "answers": answers,
    }


def _ratings(session: Session, participant_id: int) -> list[dict[str, Any]]:
    rows = session.execute(
        select(Feedback, Generation.turn_id, Generation.number)
        .join(Generation, Generation.id == Feedback.generation_id)
        .where(Feedback.participant_id == participant_id)
        .order_by(Feedback.id)
    )
    return [
        {
            "turn": row.turn_id,
            "answer": row.number,
            "rating": row.Feedback.rating,
            "comment": row.Feedback.comment,
            "rated_at": _time(row.Feedback.created_at),
            "changed_at": _time(row.Feedback.updated_at),
        }
        for row in rows
    ]


def _handoffs(session: Session, participant_id: int) -> list[dict[str, Any]]:
    """When they talked to a human, and what was said to them."""
    rows = session.scalars(select(Handoff).where(Handoff.participant_id == participant_id).order_by(Handoff.id)).all()
    replies = defaultdict(list)
    this = MessageRevision.message_id == Message.id, MessageRevision.number == Message.revision
    said = (
        select(Message.handoff_id, MessageRevision.text, Message.created_at)
        .join(MessageRevision, and_(*this))
        .where(Message.handoff_id.is_not(None), Message.staff, Message.deleted_at.is_(None))
        .order_by(Message.seq)
    )
    for batch in batches([row.id for row in rows]):
        for reply in session.execute(said.where(Message.handoff_id.in_(batch))):
            replies[reply.handoff_id].append({"text": reply.text, "written_at": _time(reply.created_at)})
    return [
        {
            "id": row.id,
            "reason": row.why,
            "state": row.state,
            "turn": row.turn_id,
            "requested_at": _time(row.requested_at),
            "claimed_at": _time(row.claimed_at),
            "released_at": _time(row.released_at),
            "replies": replies[row.id],
        }
        for row in rows
    ]


def _time(moment: datetime | None) -> str | None:
    return moment.isoformat() if moment else None
