"""When a hand-off begins by itself: after several 👎 in a row, or where there was no answer.

Only in a Workspace that says who is to be called, and never by what the model writes.
"""

from __future__ import annotations

from datetime import datetime

from sqlalchemy import Select, func, select
from sqlalchemy.orm import Session

from core import feedback
from core.handoffs import relays
from core.handoffs.models import Handoff
from core.handoffs.states import Asked, begin, open_of
from core.models import Conversation, Feedback, Generation, Turn, Workspace
from core.places import find_turn
from core.values import HandoffReason, Person, Place, Rating, RelayKind, Side
from core.workspaces import DOWNVOTES, WorkspaceSettings


def rate(
    session: Session, place: Place, person: Person, turn_id: int, rating: Rating | None, comment: str, now: datetime
) -> bool:
    """`feedback.rate`, and a hand-off where that was one 👎 in a row too many."""
    kept = feedback.rate(session, place, person, turn_id, rating, comment, now)
    if rating is Rating.DOWN:
        session.flush()
        turn = find_turn(session, place, turn_id)
        settings = _settings(session, turn)
        most = DOWNVOTES if settings.handoff_after_downvotes is None else settings.handoff_after_downvotes
        if settings.staffed and most and _all_down(session, turn, most):
            _call(session, turn, HandoffReason.RATING, now)
    return kept


def after_abstention(session: Session, turn_id: int, now: datetime) -> bool:
    """Call a human where a Turn got no answer and its Workspace wants that. Whether one was called.

    For the transaction in which the Turn ends.
    """
    turn = session.get_one(Turn, turn_id)
    settings = _settings(session, turn)
    if not settings.staffed or settings.handoff_on_abstain != "auto":
        return False
    return _call(session, turn, HandoffReason.ABSTENTION, now)


def _call(session: Session, turn: Turn, why: HandoffReason, now: datetime) -> bool:
    if open_of(session, turn.conversation_id) is not None:
        return False
    conversation = session.get_one(Conversation, turn.conversation_id)
    handoff = begin(session, conversation, Asked(turn.participant_id, turn.id, why, turn.language, turn.target), now)
    relays.add(session, handoff, Side.PERSON, RelayKind.REQUESTED, now)
    return True


def _all_down(session: Session, turn: Turn, most: int) -> bool:
    """Whether the asker found the last `most` answers bad; what was before an earlier hand-off does not count."""
    rated = (
        select(Feedback.rating)
        .select_from(Turn)
        .join(Generation, Generation.turn_id == Turn.id)
        .outerjoin(
            Feedback, (Feedback.generation_id == Generation.id) & (Feedback.participant_id == turn.participant_id)
        )
        .where(
            Turn.conversation_id == turn.conversation_id,
            Turn.participant_id == turn.participant_id,
            Turn.seq >= _since(session, turn.conversation_id),
            Generation.selected,
        )
        .order_by(Turn.seq.desc())
        .limit(most)
    )
    return list(session.scalars(rated)) == [Rating.DOWN] * most


def _since(session: Session, conversation_id: int) -> int:
    earlier: Select[int | None] = select(func.max(Handoff.opened_seq)).where(Handoff.conversation_id == conversation_id)
    return max(session.get_one(Conversation, conversation_id).reset_seq, session.scalar(earlier) or 0)


def _settings(session: Session, turn: Turn) -> WorkspaceSettings:
    return WorkspaceSettings.of(session.get_one(Workspace, turn.workspace_id).settings)
