"""Purging: how the words of Messages leave SQL. The rows stay, and with them the counts.

Knows every column that holds words: revisions, a Turn's arguments, answers with their token ids and the arguments in
their Prompts, comments on these answers whoever wrote them, display names. Which entries a FAQ found tells what was asked:
those rows go. Knows neither who asks for it (`privacy`,
`retention`, a deleted message) nor the copies outside of SQL (`copies`), for which it returns what they need; what staff
were shown of it in a hand-off is taken away by whoever relays.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from typing import Any, TypeVar

from sqlalchemy import ColumnElement, Table, and_, bindparam, delete, exists, func, or_, select, update
from sqlalchemy.orm import Session

from core.faq.finding import Given
from core.faq.models import FaqDecision, FaqMatch
from core.handoffs import relays
from core.models import Feedback, Generation, Message, MessageRevision, Participant, Turn, tables

T = TypeVar("T")

BATCH = 200
"""Messages that one statement is about, and that one transaction of retention locks."""

_MESSAGE, _REVISION, _TURN, _GENERATION = tables(Message, MessageRevision, Turn, Generation)
_FEEDBACK, _PERSON, _DECISION, _MATCH = tables(Feedback, Participant, FaqDecision, FaqMatch)


@dataclass(frozen=True, slots=True)
class Purged:
    """What lost its words in SQL. `silenced` has for each Turn the first fence that may still speak of it."""

    messages: int = 0
    answers: int = 0
    comments: int = 0
    silenced: Mapping[int, int] = field(default_factory=dict)
    conversation_ids: frozenset[int] = frozenset()

    def __add__(self, other: Purged) -> Purged:
        return Purged(
            self.messages + other.messages,
            self.answers + other.answers,
            self.comments + other.comments,
            {**self.silenced, **other.silenced},
            self.conversation_ids | other.conversation_ids,
        )


def purge(
    session: Session,
    message_ids: Sequence[int],
    now: datetime,
    older_than: datetime | None = None,
    *,
    keep_offers: bool = False,
) -> Purged:
    """Purge these Messages and all that came of them; with `older_than`, only what was written before it.

    With `keep_offers`, what a question back offers can still be chosen: its entries stay (`drop_offers`).

    A Message of which nothing is left is noted as deleted. The caller has locked the Messages, then their Turns.
    """
    purged = Purged()
    for batch in batches(message_ids):
        turns = session.execute(select(_TURN.c.id, _TURN.c.fence).where(_TURN.c.message_id.in_(batch))).all()
        conversation_ids = session.scalars(select(_MESSAGE.c.conversation_id).where(_MESSAGE.c.id.in_(batch)))
        answers, comments = _purge_answers(session, [turn.id for turn in turns], older_than)
        _drop_matches(session, [turn.id for turn in turns], older_than, keep_offers=keep_offers)
        _blank(session, _REVISION, "text", _REVISION.c.message_id.in_(batch), _REVISION.c.created_at, older_than)
        messages = _note_deleted(session, batch, now, only_empty=older_than is not None)
        _drop_names(session, batch)
        relays.renew_after_purge(session, batch)
        purged += Purged(
            messages,
            answers,
            comments,
            silenced={turn.id: turn.fence + 1 for turn in turns},
            conversation_ids=frozenset(conversation_ids),  # also where they were read for context only
        )
    return purged


_LOCK_UNWANTED = (
    select(_MESSAGE.c.id)
    .join(_TURN, _TURN.c.message_id == _MESSAGE.c.id)
    .join(_PERSON, _PERSON.c.id == _TURN.c.participant_id)
    .where(_TURN.c.id == bindparam("of_turn"), _PERSON.c.opted_out_at.is_not(None))
    .with_for_update(of=_MESSAGE)
)


def lock_unwanted(session: Session, turn_id: int) -> list[int]:
    """The Message of the Turn, locked, where its asker wants nothing kept; call it before the Turn is locked."""
    return list(session.scalars(_LOCK_UNWANTED, {"of_turn": turn_id}))


def lock_ended(session: Session, message_ids: Sequence[int]) -> list[int]:
    """Those of the Messages, which are locked, that wait for no answer; their Turns are locked then."""
    turns = session.execute(
        select(_TURN.c.message_id, _TURN.c.state)
        .where(_TURN.c.message_id.in_(message_ids))
        .order_by(_TURN.c.id)
        .with_for_update()
    ).all()
    is_open = {turn.message_id for turn in turns if not turn.state.ended}
    return [message_id for message_id in message_ids if message_id not in is_open]


def batches(items: Sequence[T]) -> Iterator[Sequence[T]]:
    """`items` in pieces that a statement can name."""
    return (items[start : start + BATCH] for start in range(0, len(items), BATCH))


_ENDED_AT = func.coalesce(_GENERATION.c.finished_at, _GENERATION.c.created_at)


def _drop_matches(
    session: Session, turn_ids: Sequence[int], older_than: datetime | None, *, keep_offers: bool = False
) -> None:
    of_answers = select(_GENERATION.c.id).where(_GENERATION.c.turn_id.in_(turn_ids))
    if older_than is not None:
        of_answers = of_answers.where(older_than > _ENDED_AT)
    if keep_offers:
        asks = _DECISION.c.generation_id == _GENERATION.c.id, _DECISION.c.outcome == Given.ASK
        of_answers = of_answers.where(~exists().where(*asks))
    session.execute(delete(_MATCH).where(_MATCH.c.generation_id.in_(of_answers)))


def drop_offers(session: Session, before: datetime) -> None:
    """Drop what was offered, before then, to people who want nothing kept."""
    offered = (
        select(_DECISION.c.generation_id)
        .join(_TURN, _TURN.c.id == _DECISION.c.turn_id)
        .join(_PERSON, _PERSON.c.id == _TURN.c.participant_id)
        .join(_MESSAGE, _MESSAGE.c.id == _TURN.c.message_id)
        .where(
            _PERSON.c.opted_out_at.is_not(None),
            _MESSAGE.c.deleted_at < before,
            _DECISION.c.outcome == Given.ASK,
        )
    )
    session.execute(delete(_MATCH).where(_MATCH.c.generation_id.in_(offered)))


def _purge_answers(session: Session, turn_ids: Sequence[int], older_than: datetime | None) -> tuple[int, int]:
    """Purge arguments, answers and the comments on them. Returns how many answers and comments had words."""
    session.execute(update(_TURN).where(_TURN.c.id.in_(turn_ids)).values(arguments={}))
    prompts = session.execute(
        select(_GENERATION.c.id, _GENERATION.c.prompt).where(_GENERATION.c.turn_id.in_(turn_ids))
    ).all()
    for row in prompts:
        if row.prompt and row.prompt.get("arguments"):
            without = {**row.prompt, "arguments": {}}
            session.execute(update(_GENERATION).where(_GENERATION.c.id == row.id).values(prompt=without))
    of_turns = _GENERATION.c.turn_id.in_(turn_ids)
    answers = _blank(session, _GENERATION, "text", of_turns, _ENDED_AT, older_than)
    session.execute(
        update(_GENERATION)
        .where(of_turns, _GENERATION.c.text == "", _GENERATION.c.token_ids.is_not(None))
        .values(token_ids=None)
    )
    on_answers = _FEEDBACK.c.generation_id.in_([row.id for row in prompts])
    return answers, _blank(session, _FEEDBACK, "comment", on_answers, _FEEDBACK.c.updated_at, older_than)


def _blank(
    session: Session,
    table: Table,
    column: str,
    rows: ColumnElement[bool],
    written_at: ColumnElement[Any],
    older_than: datetime | None,
) -> int:
    """Empty a column of words; returns in how many rows there were any."""
    due = [] if older_than is None else [written_at < older_than]
    result: Any = session.execute(update(table).where(rows, table.c[column] != "", *due).values({column: ""}))
    return int(result.rowcount)


def _note_deleted(session: Session, message_ids: Sequence[int], now: datetime, *, only_empty: bool) -> int:
    kept = [] if not only_empty else [~_SAYS, ~_ANSWERED, ~_COMMENTED]
    result: Any = session.execute(
        update(_MESSAGE)
        .where(_MESSAGE.c.id.in_(message_ids), _MESSAGE.c.deleted_at.is_(None), *kept)
        .values(deleted_at=now)
    )
    return int(result.rowcount)


def _drop_names(session: Session, message_ids: Sequence[int]) -> None:
    """Drop the display names of those who wrote these Messages and of whom no other is kept."""
    others = _MESSAGE.alias("others")
    kept = exists().where(others.c.participant_id == _PERSON.c.id, others.c.deleted_at.is_(None))
    wrote = select(_MESSAGE.c.participant_id).where(_MESSAGE.c.id.in_(message_ids))
    session.execute(
        update(_PERSON)
        .where(_PERSON.c.id.in_(wrote), _PERSON.c.display_name.is_not(None), ~kept)
        .values(display_name=None)
    )


_OF_MESSAGE = and_(_TURN.c.message_id == _MESSAGE.c.id, _GENERATION.c.turn_id == _TURN.c.id)
_SAYS = exists().where(_REVISION.c.message_id == _MESSAGE.c.id, _REVISION.c.text != "")
_ANSWERED = exists().where(_OF_MESSAGE, or_(_GENERATION.c.text != "", _GENERATION.c.token_ids.is_not(None)))
_COMMENTED = exists().where(_OF_MESSAGE, _FEEDBACK.c.generation_id == _GENERATION.c.id, _FEEDBACK.c.comment != "")
