"""Gaps: what people asked and no entry answered well, gathered into suggestions of what to write next.

    asked (SQL) → the same words once → clusters → a suggested entry each

A suggestion is made of people's own questions. Its answer is left to the owner; what staff replied in a hand-off, or a
chat's own answer that people found good, is a draft, marked as one. What an entry that was written since says word for word is no gap any more.
"""

from __future__ import annotations

from collections import Counter, defaultdict
from collections.abc import Collection, Iterable, Mapping, Sequence
from dataclasses import dataclass, field
from datetime import datetime
from hashlib import sha256
from typing import Literal

import numpy as np
from sqlalchemy.orm import Session

from core.database import Database
from core.faq import asked as questions
from core.faq.asked import Asked, EntryName
from core.faq.clusters import by_meaning, by_words
from core.faq.embedding import Embedder
from core.faq.entry import MAX_ANSWER_CHARS, MAX_QUESTION_CHARS
from core.faq.words import is_chinese, plain
from core.values import Value

MOST_QUESTIONS = 10_000
"""Questions of each kind that are looked at, the newest."""
MOST_EMBEDDED = 500
"""Clusters of which the middle is compared by meaning, those that were asked most."""
MOST_GAPS = 200
MOST_PHRASINGS = 20
EXAMPLES = 5

CHINESE = "zh-CN"


class Example(Value):
    """One time that it was asked."""

    turn_id: int
    text: str
    outcome: str
    asked_at: datetime


class Nearest(Value):
    """The entry that came nearest most often, and for which share of the questions."""

    key: str
    question: str
    collection: str
    collection_id: int
    share: float


class AnswerDraft(Value):
    """Words to begin an answer with, and whose they are: to be checked, never published unread."""

    text: str
    source: Literal["staff", "liked_chat_answer"]


class Gap(Value):
    """Questions that ask the same thing, as a suggested entry: `question` is their middle, `phrasings` the others.

    `gap_id` is made of the question, so that the same gap has the same id from one report to the next. `turn_ids` are all
    of its questions, to be dismissed.
    """

    gap_id: str
    language: str
    question: str
    phrasings: tuple[str, ...]
    count: int
    people: int
    outcomes: dict[str, int]
    first_asked_at: datetime
    last_asked_at: datetime
    examples: tuple[Example, ...]
    nearest: Nearest | None
    draft: AnswerDraft | None
    turn_ids: tuple[int, ...] = ()


class GapReport(Value):
    """The gaps, those asked most first. `complete` is false where older questions were left out for their number.

    `more` are further gaps that are not shown, each asked no more often than the last one.
    """

    questions: int
    complete: bool
    embedder: str | None
    gaps: tuple[Gap, ...]
    more: int


@dataclass(slots=True)
class Wording:
    """One question in the words of whoever asked it last, and every time that it was asked so."""

    text: str
    times: list[Asked] = field(default_factory=list)


def report(
    database: Database,
    embedder: Embedder | None = None,
    *,
    workspace_id: int | None = None,
    collection_ids: Collection[int] | None = None,
    since: datetime | None = None,
) -> GapReport:
    """The gaps of a Workspace, or of all where it is None; of questions for which one of these collections came nearest.

    Raises DatabaseUnavailable, and ModelUnavailable from the embedder.
    """
    with database.read() as session:
        unanswered = questions.unanswered(session, workspace_id, since, MOST_QUESTIONS)
        not_helpful = questions.not_helpful(session, workspace_id, since, MOST_QUESTIONS)
        by_turn = {each.turn_id: each for each in (*not_helpful, *unanswered)}
        chosen = [each for each in by_turn.values() if collection_ids is None or each.collection_id in collection_ids]
        still_open = _without_written(session, chosen)
        named = questions.names_of(session, (each.entry_id for each in still_open if each.entry_id is not None))
        oldest = min((each.asked_at for each in still_open), default=None)
        replies = questions.staff_replies(session, oldest) if oldest is not None else {}
    gathered = gather(still_open, embedder)
    return GapReport(
        questions=len(still_open),
        complete=max(len(unanswered), len(not_helpful)) < MOST_QUESTIONS,
        embedder=embedder.revision if embedder is not None else None,
        gaps=tuple(_gap(wordings, named, replies) for wordings in gathered[:MOST_GAPS]),
        more=max(len(gathered) - MOST_GAPS, 0),
    )


def gather(asked: Iterable[Asked], embedder: Embedder | None = None) -> list[list[Wording]]:
    """Questions that ask the same thing together, in each the middle first; those asked most, then by most people, first.

    The order in which they are given makes no difference.
    """
    wordings = _wordings(asked)
    gathered = []
    for chinese in (True, False):
        of_language = [each for each in wordings if is_chinese(each.text) is chinese]
        gathered += [[of_language[i] for i in group] for group in _clusters(of_language, embedder)]
    return sorted(gathered, key=_weight)


def _without_written(session: Session, asked: Sequence[Asked]) -> list[Asked]:
    """The questions but those that, in just these words, an entry which their Workspace sees was written for since."""
    if not asked:
        return []
    written: dict[str, list[tuple[int | None, datetime]]] = defaultdict(list)
    for each in questions.written_since(session, min(question.asked_at for question in asked)):
        for text in each.phrasings:
            written[plain(text)].append((each.workspace_id, each.created_at))
    return [
        question
        for question in asked
        if not any(
            where in (None, question.workspace_id) and when > question.asked_at
            for where, when in written.get(plain(question.text), ())
        )
    ]


def _wordings(asked: Iterable[Asked]) -> list[Wording]:
    """The questions with what differs in capitals and punctuation only put together, most asked and newest first."""
    found: dict[str, Wording] = {}
    for each in sorted(asked, key=lambda question: (question.asked_at, question.turn_id), reverse=True):
        text = " ".join(each.text.split())[:MAX_QUESTION_CHARS]
        if any(c.isalnum() for c in text):  # a question without a letter tells nobody what to write
            found.setdefault(plain(text), Wording(text)).times.append(each)
    return sorted(found.values(), key=lambda wording: -len(wording.times))


def _clusters(wordings: Sequence[Wording], embedder: Embedder | None) -> list[list[int]]:
    """Clusters of positions, the middle of each first."""
    if not wordings:
        return []
    counts = [len(each.times) for each in wordings]
    groups = by_words([each.text for each in wordings], counts)
    if embedder is None:
        return groups
    asked = np.array([sum(counts[i] for i in group) for group in groups])
    often = [int(i) for i in np.argsort(-asked, kind="stable")[:MOST_EMBEDDED]]
    read = [i for i in often if embedder.reads(wordings[groups[i][0]].text)]
    if len(read) < 2:
        return groups
    vectors = embedder.embed([wordings[groups[i][0]].text for i in read])
    joined = [[read[i] for i in group] for group in by_meaning(vectors, [int(asked[i]) for i in read])]
    alone = sorted(set(range(len(groups))) - set(read))
    return [[i for group in several for i in groups[group]] for several in (*joined, *([i] for i in alone))]


def _gap(wordings: Sequence[Wording], named: Mapping[int, EntryName], replies: Mapping[int, str]) -> Gap:
    middle, others = wordings[0], sorted(wordings[1:], key=lambda each: -len(each.times))
    times = sorted((each for wording in wordings for each in wording.times), key=_when, reverse=True)
    return Gap(
        gap_id=sha256(plain(middle.text).encode()).hexdigest()[:8],
        language=_language(middle.text, times),
        question=middle.text,
        phrasings=tuple(each.text for each in others[:MOST_PHRASINGS]),
        count=len(times),
        people=len({each.person_id for each in times}),
        outcomes=dict(Counter(each.outcome for each in times).most_common()),
        first_asked_at=times[-1].asked_at,
        last_asked_at=times[0].asked_at,
        examples=tuple(
            Example(turn_id=each.turn_id, text=each.text, outcome=each.outcome, asked_at=each.asked_at)
            for each in times[:EXAMPLES]
        ),
        nearest=_nearest(times, named),
        draft=_draft(times, replies),
        turn_ids=tuple(each.turn_id for each in times),
    )


def _weight(wordings: Sequence[Wording]) -> tuple[int, int, float, str]:
    times = [each for wording in wordings for each in wording.times]
    people = len({each.person_id for each in times})
    return -len(times), -people, -max(each.asked_at for each in times).timestamp(), wordings[0].text


def _when(asked: Asked) -> tuple[datetime, int]:
    return asked.asked_at, asked.turn_id


def _language(text: str, times: Sequence[Asked]) -> str:
    """The language of a suggestion, as far as signs and the people's own settings tell."""
    if is_chinese(text):
        return CHINESE
    told = Counter(each.language for each in times if not each.language.startswith("zh"))
    return told.most_common(1)[0][0] if told else ""


def _nearest(times: Sequence[Asked], named: Mapping[int, EntryName]) -> Nearest | None:
    counted = Counter(each.entry_id for each in times if each.entry_id in named)
    if not counted:
        return None
    entry_id, count = counted.most_common(1)[0]
    assert entry_id is not None
    name = named[entry_id]
    return Nearest(
        key=name.key,
        question=name.question,
        collection=name.collection,
        collection_id=name.collection_id,
        share=round(count / len(times), 3),
    )


def _draft(times: Sequence[Asked], replies: Mapping[int, str]) -> AnswerDraft | None:
    """What a human replied last, else the newest answer of the chat that people found good."""
    replied = next((replies[each.turn_id] for each in times if each.turn_id in replies), "")
    if replied:
        return AnswerDraft(text=replied[:MAX_ANSWER_CHARS], source="staff")
    liked = next((each.liked for each in times if each.liked), "")
    return AnswerDraft(text=liked[:MAX_ANSWER_CHARS], source="liked_chat_answer") if liked else None
