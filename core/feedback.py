"""What people think of answers: one rating each, changeable, and the export of all of them."""

from __future__ import annotations

from collections.abc import Iterator
from datetime import datetime
from typing import Any

from sqlalchemy import and_, select
from sqlalchemy.orm import Session

from core.errors import NotFound
from core.introductions import introduce_person
from core.models import Feedback, Generation, Message, MessageRevision, Turn, Workspace
from core.places import find_participant, find_turn
from core.values import Person, Place, Rating

COLUMNS = (
    "turn", "generation", "platform", "workspace", "participant", "rating", "comment", "question", "answer", "model",
    "model_revision", "rated_at",
)  # fmt: skip
"""Of the export, in order."""


def rate(
    session: Session,
    place: Place,
    person: Person,
    turn_id: int,
    rating: Rating | None,
    comment: str,
    now: datetime,
    *,
    only: Rating | None = None,
) -> bool:
    """Rate the Turn's selected Generation; None takes the rating back, with `only` if it is this. Raises NotFound.

    Whoever sees the answer may rate it, also someone who never asked anything. Returns whether all of it was kept: no
    comment is where its author wants nothing kept, or the answer's words are purged.
    """
    turn = find_turn(session, place, turn_id, lock=True)  # two clicks at once are one rating
    generation = session.scalar(select(Generation).where(Generation.turn_id == turn.id, Generation.selected))
    if generation is None:
        raise NotFound(f"Turn {turn_id} has no answer to rate.")
    participant = find_participant(session, place.platform, person.id)
    if participant is None:
        introduce_person(session, place.platform, Person(id=person.id), now)  # names are for prompts
        participant = find_participant(session, place.platform, person.id)
    assert participant is not None
    mine = session.scalar(
        select(Feedback).where(Feedback.generation_id == generation.id, Feedback.participant_id == participant.id)
    )
    if rating is None:
        if mine is not None and only in (None, mine.rating):
            session.delete(mine)
        return True
    purged = session.get_one(Message, turn.message_id).deleted_at is not None
    kept = "" if participant.opted_out or purged else comment
    if mine is None:
        mine = Feedback(generation_id=generation.id, participant_id=participant.id, created_at=now)
        session.add(mine)
    if comment or mine.rating != rating:  # the same rating once more takes no comment away
        mine.comment = kept
    mine.rating, mine.updated_at = rating, now
    return kept == comment


def export(session: Session) -> Iterator[dict[str, Any]]:
    """Every rating with its question and answer, oldest first; participants as numbers, not names."""
    rows = session.execute(
        select(Feedback, Generation, Turn, Workspace, MessageRevision.text)
        .join(Generation, Generation.id == Feedback.generation_id)
        .join(Turn, Turn.id == Generation.turn_id)
        .join(Workspace, Workspace.id == Turn.workspace_id)
        .join(Message, Message.id == Turn.message_id)
        .join(
            MessageRevision,
            and_(MessageRevision.message_id == Message.id, MessageRevision.number == Message.revision),
        )
        .order_by(Feedback.id)
        .execution_options(yield_per=500)
    )
    for feedback, generation, turn, workspace, question in rows:
        yield {
            "turn": turn.id,
            "generation": generation.id,
            "platform": workspace.platform,
            "workspace": workspace.external_id,
            "participant": feedback.participant_id,
            "rating": feedback.rating.value,
            "comment": feedback.comment,
            "question": question,
            "answer": generation.text,
            "model": generation.model,
            "model_revision": generation.model_revision,
            "rated_at": feedback.updated_at.isoformat(),
        }
