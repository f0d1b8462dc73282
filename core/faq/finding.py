"""Finding: what FAQs gave to a Turn, as people are shown it: what is cited, what may be chosen, or that nothing is there.

Read from SQL together with the Turn, and at no cost where no FAQ was asked. Knows no index and no words for people.
"""

from __future__ import annotations

from collections.abc import Iterator, Mapping, Sequence
from dataclasses import dataclass
from enum import StrEnum
from typing import Any

from sqlalchemy import and_, bindparam, select
from sqlalchemy.orm import Session

from core.faq.models import FaqMatch, FaqVersion
from core.faq.passages import AMONG, marks_in
from core.models import tables

_MATCH, _VERSION = tables(FaqMatch, FaqVersion)


CHOSEN = "entry"
"""The argument of a Turn that names the entry which was chosen among those that were offered, by its id."""


class Given(StrEnum):
    """What a Turn was given in the end; kept as the outcome of its FaqDecision."""

    ANSWER = "answer"
    """The curated answer, as it is."""
    ASK = "ask"
    """Questions to choose from."""
    GROUNDED = "grounded"
    """The model's words, each sentence supported by a passage that it cites."""
    PASSAGE = "passage"
    """The nearest entry's answer, which may be what was meant: the model said nothing that the passages support."""
    ABSTAIN = "abstain"
    """Nothing; where the assistant may speak by itself, its own answer."""


@dataclass(frozen=True, slots=True)
class Citation:
    """An entry that the answer rests on. `n` is its number in the answer's text, or 1 where the text is its own."""

    n: int
    entry_id: int
    version: int
    question: str


@dataclass(frozen=True, slots=True)
class Choice:
    """An entry that may be what was asked for. To choose it is to ask its question.

    `question` is a phrasing that no other choice has, where it has one.
    """

    entry_id: int
    question: str


@dataclass(frozen=True, slots=True)
class Finding:
    """What FAQs gave to a Generation. `reason` is the decision's own word, as `too_far` or `no_collection`.

    `human`: the place offers one to whom nothing could be given.
    """

    outcome: Given
    reason: str
    citations: tuple[Citation, ...] = ()
    choices: tuple[Choice, ...] = ()
    human: bool = False


_OFFERED = (
    select(_MATCH.c.generation_id, _MATCH.c.rank, _MATCH.c.entry_id, _MATCH.c.version, _VERSION.c.phrasings)
    .join(_VERSION, and_(_VERSION.c.entry_id == _MATCH.c.entry_id, _VERSION.c.number == _MATCH.c.version))
    .where(_MATCH.c.generation_id.in_(bindparam("of_generations", expanding=True)), _MATCH.c.rank < AMONG)
    .order_by(_MATCH.c.generation_id, _MATCH.c.rank)
)


@dataclass(frozen=True, slots=True)
class Kept:
    """A FaqDecision as it stands beside its Generation, whose text is `text`."""

    generation_id: int
    outcome: str
    reason: str
    text: str
    told: Mapping[str, Any]


def cited(given: Given, text: str) -> tuple[int, ...]:
    """The numbers, from 1, of the found entries on which an answer rests whose words are `text`."""
    match given:
        case Given.ANSWER | Given.PASSAGE:
            return (1,)
        case Given.GROUNDED:
            return marks_in(text)
        case _:
            return ()


def load(session: Session, kept: Sequence[Kept]) -> dict[int, Finding]:
    """The findings by Generation."""
    offering = [each.generation_id for each in kept if each.outcome != Given.ABSTAIN]
    offered: dict[int, list[Any]] = {}
    if offering:
        for row in session.execute(_OFFERED, {"of_generations": offering}):
            offered.setdefault(row.generation_id, []).append(row)
    return {each.generation_id: _finding(each, offered) for each in kept}


def _finding(kept: Kept, offered: Mapping[int, Sequence[Any]]) -> Finding:
    given, rows = Given(kept.outcome), offered.get(kept.generation_id, ())
    if given is Given.ASK:
        return Finding(given, kept.reason, choices=tuple(_choices(rows)))
    if given is Given.ABSTAIN:
        return Finding(given, kept.reason, human=bool(kept.told.get("human")))
    citations = (Citation(row.rank + 1, row.entry_id, row.version, row.phrasings[0]) for row in rows)
    numbers = cited(given, kept.text)
    return Finding(given, kept.reason, tuple(each for each in citations if each.n in numbers))


def _choices(rows: Sequence[Any]) -> Iterator[Choice]:
    for row in rows:
        others = {text for other in rows if other is not row for text in other.phrasings}
        yield Choice(row.entry_id, next((text for text in row.phrasings if text not in others), row.phrasings[0]))
