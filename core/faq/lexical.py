"""Likeness by words: the cosine of BM25 vectors of terms, pairs of terms and pieces of words.

Knows terms (`words`) and bm25s, which weighs them. Pieces of words bear with typing errors and endings; pairs of terms
know their order. An index never changes: a rebuild makes another from term ids, of which only new phrasings have to be
split again.
"""

from __future__ import annotations

from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from itertools import pairwise

import bm25s
import numpy as np
import numpy.typing as npt

from core.faq.words import is_chinese, plain, words_of

Likeness = npt.NDArray[np.float32]
Terms = npt.NDArray[np.int32]

_K1, _B = 1.2, 0.0
"""Saturation of repeated terms; no allowance for length, which the cosine makes."""
_DENSE, _COLUMNS = 50, 512
"""A term of more than one phrasing in fifty is multiplied densely, so many terms at once."""


class Vocabulary:
    """The terms that were ever seen, by number. Grows only; terms of removed entries do no harm."""

    def __init__(self) -> None:
        self._ids: dict[str, int] = {}

    def __len__(self) -> int:
        return len(self._ids)

    def learn(self, text: str) -> Terms:
        """The term ids of a phrasing, new ones added."""
        return np.array([self._ids.setdefault(term, len(self._ids)) for term in _terms(text)], dtype=np.int32)

    def look_up(self, text: str) -> Terms:
        """The term ids of a question; a term that was never seen is -1, -2, …"""
        strange: dict[str, int] = {}
        ids = self._ids
        found = [
            ids[term] if term in ids else strange.setdefault(term, -1 - len(strange)) for term in _terms(text)
        ]  # fmt: skip
        return np.array(found, dtype=np.int32)


@dataclass(frozen=True, slots=True)
class LexicalIndex:
    """The BM25 vectors of phrasings, each of length 1, as a sparse matrix by term."""

    weights: Likeness
    rows: Terms
    starts: npt.NDArray[np.int64]
    phrasings: int

    def search(self, terms: Terms) -> Likeness:
        """The cosine of a question, given as term ids, with every phrasing."""
        ids, counts = np.unique(terms, return_counts=True)
        last = len(self.starts) - 2
        known = (ids >= 0) & (ids <= last)  # others are strange, or were learned after this index was built
        frequency = np.zeros(len(ids))
        frequency[known] = self.starts[ids[known] + 1] - self.starts[ids[known]]
        weights = _rarity(frequency, self.phrasings) * counts / (counts + _K1)
        length = float(np.sqrt((weights**2).sum()))
        found = np.zeros(self.phrasings, dtype=np.float32)
        if length == 0 or not known.any():
            return found
        spans = [slice(self.starts[i], self.starts[i + 1]) for i in ids[known]]
        rows = np.concatenate([self.rows[span] for span in spans])
        products = np.concatenate(
            [self.weights[span] * np.float32(w) for span, w in zip(spans, weights[known], strict=True)]
        )
        return (np.bincount(rows, products, minlength=self.phrasings) / length).astype(np.float32)

    def likeness(self, rows: npt.NDArray[np.int64]) -> Likeness:
        """The cosine of each of these phrasings with each: shape (rows, rows)."""
        place = np.full(self.phrasings, -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        columns = np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        kept = np.flatnonzero(place[self.rows] >= 0)
        at, column, weight = place[self.rows[kept]], columns[kept], self.weights[kept]
        bounds = np.flatnonzero(np.diff(column, prepend=-1, append=-1))
        common = np.diff(bounds) > max(8, len(rows) // _DENSE)
        found = _common_part(at, weight, bounds, common, len(rows))
        for first, end in zip(bounds[:-1][~common], bounds[1:][~common], strict=True):
            if end - first > 1:
                those, weights = at[first:end], weight[first:end]
                found[np.ix_(those, those)] += weights[:, None] * weights
        np.fill_diagonal(found, 1.0)
        return found


def _common_part(
    at: npt.NDArray[np.int64], weight: Likeness, bounds: npt.NDArray[np.int64], common: npt.NDArray[np.bool_], rows: int
) -> Likeness:
    """The products of the terms that many phrasings have, as a product of dense matrices: faster by far."""
    found = np.zeros((rows, rows), dtype=np.float32)
    spans = list(zip(bounds[:-1][common], bounds[1:][common], strict=True))
    for i in range(0, len(spans), _COLUMNS):
        block = np.zeros((rows, min(_COLUMNS, len(spans) - i)), dtype=np.float32)
        for j, (first, end) in enumerate(spans[i : i + _COLUMNS]):
            block[at[first:end], j] = weight[first:end]
        found += block @ block.T
    return found


def build(phrasings: Sequence[Terms], vocabulary: int) -> LexicalIndex:
    """The index of phrasings, given as term ids below `vocabulary`."""
    if not any(len(ids) for ids in phrasings):
        empty = np.zeros(0, dtype=np.float32), np.zeros(0, dtype=np.int32)
        return LexicalIndex(*empty, np.zeros(vocabulary + 1, dtype=np.int64), len(phrasings))
    engine = bm25s.BM25(method="lucene", k1=_K1, b=_B, backend="numpy", csc_backend="numpy")
    built = engine.build_index_from_ids(
        unique_token_ids=list(range(vocabulary)),
        corpus_token_ids=[ids.tolist() for ids in phrasings],
        show_progress=False,
    )
    weights, rows = built["data"].astype(np.float32), built["indices"].astype(np.int32)
    lengths = np.sqrt(np.bincount(rows, weights.astype(np.float64) ** 2, minlength=len(phrasings)))
    weights /= np.maximum(lengths, 1e-9)[rows].astype(np.float32)
    return LexicalIndex(weights, rows, built["indptr"].astype(np.int64), len(phrasings))


def _rarity(frequency: npt.NDArray[np.float64], phrasings: int) -> npt.NDArray[np.float64]:
    """Lucene's inverse document frequency, as bm25s weighs with it."""
    return np.log1p((phrasings - frequency + 0.5) / (frequency + 0.5))


def _terms(text: str) -> Iterator[str]:
    """Words, pairs of neighbouring words, and pieces of the text."""
    words = words_of(text)
    yield from words
    yield from (f"{first} {second}" for first, second in pairwise(words))
    whole = f" {plain(text)} "
    for size in (1, 2) if is_chinese(text) else (3, 4):
        yield from (f"\0{whole[i : i + size]}" for i in range(len(whole) - size + 1))
