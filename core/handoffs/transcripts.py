"""Transcripts: what the person, the assistant and staff said in a Conversation, as humans read it.

Reads only. Of what was purged nothing is told, as if it had not been said.
"""

from __future__ import annotations

from collections.abc import Collection, Iterator
from dataclasses import dataclass
from datetime import datetime
from enum import StrEnum
from typing import Any

from sqlalchemy import Select, and_, func, select
from sqlalchemy.orm import Session

from core.handoffs.models import Handoff
from core.models import Generation, Message, MessageRevision, Participant, Turn, tables
from core.places import find_conversation
from core.values import Place

MOST = 200
"""Messages of a transcript; of a longer one the newest are shown."""


class Speaker(StrEnum):
    """Who says something."""

    PERSON = "person"
    ASSISTANT = "assistant"
    STAFF = "staff"


@dataclass(frozen=True, slots=True)
class Line:
    """One thing that was said. `name` is the speaker's, where it is known; `message_id` is the question's for an answer."""

    seq: int
    message_id: int
    speaker: Speaker
    name: str | None
    text: str
    said_at: datetime


_MESSAGE, _REVISION, _PERSON, _TURN, _GENERATION = tables(Message, MessageRevision, Participant, Turn, Generation)
(_HANDOFF,) = tables(Handoff)
_LINES = (
    select(
        _MESSAGE.c.seq,
        _MESSAGE.c.id,
        _MESSAGE.c.staff,
        _MESSAGE.c.created_at,
        _REVISION.c.text.label("words"),
        _PERSON.c.display_name,
        _GENERATION.c.text.label("answer"),
        _GENERATION.c.finished_at,
    )
    .select_from(_MESSAGE)
    .join(_REVISION, and_(_REVISION.c.message_id == _MESSAGE.c.id, _REVISION.c.number == _MESSAGE.c.revision))
    .join(_PERSON, _PERSON.c.id == _MESSAGE.c.participant_id)
    .outerjoin(_TURN, and_(_TURN.c.conversation_id == _MESSAGE.c.conversation_id, _TURN.c.seq == _MESSAGE.c.seq))
    .outerjoin(_GENERATION, and_(_GENERATION.c.turn_id == _TURN.c.id, _GENERATION.c.selected))
    .order_by(_MESSAGE.c.seq.desc())
    .limit(MOST)
)


def transcript(
    session: Session, handoff_id: int, from_seq: int | None = None, before_seq: int | None = None
) -> list[Line]:
    """What was said in a hand-off's Conversation, oldest first: of all that it is about, or between two numbers."""
    handoff = session.get_one(Handoff, handoff_id)
    said = _LINES.where(
        _MESSAGE.c.conversation_id == handoff.conversation_id,
        _MESSAGE.c.seq >= (handoff.from_seq if from_seq is None else from_seq),
    )
    if before_seq is not None:
        said = said.where(_MESSAGE.c.seq < before_seq)
    return _lines(session, said)


def said_in_hand(session: Session, place: Place, after_seq: int = 0) -> list[Line]:
    """What was said in hand-offs of the Conversation since its last reset, oldest first."""
    conversation = find_conversation(session, place)
    if conversation is None:
        return []
    return _lines(
        session,
        _LINES.where(
            _MESSAGE.c.conversation_id == conversation.id,
            _MESSAGE.c.handoff_id.is_not(None),
            _MESSAGE.c.seq >= conversation.reset_seq,
            _MESSAGE.c.seq > after_seq,
        ),
    )


def last_words(session: Session, handoff_ids: Collection[int]) -> dict[int, Line]:
    """What each hand-off's person said last in its Conversation; nothing where that was purged."""
    said = _MESSAGE.alias("said")
    newest = (
        select(func.max(said.c.seq))
        .where(
            said.c.conversation_id == _HANDOFF.c.conversation_id,
            said.c.seq >= _HANDOFF.c.from_seq,
            ~said.c.staff,
            said.c.deleted_at.is_(None),
        )
        .scalar_subquery()
    )
    this = and_(_MESSAGE.c.conversation_id == _HANDOFF.c.conversation_id, _MESSAGE.c.seq == newest)
    rows = session.execute(
        select(
            _HANDOFF.c.id.label("handoff_id"),
            _MESSAGE.c.id,
            _MESSAGE.c.seq,
            _MESSAGE.c.created_at,
            _REVISION.c.text,
            _PERSON.c.display_name,
        )
        .select_from(_HANDOFF)
        .join(_MESSAGE, this)
        .join(_REVISION, and_(_REVISION.c.message_id == _MESSAGE.c.id, _REVISION.c.number == _MESSAGE.c.revision))
        .join(_PERSON, _PERSON.c.id == _MESSAGE.c.participant_id)
        .where(_HANDOFF.c.id.in_(handoff_ids), _REVISION.c.text != "")
    )
    return {
        row.handoff_id: Line(row.seq, row.id, Speaker.PERSON, row.display_name, row.text, row.created_at)
        for row in rows
    }


def _lines(session: Session, said: Select[Any]) -> list[Line]:
    return [line for row in reversed(session.execute(said).all()) for line in _of_row(row)]


def _of_row(row: Any) -> Iterator[Line]:
    if row.words:
        speaker = Speaker.STAFF if row.staff else Speaker.PERSON
        yield Line(row.seq, row.id, speaker, row.display_name, row.words, row.created_at)
    if row.answer:
        yield Line(row.seq, row.id, Speaker.ASSISTANT, None, row.answer, row.finished_at or row.created_at)
