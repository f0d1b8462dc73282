"""Search: the collections that a Workspace sees, and what to do with a question; the one door for workers.

Keeps an index of every collection, fresh by `refresh`, and decides with the collection's own calibration where it was
made with the same embedder, else with the defaults for the owner's target. Knows no Turn and no model.
"""

from __future__ import annotations

import threading
from collections.abc import Collection, Sequence
from dataclasses import dataclass, replace
from datetime import date
from typing import Any

import structlog
from pydantic import ValidationError

from core.database import Database
from core.errors import ModelUnavailable, NotFound
from core.faq import collections, matches, neighbours
from core.faq.calibration import Calibration, Mode, Source, default, mode_of
from core.faq.classifier import Matrix
from core.faq.decision import SAME_WORDS, Decision, Outcome, decide
from core.faq.embedding import Embedder
from core.faq.evaluation import Labelled, Report, ask_all, report
from core.faq.index import CollectionIndex, Question
from core.faq.models import FaqCollection
from core.faq.passages import AMONG, reference_of
from core.recipes import Passage

log = structlog.get_logger(__name__)

_UNREADABLE = (ArithmeticError, LookupError, MemoryError, TypeError, ValueError)
"""What building one index may end with, for what stands in the collection; a service that is away is another matter."""
_RANK = {Outcome.ANSWER: 3, Outcome.ASK: 2, Outcome.GROUND: 1, Outcome.ABSTAIN: 0}


@dataclass(frozen=True, slots=True)
class Verdict:
    """What to do with a question, and what it was decided from. Where there is no collection to see, it names none."""

    decision: Decision
    collection: str
    collection_id: int | None
    revision: int
    mode: Mode
    source: Source
    embedder: str | None

    @property
    def outcome(self) -> Outcome:
        """What to do."""
        return self.decision.outcome

    def passages(self) -> tuple[Passage, ...]:
        """The entries to ground on, as the recipe `faq` takes them; each is named `faq:<entry>@<version>` for good."""
        return tuple(
            Passage(reference_of(match.hit.stored.entry_id, match.hit.stored.version), entry.answer, entry.question)
            for match in self.decision.offered
            for entry in (match.hit.stored.entry,)
        )

    def decided(self, given: str, reason: str | None = None, *, offers_human: bool = False) -> matches.Decided:
        """What is kept in SQL: what was given, a `Given`, and why, where that is not for the decision's own reason."""
        decision = self.decision
        found = tuple(
            matches.Found(
                entry_id=match.hit.stored.entry_id,
                version=match.hit.stored.version,
                phrasing=match.hit.phrasing,
                score=match.hit.score,
                lexical=match.hit.lexical,
                dense=match.hit.dense,
                probability=match.probability,
            )
            for match in decision.matches
        )
        told: dict[str, Any] = {
            **decision.thresholds.model_dump(),
            "decided": decision.outcome,
            "first": decision.probability_first,
            "among": decision.probability_among,
            "mode": self.mode,
            "source": self.source,
            "collection": self.collection,
            "collection_id": self.collection_id,
            "revision": self.revision,
            **({"human": True} if offers_human else {}),
        }
        return matches.Decided(given, reason or decision.reason, told, self.embedder, found)


@dataclass(frozen=True, slots=True)
class _Shelf:
    """A collection with its index."""

    name: str
    workspace_id: int | None
    index: CollectionIndex
    revision: int
    calibration: Calibration | None


class FaqSearch:
    """All collections of an installation, in memory. Every method may be called from any thread.

    The vectors of those with `pgvector_from` phrasings and more, unless that is 0, are left to pgvector.
    """

    def __init__(self, database: Database, embedder: Embedder | None, *, pgvector_from: int = 0) -> None:
        self._database, self._embedder, self._pgvector_from = database, embedder, pgvector_from
        self._refreshing = threading.Lock()
        self._shelves: dict[int, _Shelf] = {}
        self._unread: dict[int, int] = {}  # by collection, the revision that could not be indexed

    @property
    def embedder_revision(self) -> str | None:
        """The embedder's revision; None where search is by words alone."""
        return self._embedder.revision if self._embedder is not None else None

    @property
    def empty(self) -> bool:
        """Whether there is no collection at all."""
        return not self._shelves

    def refresh(self, *, trained: bool = True) -> int:
        """Take in what changed. Returns how many collections did. Raises DatabaseUnavailable, ModelUnavailable.

        Not `trained`, an index is there much sooner, and compares with the nearest phrasing only.
        """
        with self._refreshing:
            with self._database.read() as session:
                rows = collections.live(session)
                session.expunge_all()
            shelves, changed = {}, 0
            for row in rows:
                known = self._shelves.get(row.id)
                shelf = self._fresh(row, known, trained=trained)
                if shelf is not None:
                    shelves[row.id] = shelf
                    changed += shelf.revision != (known.revision if known is not None else 0)
            if self._shelves.keys() - shelves:
                neighbours.forget(self._database)
            self._shelves = shelves
            return changed

    def _fresh(self, row: FaqCollection, known: _Shelf | None, *, trained: bool) -> _Shelf | None:
        """The collection as it is now; as it was, if at all, where it cannot be read: the others are to be served."""
        if self._unread.get(row.id) == row.revision:
            return known
        index = known.index if known is not None else self._index(row.id)
        where = {"collection_id": row.id, "revision": row.revision}
        try:
            if index.snapshot.revision != row.revision and index.refresh(self._database, trained=trained):
                log.info("An index was built.", action="faq_indexed", **where)
        except _UNREADABLE:
            log.exception("A collection cannot be indexed; it is served as it was.", action="faq_unread", **where)
            self._unread[row.id] = row.revision
            return known
        return _Shelf(row.name, row.workspace_id, index, index.snapshot.revision, self._calibration(row))

    def _index(self, collection_id: int) -> CollectionIndex:
        return CollectionIndex(collection_id, self._embedder, pgvector_from=self._pgvector_from)

    def search(
        self,
        workspace_id: int | None,
        text: str,
        *,
        day: date,
        limit: int = 5,
        names: Collection[str] | None = None,
        collection_id: int | None = None,
        chosen: int | None = None,
    ) -> Verdict:
        """What to do with a question of this Workspace; `names` or an id restricts the collections.

        `chosen` is the entry that the person chose among those that were offered, whose question this is.

        Where several collections would do alike, the Workspace's own goes before those of all, and the older first.
        By words alone where the embedder fails, and where an owner wrote just this question: to embed it takes longer
        than all the rest, and would change nothing. Raises DatabaseUnavailable where vectors are left to SQL.
        """
        shelves = [
            shelf
            for key, shelf in self._shelves.items()
            if shelf.workspace_id in (None, workspace_id)
            and (names is None or shelf.name in names)
            and collection_id in (None, key)
        ]
        # Sorting leaves the older first.
        seen = sorted(shelves, key=lambda shelf: (not shelf.index.snapshot.holds(chosen), shelf.workspace_id is None))
        for shelf in seen:
            question = shelf.index.question_in_words(text)
            if question.plain in shelf.index.snapshot.said:
                verdict = self._verdict(shelf, question, limit, day, chosen)
                if verdict.decision.reason == SAME_WORDS:
                    return verdict
        best: Verdict | None = None
        vector = None
        for shelf in seen:
            question = self._question(shelf.index, text, vector)
            vector = question.vector
            verdict = self._verdict(shelf, question, limit, day, chosen)
            best = verdict if best is None or _order(verdict) > _order(best) else best
        return best or nothing("no_collection")

    def _verdict(self, shelf: _Shelf, question: Question, limit: int, day: date, chosen: int | None) -> Verdict:
        snapshot = shelf.index.snapshot
        mode = mode_of(snapshot, meaning=question.vector is not None)
        calibration = shelf.calibration
        sureness = calibration.sureness(mode) if calibration is not None else default(mode)
        source = calibration.source(mode) if calibration is not None else "default"
        decision = decide(snapshot.search(question, max(limit, AMONG), day=day), sureness, chosen)
        collection_id = shelf.index.collection_id
        return Verdict(decision, shelf.name, collection_id, snapshot.revision, mode, source, self.embedder_revision)

    def index_of(self, collection_id: int) -> CollectionIndex:
        """The index of one collection, fresh by the last `refresh`. Raises NotFound."""
        shelf = self._shelves.get(collection_id)
        if shelf is None:
            raise NotFound(f"There is no collection {collection_id}.")
        return shelf.index

    def evaluate(self, collection_id: int, questions: Sequence[Labelled]) -> Report:
        """How one collection does on labelled questions, as it is now.

        Raises NotFound, DatabaseUnavailable, ModelUnavailable.
        """
        asked = ask_all(self.index_of(collection_id), questions)
        calibration = self._shelves[collection_id].calibration
        return report(asked, calibration.sureness if calibration is not None else default)

    @property
    def embedder(self) -> Embedder | None:
        """What reads questions; None where search is by words alone."""
        return self._embedder

    def _question(self, index: CollectionIndex, text: str, vector: Matrix | None) -> Question:
        try:
            return index.question(text, vector)
        except ModelUnavailable as error:
            log.warning("A question is compared by words alone.", action="embedding_failed", reason=str(error))
            return index.question_in_words(text)

    def _calibration(self, row: FaqCollection) -> Calibration | None:
        """What was measured, as far as it holds with the embedder of today."""
        if row.calibration is None:
            return None
        try:
            return Calibration.model_validate(row.calibration).with_embedder(self.embedder_revision)
        except ValidationError:
            log.warning("What was measured cannot be read.", action="calibration_unread", collection_id=row.id)
            return None


def nothing(reason: str) -> Verdict:
    """The verdict where no collection was asked."""
    decision = decide((), default("words-nearest"))
    return Verdict(replace(decision, reason=reason), "", None, 0, "words-nearest", "default", None)


def _order(verdict: Verdict) -> tuple[int, float, float]:
    decision = verdict.decision
    return _RANK[decision.outcome], decision.probability_first, decision.probability_among
