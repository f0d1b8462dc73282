"""Forgetting a Participant: their words go from every place that holds them, the counts stay.

Knows the tables. The reply streams in Redis and the worker's KV cache are told by `Service.forget`, with what
`forget` returns.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime

from sqlalchemy import select, update
from sqlalchemy.orm import Session

from core.conversations import withdraw
from core.models import (
    Feedback,
    Generation,
    Message,
    MessageRevision,
    Participant,
    Turn,
)


@dataclass(frozen=True, slots=True)
class Forgotten:
    """What was purged, where copies outside of SQL may still be, and the Turns that ended by it."""

    messages: int
    answers: int
    comments: int
    turn_ids: tuple[int, ...]
    withdrawn: tuple[Turn, ...]
    conversation_ids: tuple[int, ...]


def forget(session: Session, participant_id: int, now: datetime) -> Forgotten:
    """Purge the Participant's messages, the answers to them, their comments and name, and withdraw what is open."""
    messages = select(Message.id).where(Message.participant_id == participant_id)
    # Messages before Turns, as every other change locks them: an edit on its way is waited for, then purged too.
    deleted = session.execute(
        update(Message)
        .where(Message.participant_id == participant_id)
        .values(deleted_at=now)
        .returning(Message.conversation_id),
        execution_options={"synchronize_session": False},
    ).all()
    turns = session.scalars(select(Turn).where(Turn.participant_id == participant_id).with_for_update()).all()
    withdrawn = [turn for turn in turns if not turn.state.ended]
    for turn in turns:
        withdraw(session, turn, now)
    session.flush()
    revisions = update(MessageRevision).where(MessageRevision.message_id.in_(messages)).values(text="")
    session.execute(revisions, execution_options={"synchronize_session": False})
    answers = _purge_answers(session, participant_id)
    comments = session.execute(
        update(Feedback).where(Feedback.participant_id == participant_id).values(comment="").returning(Feedback.id),
        execution_options={"synchronize_session": False},
    ).all()
    session.execute(update(Participant).where(Participant.id == participant_id).values(display_name=None))
    return Forgotten(
        messages=len(deleted),
        answers=answers,
        comments=len(comments),
        turn_ids=tuple(turn.id for turn in turns),
        withdrawn=tuple(withdrawn),
        conversation_ids=tuple({row.conversation_id for row in deleted}),  # also where they were read for context only
    )


def _purge_answers(session: Session, participant_id: int) -> int:
    theirs = select(Turn.id).where(Turn.participant_id == participant_id)
    generations = session.scalars(select(Generation).where(Generation.turn_id.in_(theirs))).all()
    for generation in generations:
        generation.text, generation.token_ids = "", None
        if generation.prompt:
            generation.prompt = {**generation.prompt, "arguments": {}}
    return len(generations)
