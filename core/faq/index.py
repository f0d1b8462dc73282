"""Index: one collection in memory, searched by words and by meaning.

A Snapshot never changes. `CollectionIndex.refresh` reads what changed in SQL since the last one, splits and embeds only
new phrasings, builds another Snapshot beside the one that serves, and swaps it in with one assignment: a search uses
the one it began with. Knows SQL only through `collections`, `vectors` and `neighbours`; knows no thresholds.
"""

from __future__ import annotations

import threading
from collections.abc import Mapping, Sequence
from contextlib import suppress
from dataclasses import dataclass, replace
from datetime import date
from functools import partial

import numpy as np
import numpy.typing as npt
import structlog
from numpy.linalg import LinAlgError

from core.database import Database
from core.errors import NotFound
from core.faq import collections, lexical, vectors
from core.faq.classifier import Classifier, InMemory, Kernel, Matrix, Meaning, train
from core.faq.collections import StoredEntry
from core.faq.embedding import Embedder
from core.faq.entry import Entry
from core.faq.lexical import Terms, Vocabulary
from core.faq.neighbours import Neighbours, Store, neighbours_of
from core.faq.words import plain

log = structlog.get_logger(__name__)

MOST_TRAINED = 16_000
"""Phrasings that a classifier learns from; of more, each entry gives its share. So many take 16 to 23 s of one core and up
to 0.9 GB, each time that the collection changes; both grow fast from there on."""
MOST_WEIGHTS = 32_000_000
"""Numbers that a classifier may have; where entries are so many that each could give one phrasing as a rule, or where
they have but one, the nearest counts."""

MOST_SCORED = 256
"""Entries that a classifier is asked about, of more the nearest: to read all of its weights takes 9 to 11 ms where there
are 2,000 entries with 10,000 phrasings, to read those of 256 takes 0.8, and 1.7 with 16,000."""

_EMBED_AT_ONCE = 512
_ALWAYS = (0, date.max.toordinal() + 1)


@dataclass(frozen=True, slots=True)
class Question:
    """What somebody asks, as the index compares it: term ids and, where an embedder reads it, a vector."""

    terms: Terms
    vector: Matrix | None
    plain: str


@dataclass(frozen=True, slots=True)
class Hit:
    """An entry that was found. `lexical` and `dense` are the cosines of its nearest phrasing, in words and meaning.

    `same`: the question is one of its phrasings, but for capitals and punctuation.
    """

    stored: StoredEntry
    phrasing: int
    score: float
    nearness: float
    lexical: float
    dense: float | None
    same: bool = False


@dataclass(frozen=True, slots=True)
class Snapshot:
    """A collection at one revision. Phrasings of an entry lie together; `starts` is where each entry's begin."""

    revision: int
    stored: tuple[StoredEntry, ...]
    starts: npt.NDArray[np.int64]
    kernel: Kernel
    days: npt.NDArray[np.int64]  # (entries, 2): first and last day of validity, as ordinals
    said: Mapping[str, frozenset[int]]  # the entries of each phrasing, by its plain text
    classifier: Classifier | None = None

    @property
    def owners(self) -> npt.NDArray[np.int64]:
        """The entry of each phrasing, by position."""
        ends = np.append(self.starts[1:], len(self.kernel.read))
        return np.repeat(np.arange(len(self.starts)), ends - self.starts)

    def holds(self, entry_id: int | None) -> bool:
        """Whether it has the entry of this id."""
        return entry_id is not None and any(each.entry_id == entry_id for each in self.stored)

    def search(self, question: Question, limit: int = 5, *, day: date | None = None) -> list[Hit]:
        """The best entries for a question, best first; with `day`, those that are valid then.

        Raises DatabaseUnavailable where the vectors are in SQL.
        """
        if not self.stored:
            return []
        likeness = self.kernel.words.search(question.terms)
        cosines = self.kernel.cosines(question.vector, likeness)
        nearness = self.kernel.of_question(cosines, likeness)
        scores = self._scores(nearness, day, limit)
        same = self.said.get(question.plain, frozenset())
        chosen = dict.fromkeys([*top(scores, limit), *sorted(same)])
        hits = [self._hit(i, float(scores[i]), nearness, likeness, cosines, i in same) for i in chosen]
        return [hit for hit in hits if (hit.nearness > 0 or hit.same) and np.isfinite(hit.score)]

    def _scores(self, nearness: Matrix, day: date | None, limit: int) -> Matrix:
        """The score of every entry, `-inf` for those that do not count: not valid then, or far from the question."""
        nearest = np.maximum.reduceat(nearness, self.starts)
        if day is not None:
            number = day.toordinal()
            nearest[(self.days[:, 0] > number) | (self.days[:, 1] < number)] = -np.inf
        if self.classifier is None:
            return nearest
        scores = np.full(len(nearest), -np.inf, dtype=np.float32)
        chosen = [i for i in top(nearest, max(limit, MOST_SCORED)) if np.isfinite(nearest[i])]
        scores[chosen] = self.classifier.scores(nearness, chosen)
        return scores

    def _hit(self, i: int, score: float, nearness: Matrix, likeness: Matrix, cosines: Matrix | None, same: bool) -> Hit:
        end = self.starts[i + 1] if i + 1 < len(self.starts) else len(nearness)
        at = int(self.starts[i]) + int(np.argmax(nearness[self.starts[i] : end]))
        dense = None if cosines is None or np.isnan(cosines[at]) else float(cosines[at])
        return Hit(
            self.stored[i], at - int(self.starts[i]), score, float(nearness[at]), float(likeness[at]), dense, same
        )


class CollectionIndex:
    """The index of one collection, kept fresh. Searches may go on in any thread while one refreshes.

    From `pgvector_from` phrasings on, unless that is 0, their vectors are left to PostgreSQL where it has pgvector.
    """

    def __init__(
        self,
        collection_id: int,
        embedder: Embedder | None,
        *,
        most_trained: int = MOST_TRAINED,
        pgvector_from: int = 0,
    ) -> None:
        self.collection_id = collection_id
        self._embedder, self._most_trained, self._pgvector_from = embedder, most_trained, pgvector_from
        self._vocabulary = Vocabulary()
        self._texts: dict[str, tuple[Terms, bool]] = {}  # its terms, and whether the embedder reads it
        self._vectors: dict[str, Matrix] = {}  # those that are held in memory
        self._entries: dict[int, StoredEntry] = {}
        self._refreshing = threading.Lock()
        self.snapshot: Snapshot = self._build(0)

    @property
    def embedder_revision(self) -> str | None:
        """The embedder's revision; None where search is by words alone."""
        return self._embedder.revision if self._embedder is not None else None

    def refresh(self, database: Database, *, trained: bool = True) -> bool:
        """Take in what changed since the last time. Whether anything did. Raises DatabaseUnavailable, ModelUnavailable."""
        with self._refreshing:
            with database.read() as session:
                changed = collections.changed_since(session, self.collection_id, self.snapshot.revision)
            if not changed:
                return False
            self._take(changed)
            self.snapshot = self._build(max(stored.revision for stored in changed), database, trained=trained)
            self._drop_strange(database)
            return True

    def load(self, entries: Sequence[Entry], *, trained: bool = True) -> None:
        """Take entries that are in no database, as a trial or a measurement has them. Raises ModelUnavailable."""
        stored = [StoredEntry(i, 1, 1, removed=False, entry=entry) for i, entry in enumerate(entries, start=1)]
        with self._refreshing:
            self._take(stored)
            self.snapshot = self._build(1, trained=trained)

    def question(self, text: str, vector: Matrix | None = None) -> Question:
        """`text` as it is compared; its vector is computed where none is given. Raises ModelUnavailable."""
        if vector is None and self._embedder is not None and self._embedder.reads(text):
            vector = self._embedder.embed([text])[0]
        return replace(self.question_in_words(text), vector=vector)

    def question_in_words(self, text: str) -> Question:
        """`text` as it is compared by words alone."""
        return Question(self._vocabulary.look_up(text), None, plain(text))

    def _take(self, changed: Sequence[StoredEntry]) -> None:
        for stored in changed:
            self._entries.pop(stored.entry_id, None)
            if not stored.removed:
                self._entries[stored.entry_id] = stored
        texts = {text: None for stored in self._entries.values() for text in stored.entry.phrasings}
        self._texts = {text: self._texts[text] if text in self._texts else self._learned(text) for text in texts}

    def _learned(self, text: str) -> tuple[Terms, bool]:
        return self._vocabulary.learn(text), self._embedder is not None and self._embedder.reads(text)

    def _build(self, revision: int, database: Database | None = None, *, trained: bool = True) -> Snapshot:
        stored = tuple(sorted(self._entries.values(), key=lambda each: each.entry_id))
        texts = [text for each in stored for text in each.entry.phrasings]
        counts = np.array([len(each.entry.phrasings) for each in stored], dtype=np.int64)
        owners = np.repeat(np.arange(len(stored)), counts)
        rows = _rows_to_learn(owners, len(stored), self._most_trained) if trained else None
        read = np.array([self._texts[text][1] for text in texts], dtype=bool)
        meaning = self._meaning(database, texts, read, rows)
        kernel = Kernel(meaning, read, lexical.build([self._texts[text][0] for text in texts], len(self._vocabulary)))
        days = np.array([_span(each) for each in stored], dtype=np.int64).reshape(-1, 2)
        classifier = _trained(kernel, owners, len(stored), rows)
        return Snapshot(revision, stored, np.cumsum(counts) - counts, kernel, days, _said(stored), classifier)

    def _meaning(
        self,
        database: Database | None,
        texts: Sequence[str],
        read: npt.NDArray[np.bool_],
        learned: npt.NDArray[np.int64] | None,
    ) -> Meaning | None:
        """The vectors of the phrasings: in SQL, but for those to learn from, where there are very many; else in memory."""
        if self._embedder is None or not read.any():
            return None
        if database is not None and 0 < self._pgvector_from <= len(texts):
            store = Store(database, self.collection_id, self._embedder.revision)
            found = neighbours_of(store, texts, read, learned, partial(self._rows, database))
            if found is not None:
                self._vectors = {}
                return found
        rows = self._rows(database, texts, read)
        self._vectors = {texts[i]: rows[i] for i in np.flatnonzero(read).tolist()}
        return InMemory(rows)

    def _rows(
        self, database: Database | None, texts: Sequence[str], read: npt.NDArray[np.bool_] | None = None
    ) -> Matrix:
        """The vectors of texts that the embedder reads, zeros for others: shape (texts, dimensions)."""
        wanted = range(len(texts)) if read is None else np.flatnonzero(read).tolist()
        held = self._vectors  # a refresh may swap it
        known = {texts[i]: held[texts[i]] for i in wanted if texts[i] in held}
        known |= self._embedded(database, list({texts[i]: None for i in wanted if texts[i] not in known}))
        rows = np.zeros((len(texts), len(next(iter(known.values())))), dtype=np.float32)
        for i in wanted:
            rows[i] = known[texts[i]]
        return rows

    def _embedded(self, database: Database | None, texts: Sequence[str]) -> dict[str, Matrix]:
        """The vectors of texts that the embedder reads: those that SQL keeps, the others computed and kept."""
        assert self._embedder is not None
        revision = self._embedder.revision
        found: dict[str, Matrix] = {}
        if database is not None and texts:
            with database.read() as session:
                found = vectors.load(session, revision, texts)
        missing = [text for text in texts if text not in found]
        for i in range(0, len(missing), _EMBED_AT_ONCE):
            batch = missing[i : i + _EMBED_AT_ONCE]
            made = self._embedder.embed(batch)
            if database is not None:
                with database.write() as session:
                    vectors.keep(session, revision, batch, made)
            found |= dict(zip(batch, made, strict=True))
        return found

    def _drop_strange(self, database: Database) -> None:
        """Drop what SQL has of phrasings that are gone, unless the collection has changed: then others may need it."""
        meaning = self.snapshot.kernel.meaning
        if isinstance(meaning, Neighbours) and len(meaning.strange):
            with database.write() as session, suppress(NotFound):
                if collections.get(session, self.collection_id, lock=True).revision == self.snapshot.revision:
                    meaning.store.drop(session, meaning.strange)


def top(scores: Matrix, limit: int) -> list[int]:
    """The positions of the highest values, highest first; equal ones in order."""
    chosen = np.arange(len(scores))
    if limit < len(scores):
        chosen = np.sort(np.argpartition(-scores, limit)[:limit])
    return [int(i) for i in chosen[np.argsort(-scores[chosen], kind="stable")]]


def training_rows(owners: npt.NDArray[np.int64], most: int = MOST_TRAINED) -> npt.NDArray[np.int64]:
    """The phrasings to learn from: all, or of each entry the first so many that together they are at most `most`."""
    if len(owners) <= most:
        return np.arange(len(owners))
    counts = np.bincount(owners)
    place = np.arange(len(owners)) - np.repeat(np.cumsum(counts) - counts, counts)  # within its entry
    share = max(1, next(s for s in range(int(counts.max()), -1, -1) if np.minimum(counts, s).sum() <= most))
    return np.flatnonzero(place < share)


def _rows_to_learn(owners: npt.NDArray[np.int64], entries: int, most: int) -> npt.NDArray[np.int64] | None:
    """The phrasings of a classifier, where it does not become too large, and has several of an entry as a rule."""
    if entries < 2:
        return None
    rows = training_rows(owners, min(most, MOST_WEIGHTS // entries))
    return rows if len(rows) >= 2 * entries else None


def _trained(
    kernel: Kernel, owners: npt.NDArray[np.int64], entries: int, rows: npt.NDArray[np.int64] | None
) -> Classifier | None:
    """A classifier that has learned from these phrasings; None where there are none, or their kernel is none."""
    if rows is None:
        return None
    try:
        return train(kernel, owners[rows], entries, rows)
    except LinAlgError as error:
        log.warning(
            "A collection is not learned from; the nearest phrasing counts.", action="faq_untrained", reason=str(error)
        )
        return None


def _said(stored: Sequence[StoredEntry]) -> Mapping[str, frozenset[int]]:
    said: dict[str, set[int]] = {}
    for i, each in enumerate(stored):
        for text in map(plain, each.entry.phrasings):
            if text:
                said.setdefault(text, set()).add(i)
    return {text: frozenset(entries) for text, entries in said.items()}


def _span(stored: StoredEntry) -> tuple[int, int]:
    first, last = stored.entry.valid_from, stored.entry.valid_until
    return (first.toordinal() if first else _ALWAYS[0]), (last.toordinal() if last else _ALWAYS[1])
