"""Classifier: which entry a question means, learned from all phrasings at once by kernel ridge regression.

The kernel is how alike two texts are: in meaning, where an embedder reads both, and in words. One solution of a linear
system gives the scores, and in closed form what they would have been without a phrasing, or without a whole entry:
held-out scores for calibration cost no second training. The system is positive definite, since each kernel is a sum of
products with positive factors, and the ridge is far above what rounding takes away. Knows arrays only.

Measured on the train and validation parts of published sets (docs/faq.md), it beats the nearest phrasing by 3 to 12
points where entries have several phrasings, and equals it where they have one.
"""

from __future__ import annotations

from collections.abc import Iterable, Iterator, Sequence
from dataclasses import dataclass
from functools import partial
from itertools import pairwise
from typing import Protocol

import numpy as np
import numpy.typing as npt
from threadpoolctl import threadpool_limits

from core.faq.cholesky import PANEL, factored, span
from core.faq.lexical import LexicalIndex

Matrix = npt.NDArray[np.float32]
Owners = npt.NDArray[np.int64]

# Chosen on validation parts: BANKING77's 10-shot `val` and CLINC150's `val`.
MEANING = 4.0
"""How fast likeness in meaning falls with the distance of two vectors."""
WORDS = 2.0
"""The same for words, where that is all there is."""
SHARE_OF_WORDS = 0.2
RIDGE = 0.1

_ALONE = 10_000
"""Numbers of two vectors that BLAS multiplies in the thread that asks; more it shares among threads."""

# Learning goes on beside answering, and on busy cores BLAS threads wait for each other, spinning: two of them took 17 to
# 23 s of CPU and 34 to 66 s in all for 10,000 phrasings, where one took 5 s of CPU and 23 to 25 in all.
_in_one_thread = partial(threadpool_limits, limits=1, user_api="blas")


class Meaning(Protocol):
    """The vectors of phrasings, wherever they are."""

    def cosines(self, vector: Matrix, likeness: Matrix) -> Matrix:
        """Those of a question with every phrasing, given its likeness in words; NaN where one is not known."""

    def of(self, rows: npt.NDArray[np.int64]) -> Matrix:
        """The vectors of these phrasings, which an embedder reads: shape (rows, dimensions)."""


@dataclass(frozen=True, slots=True)
class InMemory:
    """Vectors of length 1, one a phrasing; zeros where no embedder reads it."""

    vectors: Matrix  # (phrasings, dimensions)

    def cosines(self, vector: Matrix, likeness: Matrix) -> Matrix:
        """Those of a question with every phrasing."""
        return product(self.vectors, vector)

    def of(self, rows: npt.NDArray[np.int64]) -> Matrix:
        """The vectors of these phrasings."""
        return self.vectors[rows]


@dataclass(frozen=True, slots=True)
class Kernel:
    """How alike a question and a phrasing are, from 0 to 1; phrasings that no embedder reads have `read` false."""

    meaning: Meaning | None
    read: npt.NDArray[np.bool_]
    words: LexicalIndex

    def cosines(self, vector: Matrix | None, likeness: Matrix) -> Matrix | None:
        """Those of a question with every phrasing, NaN where one is not known; None where it has no vector."""
        if vector is None:
            return None
        if self.meaning is None:
            return np.full(len(likeness), np.nan, dtype=np.float32)
        return np.where(self.read, self.meaning.cosines(vector, likeness), np.float32(np.nan))

    def of_question(self, cosines: Matrix | None, likeness: Matrix) -> Matrix:
        """The kernel of a question with every phrasing, given their cosines, if it has a vector, and likeness in words."""
        found = np.zeros(len(likeness), dtype=np.float32)
        if cosines is None:
            found[~self.read] = _falling(likeness[~self.read], WORDS)
        else:
            found = np.where(np.isnan(cosines), np.float32(0), _falling(cosines, MEANING))
        return _mixed(found, likeness)

    def of_phrasings(self, rows: npt.NDArray[np.int64]) -> Matrix:
        """The kernel of these phrasings with each other."""
        whole = np.empty((len(rows), len(rows)), dtype=np.float32)
        with _in_one_thread():
            for panel in self.panels(rows):
                first, end = span(panel)
                whole[first:end, :end] = panel
                whole[:first, first:end] = panel[:, :first].T
        return whole

    def panels(self, rows: npt.NDArray[np.int64], size: int = PANEL) -> Iterator[Matrix]:
        """The kernel of these phrasings with each other, in panels of `size` rows."""
        mute, vectors = ~self.read[rows], self._vectors_of(rows)
        for words in self.words.panels(rows, size):
            first, end = span(words)
            found = np.zeros_like(words) if vectors is None else _falling(vectors[first:end] @ vectors[:end].T, MEANING)
            if mute.any():
                both = np.outer(mute[first:end], mute[:end])
                found[both] = _falling(words[both], WORDS)
            yield _mixed(found, words)

    def _vectors_of(self, rows: npt.NDArray[np.int64]) -> Matrix | None:
        """The vectors of these phrasings, zeros for those that no embedder reads; None where there are none at all."""
        those = np.flatnonzero(self.read[rows])
        if self.meaning is None or not len(those):
            return None
        known = self.meaning.of(rows[those])
        vectors = np.zeros((len(rows), known.shape[1]), dtype=np.float32)
        vectors[those] = known
        return vectors


@dataclass(frozen=True, slots=True)
class Classifier:
    """Trained weights: the score of entry `e` for a question is its kernel times row `e`."""

    rows: npt.NDArray[np.int64]  # the phrasings that it was trained on
    weights: Matrix  # (entries, rows)

    def scores(self, kernel: Matrix, entries: Sequence[int]) -> Matrix:
        """The scores of these entries, about 1 for one that fits exactly and about 0 for one that does not.

        Each reads its own row; the rest of the weights stays where it is. BLAS does so in this thread, where it is asked
        for few numbers at once.
        """
        trained, found = kernel[self.rows], np.zeros(len(entries), dtype=np.float32)
        for at in range(0, len(trained), _ALONE):
            part, near = self.weights[:, at : at + _ALONE], trained[at : at + _ALONE]
            found += np.array([part[i] @ near for i in entries], dtype=np.float32)
        return found


def train(kernel: Kernel, owners: Owners, entries: int, rows: npt.NDArray[np.int64]) -> Classifier:
    """Learn from the phrasings `rows`, which belong to `owners` among `entries`.

    Raises LinAlgError where the kernel is none, as with vectors that are far from length 1.
    """
    with _in_one_thread():
        weights = factored(_ridged(kernel.panels(rows))).solve(_targets(owners, entries))
    return Classifier(rows, np.ascontiguousarray(weights.T))


@dataclass(frozen=True, slots=True)
class HeldOut:
    """Scores of each phrasing that was trained on, as if it had not been: shape (phrasings, entries).

    `without_it` leaves out that phrasing, `without_entry` every phrasing of its entry.
    """

    without_it: Matrix
    without_entry: Matrix


def hold_out(kernel: Matrix, owners: Owners, entries: int) -> HeldOut:
    """What training again without each phrasing, and without each entry, would give; exactly, by block inversion.

    The phrasings of an entry lie together.
    """
    targets = _targets(owners, entries)
    without_it, without_entry = np.empty_like(targets), np.empty_like(targets)
    starts = np.flatnonzero(np.diff(owners, prepend=-1))
    with _in_one_thread():
        factor = factored(_ridged(_lower(kernel)))
        weights = factor.solve(targets.copy())
        inverse = factor.inverse()
        for first, end in pairwise([*starts.tolist(), len(owners)]):
            corner, learned = inverse.corner(first, end), weights[first:end]
            without_it[first:end] = targets[first:end] - learned / np.diag(corner)[:, None]
            without_entry[first:end] = targets[first:end] - np.linalg.solve(corner, learned)
    return HeldOut(without_it, without_entry)


def product(matrix: Matrix, vector: Matrix) -> Matrix:
    """Matrix times vector in this thread. BLAS would share it among threads that wait for each other on a busy machine:
    at most 0.4 ms for 10,000 phrasings in 99 of 100 cases, where BLAS took 8.9."""
    found: Matrix = np.einsum("ij,j->i", matrix, vector)
    return found


def _mixed(meaning: Matrix, words: Matrix) -> Matrix:
    """Both kernels as one, written over `meaning`."""
    meaning += np.float32(SHARE_OF_WORDS) * words
    meaning /= np.float32(1 + SHARE_OF_WORDS)
    return meaning


def _falling(cosines: Matrix, speed: float) -> Matrix:
    """1 for the same, falling with the squared distance of vectors of length 1, to 0 for what has nothing in common."""
    fallen: Matrix = np.float32(speed) * cosines
    np.expm1(fallen, out=fallen)
    fallen /= np.float32(np.expm1(speed))
    return fallen


def _lower(matrix: Matrix) -> Iterator[Matrix]:
    """Copies of the panels of a whole matrix."""
    for first in range(0, len(matrix), PANEL):
        yield matrix[first : first + PANEL, : first + PANEL].copy()


def _ridged(panels: Iterable[Matrix]) -> Iterator[Matrix]:
    for panel in panels:
        first, end = span(panel)
        panel[np.arange(end - first), np.arange(first, end)] += np.float32(RIDGE / (1 + SHARE_OF_WORDS))
        yield panel


def _targets(owners: Owners, entries: int) -> Matrix:
    targets = np.zeros((len(owners), entries), dtype=np.float32)
    targets[np.arange(len(owners)), owners] = 1
    return targets
