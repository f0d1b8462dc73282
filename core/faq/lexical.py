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
_DENSE, _COLUMNS = 50, 1_024
"""Terms of more than one phrasing in fifty are multiplied as dense matrices, the so many commonest ones at most."""
_ROWS, _PAIRS = 64, 200_000
"""Of the other terms the pairs of so many phrasings, or a few more than so many pairs, are multiplied at once."""


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

    def panels(self, rows: npt.NDArray[np.int64], size: int) -> Iterator[Likeness]:
        """The cosines of these phrasings with each other, `size` rows at a time: each up to the last one of its panel."""
        place = np.full(self.phrasings, -1, dtype=np.int64)
        place[rows] = np.arange(len(rows))
        at, term = place[self.rows], np.repeat(np.arange(len(self.starts) - 1), np.diff(self.starts))
        order = np.lexsort((at, term))
        order = order[at[order] >= 0]
        at, term, weights = at[order], term[order], self.weights[order]
        column = _columns(np.bincount(term, minlength=1), len(rows) // _DENSE)[term]
        common = column >= 0
        dense = np.zeros((len(rows), column.max(initial=-1) + 1), dtype=np.float32)
        dense[at[common], column[common]] = weights[common]
        rare = _Postings.of(at[~common], term[~common], weights[~common], len(rows))
        for first in range(0, len(rows), size):
            end = min(first + size, len(rows))
            found = dense[first:end] @ dense[:end].T
            rare.add_to(found)
            square = found[:, first:]
            square[:] = np.tril(square, -1) + np.tril(square, -1).T
            np.fill_diagonal(square, 1.0)
            yield found


@dataclass(frozen=True, slots=True)
class _Postings:
    """The phrasings that have each of some terms: by term, and for each of them in order."""

    at: npt.NDArray[np.int64]
    weights: Likeness
    before: npt.NDArray[np.int64]  # how many earlier phrasings have the term
    by_phrasing: npt.NDArray[np.int64]
    starts: npt.NDArray[np.int64]  # where in that each phrasing's begin
    pairs: npt.NDArray[np.int64]  # of all phrasings up to it with earlier ones

    @staticmethod
    def of(at: npt.NDArray[np.int64], term: npt.NDArray[np.int64], weights: Likeness, phrasings: int) -> _Postings:
        """Those of `phrasings`, given by term."""
        before = np.arange(len(term)) - np.searchsorted(term, term)
        by_phrasing = np.argsort(at, kind="stable")
        starts = np.searchsorted(at[by_phrasing], np.arange(phrasings + 1))
        pairs = np.append(0, np.cumsum(before[by_phrasing]))[starts]
        return _Postings(at, weights, before, by_phrasing, starts, pairs)

    def add_to(self, found: Likeness) -> None:
        """Add the products of the terms that each of the last phrasings shares with those before it."""
        rows, end = found.shape
        first = start = end - rows
        while first < end:
            most = int(np.searchsorted(self.pairs, self.pairs[first] + _PAIRS, side="right")) - 1
            last = min(max(most, first + 1), first + _ROWS, end)
            one = self.by_phrasing[self.starts[first] : self.starts[last]]
            counts = self.before[one]
            other = np.arange(counts.sum()) + np.repeat(one - np.cumsum(counts), counts)
            places = np.repeat((self.at[one] - first) * end, counts) + self.at[other]
            products = np.repeat(self.weights[one], counts) * self.weights[other]
            sums = np.bincount(places, products, minlength=(last - first) * end)
            found[first - start : last - start] += sums.reshape(last - first, end).astype(np.float32)
            first = last


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


def _columns(counts: npt.NDArray[np.int64], rare: int) -> npt.NDArray[np.int64]:
    """By term, the column of a dense matrix that is its own; -1 for those that at most `rare` phrasings have."""
    common = np.argsort(-counts, kind="stable")[:_COLUMNS]
    common = common[counts[common] > rare]
    columns = np.full(len(counts), -1, dtype=np.int64)
    columns[common] = np.arange(len(common))
    return columns


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
