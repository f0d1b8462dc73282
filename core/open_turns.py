"""Open Turns: those that wait or run. How many they are, and how one ends or waits anew by what people do.

Knows rows. A worker that has such a Turn loses it, since its fence grows, or is asked to stop. What workers do to a Turn
themselves is in `turns`.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import func, select, update
from sqlalchemy.orm import Session

from core.models import Generation, Turn, tables
from core.turn_order import in_state
from core.values import FinishReason, TurnState

(_TURN,) = tables(Turn)
_COUNT_OPEN = (
    select(_TURN.c.state, func.count().label("turns"))
    .where(in_state(_TURN.c.state, TurnState.QUEUED, TurnState.RUNNING))
    .group_by(_TURN.c.state)
)


def queue_position(session: Session, turn_id: int) -> int:
    """How many queued Turns are older than this queued one; 0 for one that does not wait."""
    turn = session.get(Turn, turn_id)
    if turn is None or turn.state is not TurnState.QUEUED:
        return 0
    older = select(func.count()).where(
        in_state(Turn.state, TurnState.QUEUED),
        (Turn.queued_at < turn.queued_at) | ((Turn.queued_at == turn.queued_at) & (Turn.id < turn.id)),
    )
    return session.scalar(older) or 0


def count_open(session: Session) -> tuple[int, int]:
    """How many Turns wait and how many run."""
    counts: dict[TurnState, int] = {row.state: row.turns for row in session.execute(_COUNT_OPEN)}
    return counts.get(TurnState.QUEUED, 0), counts.get(TurnState.RUNNING, 0)


def lock_open(session: Session, conversation_id: int) -> list[Turn]:
    """The Turns of a Conversation that wait or run, locked."""
    is_open = in_state(Turn.state, TurnState.QUEUED, TurnState.RUNNING)
    locked = select(Turn).where(Turn.conversation_id == conversation_id, is_open).order_by(Turn.id).with_for_update()
    return list(session.scalars(locked))


def stop(session: Session, turn: Turn, now: datetime) -> None:
    """End a queued Turn, which is locked, or ask the worker of a running one to; an ended one stays as it is."""
    if turn.state is TurnState.RUNNING:
        turn.cancel_requested = True
    elif turn.state is TurnState.QUEUED:
        turn.state, turn.finished_at, turn.delivered_at = TurnState.CANCELLED, now, now
        turn.fence += 1
        close_unfinished(session, turn, now)


def withdraw(session: Session, turn: Turn, now: datetime) -> None:
    """End a Turn whose words are purged, at once: a worker that has it loses it, so that it writes none back."""
    turn.arguments = {}
    turn.delivered_at = turn.delivered_at or now
    if not turn.state.ended:
        turn.state, turn.fence, turn.finished_at = TurnState.CANCELLED, turn.fence + 1, now
        turn.owner = turn.lease_until = None
        close_unfinished(session, turn, now)


def requeue(session: Session, turn: Turn, now: datetime) -> None:
    """Put a Turn, which is locked, back to the queue; whoever works on it loses it, since its fence grows, and its unfinished Generation closes."""
    close_unfinished(session, turn, now)
    turn.state, turn.fence, turn.attempt = TurnState.QUEUED, turn.fence + 1, 0
    turn.owner = turn.lease_until = turn.failure = None
    turn.cancel_requested = False
    turn.queued_at, turn.started_at, turn.finished_at, turn.delivered_at = now, None, None, None


def close_unfinished(session: Session, turn: Turn, now: datetime) -> None:
    """End the Generation of a Turn that nobody works on any more."""
    session.execute(
        update(Generation)
        .where(Generation.turn_id == turn.id, Generation.finish_reason.is_(None))
        .values(finish_reason=FinishReason.CANCELLED, finished_at=now)
    )
