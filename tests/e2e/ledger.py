"""What SQL holds at the end of a test."""

from __future__ import annotations

from sqlalchemy import select

from core.database import Database
from core.models import Generation, Message, Turn
from core.values import TurnState


def undelivered(database: Database) -> bool:
    """Whether there is a Turn whose answer the person does not have."""
    with database.read() as session:
        return session.scalar(select(Turn.id).where(Turn.delivered_at.is_(None)).limit(1)) is not None


def stored_answers(database: Database) -> list[tuple[str, str]]:
    """Every answer with the id of its message, in the order of each conversation; all of them are done."""
    with database.read() as session:
        rows = session.execute(
            select(Message.external_id, Turn.state, Generation.text)
            .join(Turn, Turn.message_id == Message.id)
            .join(Generation, Generation.turn_id == Turn.id)
            .order_by(Turn.conversation_id, Turn.seq)
        ).all()
    assert {state for _, state, _ in rows} == {TurnState.DONE}
    return [(event_id, answer) for event_id, _, answer in rows]
