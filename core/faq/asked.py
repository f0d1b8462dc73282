"""What was asked and not answered well, from SQL: questions that no entry answered, and answers that did not help.

Reads what stands: purged words, words of people who opted out, and answers that were asked for anew are
left out, and so is what was dismissed. Knows no likeness of questions; that is `gaps`.
"""

from __future__ import annotations

from collections.abc import Iterable, Sequence
from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, case, func, or_, select, update
from sqlalchemy.orm import Session

from core.faq.models import FaqCollection, FaqDecision, FaqEntry, FaqMatch, FaqVersion
from core.handoffs.models import Handoff
from core.models import Feedback, Generation, Message, MessageRevision, Participant, Turn, tables
from core.values import Rating

UNANSWERED = ("abstain", "ask", "passage")
"""Outcomes of a question for which no entry was given as the answer."""
NOT_HELPFUL = "not_helpful"
"""Stands for the outcome where somebody found the answer of no help."""

_DECISION, _MATCH, _ENTRY, _VERSION = tables(FaqDecision, FaqMatch, FaqEntry, FaqVersion)
(_COLLECTION,) = tables(FaqCollection)
_TURN, _GENERATION, _MESSAGE, _REVISION = tables(Turn, Generation, Message, MessageRevision)
_FEEDBACK, _PERSON, _HANDOFF = tables(Feedback, Participant, Handoff)
_IDS_AT_ONCE = 500


@dataclass(frozen=True, slots=True)
class Asked:
    """A question. `entry_id` is the entry that came nearest; `liked` the chat's own answer, where people found it good.

    `collection_id` is None where no collection was seen.
    """

    turn_id: int
    workspace_id: int
    person_id: int
    text: str
    language: str
    outcome: str
    asked_at: datetime
    collection_id: int | None
    entry_id: int | None
    liked: str


@dataclass(frozen=True, slots=True)
class Written:
    """The words of an entry, and since when they are there; `workspace_id` is None where everybody sees them."""

    workspace_id: int | None
    phrasings: Sequence[str]
    created_at: datetime


@dataclass(frozen=True, slots=True)
class EntryName:
    """An entry as a report names it."""

    entry_id: int
    key: str
    question: str
    collection: str
    collection_id: int


def unanswered(session: Session, workspace_id: int | None, since: datetime | None, limit: int) -> list[Asked]:
    """The newest questions that no entry answered, of the Workspace, or of all where it is None."""
    newest = _newest(workspace_id, since, limit)
    of_each = (newest.where(_DECISION.c.outcome == outcome) for outcome in UNANSWERED)  # each along its index
    found = [question for chosen in of_each for question in _questions(session, chosen, None)]
    return sorted(found, key=lambda question: (question.asked_at, question.turn_id), reverse=True)[:limit]


def not_helpful(session: Session, workspace_id: int | None, since: datetime | None, limit: int) -> list[Asked]:
    """The newest questions whose answer somebody found of no help, whoever gave it."""
    down = select(_FEEDBACK.c.generation_id).where(_FEEDBACK.c.rating == Rating.DOWN)
    chosen = _newest(workspace_id, since, limit).where(_DECISION.c.generation_id.in_(down))
    return _questions(session, chosen, NOT_HELPFUL)


def dismiss(session: Session, turn_ids: Sequence[int], now: datetime) -> int:
    """Have these questions in no report any more; what is asked anew is. Returns how many were in one."""
    dismissed = 0
    for i in range(0, len(turn_ids), _IDS_AT_ONCE):
        these = _DECISION.c.turn_id.in_(turn_ids[i : i + _IDS_AT_ONCE]), _DECISION.c.dismissed_at.is_(None)
        done: Any = session.execute(update(_DECISION).where(*these).values(dismissed_at=now))
        dismissed += int(done.rowcount)
    return dismissed


def written_since(session: Session, moment: datetime) -> list[Written]:
    """The entries of all collections that were added or changed since."""
    rows = session.execute(
        select(_COLLECTION.c.workspace_id, _VERSION.c.phrasings, _VERSION.c.created_at)
        .join(_ENTRY, _ENTRY.c.collection_id == _COLLECTION.c.id)
        .join(_VERSION, and_(_VERSION.c.entry_id == _ENTRY.c.id, _VERSION.c.number == _ENTRY.c.version))
        .where(_COLLECTION.c.removed_at.is_(None), _ENTRY.c.removed_at.is_(None), _VERSION.c.created_at > moment)
    )
    return [Written(*row) for row in rows]


def staff_replies(session: Session, since: datetime) -> dict[int, str]:
    """By Turn: what staff wrote in the hand-off that it led to, since then. What was purged is left out."""
    rows = session.execute(
        select(_HANDOFF.c.turn_id, _REVISION.c.text)
        .join(_MESSAGE, _MESSAGE.c.conversation_id == _HANDOFF.c.conversation_id)
        .join(_REVISION, and_(_REVISION.c.message_id == _MESSAGE.c.id, _REVISION.c.number == _MESSAGE.c.revision))
        .where(
            _HANDOFF.c.turn_id.is_not(None),
            _HANDOFF.c.requested_at >= since,
            _MESSAGE.c.staff,
            _MESSAGE.c.deleted_at.is_(None),
            _MESSAGE.c.seq >= _HANDOFF.c.opened_seq,
            or_(_HANDOFF.c.released_at.is_(None), _MESSAGE.c.created_at <= _HANDOFF.c.released_at),
        )
        .order_by(_HANDOFF.c.id, _MESSAGE.c.seq)
    )
    found: dict[int, list[str]] = {}
    for turn_id, words in rows:
        if words:
            found.setdefault(turn_id, []).append(words)
    return {turn_id: "\n\n".join(words) for turn_id, words in found.items()}


def names_of(session: Session, entry_ids: Iterable[int]) -> dict[int, EntryName]:
    """The entries of these ids that are still there."""
    wanted, found = list(dict.fromkeys(entry_ids)), dict[int, EntryName]()
    for i in range(0, len(wanted), _IDS_AT_ONCE):
        rows = session.execute(
            select(_ENTRY.c.id, _ENTRY.c.key, _VERSION.c.phrasings, _COLLECTION.c.name, _COLLECTION.c.id.label("of"))
            .join(_VERSION, and_(_VERSION.c.entry_id == _ENTRY.c.id, _VERSION.c.number == _ENTRY.c.version))
            .join(_COLLECTION, _COLLECTION.c.id == _ENTRY.c.collection_id)
            .where(_ENTRY.c.id.in_(wanted[i : i + _IDS_AT_ONCE]), _ENTRY.c.removed_at.is_(None))
        )
        found |= {row.id: EntryName(row.id, row.key, row.phrasings[0], row.name, row.of) for row in rows}
    return found


def _newest(workspace_id: int | None, since: datetime | None, limit: int) -> Any:
    newest = select(_DECISION).order_by(_DECISION.c.generation_id.desc()).limit(limit)
    query = newest.where(_DECISION.c.dismissed_at.is_(None))
    if workspace_id is not None:
        query = query.where(_DECISION.c.workspace_id == workspace_id)
    return query if since is None else query.where(_DECISION.c.created_at >= since)


def _questions(session: Session, decisions: Any, outcome: str | None) -> list[Asked]:
    """The questions behind decisions, newest first."""
    chosen = decisions.subquery()
    likes = (
        select(func.sum(case((_FEEDBACK.c.rating == Rating.UP, 1), else_=-1)))
        .where(_FEEDBACK.c.generation_id == _GENERATION.c.id)
        .scalar_subquery()
    )
    rows = session.execute(
        select(
            chosen.c.turn_id,
            chosen.c.workspace_id,
            chosen.c.outcome,
            chosen.c.thresholds,
            _TURN.c.participant_id,
            _TURN.c.language,
            _TURN.c.queued_at,
            _REVISION.c.text.label("words"),
            _GENERATION.c.text.label("answer"),
            _MATCH.c.entry_id,
            likes.label("likes"),
        )
        .select_from(chosen)
        .join(_GENERATION, and_(_GENERATION.c.id == chosen.c.generation_id, _GENERATION.c.selected))
        .join(_TURN, _TURN.c.id == chosen.c.turn_id)
        .join(_MESSAGE, and_(_MESSAGE.c.id == _TURN.c.message_id, _MESSAGE.c.deleted_at.is_(None)))
        .join(_REVISION, and_(_REVISION.c.message_id == _MESSAGE.c.id, _REVISION.c.number == _MESSAGE.c.revision))
        .join(_PERSON, and_(_PERSON.c.id == _TURN.c.participant_id, _PERSON.c.opted_out_at.is_(None)))
        .outerjoin(_MATCH, and_(_MATCH.c.generation_id == chosen.c.generation_id, _MATCH.c.rank == 0))
        .order_by(chosen.c.generation_id.desc())
    )
    return [_asked(row, outcome) for row in rows]


def _asked(row: Any, outcome: str | None) -> Asked:
    by_chat = row.outcome == "abstain" and (row.likes or 0) > 0
    return Asked(
        turn_id=row.turn_id,
        workspace_id=row.workspace_id,
        person_id=row.participant_id,
        text=row.words,
        language=row.language,
        outcome=outcome or row.outcome,
        asked_at=row.queued_at,
        collection_id=row.thresholds.get("collection_id"),
        entry_id=row.entry_id,
        liked=row.answer if by_chat else "",
    )
