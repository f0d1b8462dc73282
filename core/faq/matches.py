"""Matches in SQL: what was decided about a Turn and which entries were found for it, for `why` and counts.

Knows no index. Rows refer to entries by version, so that an answer is explained in the words of its day; the question
itself is the Turn's Message and is not copied.
"""

from __future__ import annotations

from dataclasses import dataclass
from datetime import datetime
from typing import Any

from sqlalchemy import and_, bindparam, case, delete, func, insert, select
from sqlalchemy.orm import Session

from core.faq import finding
from core.faq.entry import Entry
from core.faq.finding import Given
from core.faq.models import FaqDecision, FaqEntry, FaqMatch, FaqVersion
from core.models import Feedback, tables
from core.values import Rating

_DECISION, _MATCH, _ENTRY, _VERSION = tables(FaqDecision, FaqMatch, FaqEntry, FaqVersion)
(_FEEDBACK,) = tables(Feedback)


@dataclass(frozen=True, slots=True)
class Found:
    """An entry that was found, by its version, with its scores. `phrasing` is the one that came closest."""

    entry_id: int
    version: int
    phrasing: int
    score: float
    lexical: float
    dense: float | None
    probability: float


@dataclass(frozen=True, slots=True)
class Decided:
    """What is kept of a decision."""

    outcome: str
    reason: str
    thresholds: dict[str, Any]
    embedder: str | None
    found: tuple[Found, ...]


@dataclass(frozen=True, slots=True)
class MatchView:
    """A found entry in the words of its version."""

    found: Found
    entry: Entry


@dataclass(frozen=True, slots=True)
class DecisionView:
    """What was decided about a Generation, for `why`; best match first."""

    generation_id: int
    outcome: str
    reason: str
    thresholds: dict[str, Any]
    embedder: str | None
    matches: tuple[MatchView, ...]


@dataclass(frozen=True, slots=True)
class Helpfulness:
    """How often curated text was given, as it is or in the model's words with its citation, and what people said."""

    given: int = 0
    helpful: int = 0
    not_helpful: int = 0


# Built once: putting a statement together costs more than SQLite takes to run it.
_REPLACED = tuple(
    delete(table).where(table.c.generation_id == bindparam("of_generation")) for table in (_MATCH, _DECISION)
)
_ADD_DECISION, _ADD_MATCHES = insert(_DECISION), insert(_MATCH)


def record(
    session: Session,
    generation_id: int,
    turn_id: int,
    workspace_id: int,
    decided: Decided,
    now: datetime,
    text: str = "",
) -> None:
    """Keep what was decided about a Generation whose words are `text`; what an earlier attempt wrote is replaced."""
    for statement in _REPLACED:
        session.execute(statement, {"of_generation": generation_id})
    row = {
        "generation_id": generation_id,
        "turn_id": turn_id,
        "workspace_id": workspace_id,
        "outcome": decided.outcome,
        "reason": decided.reason,
        "thresholds": decided.thresholds,
        "embedder": decided.embedder,
        "created_at": now,
    }
    session.execute(_ADD_DECISION, row)
    if decided.found:
        session.execute(_ADD_MATCHES, _rows(generation_id, decided, text))


def of_generation(session: Session, generation_id: int) -> DecisionView | None:
    """What was decided about a Generation; None where no FAQ was asked."""
    decision = session.execute(select(_DECISION).where(_DECISION.c.generation_id == generation_id)).one_or_none()
    if decision is None:
        return None
    rows = session.execute(
        select(_MATCH, _ENTRY.c.key, *(_VERSION.c[name].label(f"entry_{name}") for name in _WORDS))
        .join(_ENTRY, _ENTRY.c.id == _MATCH.c.entry_id)
        .join(_VERSION, and_(_VERSION.c.entry_id == _MATCH.c.entry_id, _VERSION.c.number == _MATCH.c.version))
        .where(_MATCH.c.generation_id == generation_id)
        .order_by(_MATCH.c.rank)
    )
    return DecisionView(
        generation_id=generation_id,
        outcome=decision.outcome,
        reason=decision.reason,
        thresholds=decision.thresholds,
        embedder=decision.embedder,
        matches=tuple(_match(row) for row in rows),
    )


def helpfulness(session: Session, collection_id: int) -> dict[str, Helpfulness]:
    """By entry key: how often the entry was given, and how that was rated. Entries that never were are missing."""
    return _counted(session, _ENTRY.c.key, _ENTRY.c.collection_id == collection_id)


def helpfulness_by_collection(session: Session) -> dict[int, Helpfulness]:
    """By collection id, the same of all its entries together, also of those that were removed."""
    return _counted(session, _ENTRY.c.collection_id)


def _counted(session: Session, of: Any, *chosen: Any) -> dict[Any, Helpfulness]:
    rows = session.execute(
        select(
            of.label("of"),
            func.count(_MATCH.c.generation_id.distinct()).label("given"),
            _rated(Rating.UP).label("helpful"),
            _rated(Rating.DOWN).label("not_helpful"),
        )
        .select_from(_ENTRY)
        .join(_MATCH, and_(_MATCH.c.entry_id == _ENTRY.c.id, _MATCH.c.cited))
        .outerjoin(_FEEDBACK, _FEEDBACK.c.generation_id == _MATCH.c.generation_id)
        .where(*chosen)
        .group_by(of)
    )
    return {row.of: Helpfulness(row.given, row.helpful, row.not_helpful) for row in rows}


def _rated(rating: Rating) -> Any:
    """Ratings of this kind, each once: an answer may cite several entries of a collection."""
    return func.count(case((_FEEDBACK.c.rating == rating, _FEEDBACK.c.id)).distinct())


_WORDS = ("phrasings", "answer", "tags", "language", "valid_from", "valid_until")


def _rows(generation_id: int, decided: Decided, text: str) -> list[dict[str, Any]]:
    numbers = finding.cited(Given(decided.outcome), text)
    return [
        {
            "generation_id": generation_id,
            "rank": rank,
            "entry_id": each.entry_id,
            "version": each.version,
            "phrasing": each.phrasing,
            "score": each.score,
            "lexical": each.lexical,
            "dense": each.dense,
            "probability": each.probability,
            "cited": rank + 1 in numbers,
        }
        for rank, each in enumerate(decided.found)
    ]


def _match(row: Any) -> MatchView:
    found = Found(row.entry_id, row.version, row.phrasing, row.score, row.lexical, row.dense, row.probability)
    entry = Entry(
        key=row.key,
        phrasings=tuple(row.entry_phrasings),
        answer=row.entry_answer,
        tags=tuple(row.entry_tags),
        language=row.entry_language,
        valid_from=row.entry_valid_from,
        valid_until=row.entry_valid_until,
    )
    return MatchView(found, entry)
