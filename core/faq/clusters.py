"""Clusters: questions that ask the same thing, by words, and by meaning where there are vectors.

By words: whoever has most in common with all others is taken first as the middle of a cluster, and takes in whatever is
at least so much like it; then the next one that is left. So everything in a cluster is like its middle, and no chain of
small steps leads from one question to quite another. By meaning: clusters whose middles say the same are joined, the
nearest first, for as long as they are near enough on average. Knows arrays only; equal input gives equal clusters.
"""

from __future__ import annotations

import math
from collections import Counter
from collections.abc import Mapping, Sequence
from dataclasses import dataclass
from functools import cache

import numpy as np
import numpy.typing as npt

from core.faq import sample
from core.faq.calibration import elsewhere
from core.faq.words import is_chinese, words_of

Numbers = npt.NDArray[np.int64]
Reals = npt.NDArray[np.float32]

NEAR = 0.7
"""The least average cosine of the vectors of two clusters' middles."""

_SATURATION = 1.2
_SKETCH, _DOUBT = 128, 0.2
"""Numbers in a short stand-in for a question's words, and by how much its cosines may be wrong: a first, cheap look."""
_AT_ONCE = 256
_SEED = 5


@dataclass(frozen=True, slots=True)
class _Bags:
    """Questions as their words, each of length 1: the words of question `i` lie from `starts[i]` on."""

    terms: Numbers
    weights: Reals
    starts: Numbers
    vocabulary: int

    def __len__(self) -> int:
        return len(self.starts) - 1

    @property
    def rows(self) -> Numbers:
        """The question of each word."""
        return np.repeat(np.arange(len(self)), np.diff(self.starts))


def by_words(texts: Sequence[str], counts: Sequence[int]) -> list[list[int]]:
    """Clusters of positions, each with its middle first. `counts` is how often each text was asked."""
    alike = _alike(len(texts))
    bags = _bags([words_of(text) for text in texts], *_everyday(any(map(is_chinese, texts))))
    sketches = _sketches(bags)
    order = np.lexsort((np.arange(len(bags)), -_in_common(bags, np.asarray(counts, dtype=np.float64)).round(6)))
    owner = np.full(len(bags), -1, dtype=np.int64)
    for at in range(0, len(order), _AT_ONCE):
        middles = order[at : at + _AT_ONCE]
        _take_in(bags, sketches, middles[owner[middles] < 0], owner, alike)
    clusters: dict[int, list[int]] = {int(middle): [int(middle)] for middle in order if owner[middle] == middle}
    for i in np.flatnonzero(owner != np.arange(len(owner))):
        clusters[int(owner[i])].append(int(i))
    return list(clusters.values())


def by_meaning(vectors: Reals, counts: Sequence[int], near: float = NEAR) -> list[list[int]]:
    """Clusters of positions by average linkage, the largest of each first. `vectors` are of length 1; no more than some
    hundreds, as every pair is compared."""
    groups: list[list[int]] = [[i] for i in range(len(vectors))]
    likeness = (vectors @ vectors.T).astype(np.float64)
    np.fill_diagonal(likeness, -1.0)
    while len(likeness) > 1:
        at = int(np.argmax(likeness))
        first, second = sorted(divmod(at, len(likeness)))
        if likeness[first, second] < near:
            break
        sizes = len(groups[first]), len(groups[second])
        joined = (sizes[0] * likeness[first] + sizes[1] * likeness[second]) / sum(sizes)
        joined[first] = -1.0
        likeness[first], likeness[:, first] = joined, joined
        likeness = np.delete(np.delete(likeness, second, axis=0), second, axis=1)
        groups[first] += groups.pop(second)
    return [sorted(group, key=lambda i: (-counts[i], i)) for group in groups]


def _alike(questions: int) -> float:
    """The least cosine of a question's words with those of its cluster's middle: among many, more are alike by chance.

    Chosen on the training parts of BANKING77, CLINC150 and HWU64: of what is together, 95 to 99% belongs together among
    60 to 1,000 questions, and 81 to 93% among 10,000.
    """
    return min(max(0.28 + 0.08 * math.log10(max(questions, 1)), 0.35), 0.6)


@cache
def _everyday(chinese: bool) -> tuple[Counter[str], int]:
    """How many of some everyday questions hold each word: among a few questions, rarity alone would make `how` weighty."""
    texts = [*elsewhere(), *(text for entry in sample.entries() for text in entry.phrasings)]
    chosen = [text for text in texts if is_chinese(text) is chinese]
    return Counter(word for text in chosen for word in set(words_of(text))), len(chosen)


def _bags(words: Sequence[Sequence[str]], everyday: Mapping[str, int], questions: int) -> _Bags:
    """Words weighed as BM25 does: rare ones more, repeated ones little more. A question without words is alone.

    `everyday` and `questions` are counts of other questions, which count as well for what is rare.
    """
    numbers: dict[str, int] = {}
    ids = np.array([numbers.setdefault(w, len(numbers)) for each in words for w in each], dtype=np.int64)
    rows = np.repeat(np.arange(len(words)), [len(each) for each in words])
    size = max(len(numbers), 1)
    pairs, repeated = np.unique(rows * size + ids, return_counts=True)
    rows, terms = pairs // size, pairs % size
    frequency = np.bincount(terms, minlength=size) + np.array([everyday.get(word, 0) for word in numbers] or [0])
    rarity = np.log1p((len(words) + questions - frequency + 0.5) / (frequency + 0.5))
    weights = rarity[terms] * repeated / (repeated + _SATURATION)
    lengths = np.sqrt(np.bincount(rows, weights**2, minlength=len(words)))
    starts = np.searchsorted(rows, np.arange(len(words) + 1))
    return _Bags(terms, (weights / np.maximum(lengths[rows], 1e-9)).astype(np.float32), starts, size)


def _in_common(bags: _Bags, counts: npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The sum of the cosines of each question with all, each as often as it was asked."""
    rows = bags.rows
    totals = np.bincount(bags.terms, bags.weights * counts[rows], minlength=bags.vocabulary)
    return np.bincount(rows, bags.weights * totals[bags.terms], minlength=len(bags)).astype(np.float64)


def _sketches(bags: _Bags) -> Reals:
    """Each question's words folded into few numbers, so that cosines stay about what they are."""
    chance = np.random.default_rng(_SEED)
    place = chance.integers(0, _SKETCH, bags.vocabulary)
    sign = chance.choice(np.array([-1.0, 1.0], dtype=np.float32), bags.vocabulary)
    folded = np.bincount(
        bags.rows * _SKETCH + place[bags.terms], bags.weights * sign[bags.terms], minlength=len(bags) * _SKETCH
    )
    return folded.reshape(len(bags), _SKETCH).astype(np.float32)


def _take_in(bags: _Bags, sketches: Reals, middles: Numbers, owner: Numbers, alike: float) -> None:
    """Let each of `middles` that nobody before it took in take in what is alike; written to `owner`."""
    left = np.flatnonzero(owner < 0)
    looks = sketches[middles] @ sketches[left].T >= alike - _DOUBT
    words = np.zeros(bags.vocabulary, dtype=np.float32)
    for look, middle in zip(looks, middles, strict=True):
        if owner[middle] >= 0:
            continue
        owner[middle] = middle
        candidates = left[look]
        candidates = candidates[owner[candidates] < 0]
        own = slice(bags.starts[middle], bags.starts[middle + 1])
        words[bags.terms[own]] = bags.weights[own]
        owner[candidates[_cosines(bags, candidates, words) >= alike]] = middle
        words[bags.terms[own]] = 0


def _cosines(bags: _Bags, rows: Numbers, words: Reals) -> npt.NDArray[np.float64]:
    """The exact cosine of each of these questions with one whose words have these weights."""
    lengths = bags.starts[rows + 1] - bags.starts[rows]
    ends = np.cumsum(lengths)
    places = np.arange(ends[-1] if len(ends) else 0) + np.repeat(bags.starts[rows] - ends + lengths, lengths)
    products = bags.weights[places] * words[bags.terms[places]]
    return np.bincount(np.repeat(np.arange(len(rows)), lengths), products, minlength=len(rows)).astype(np.float64)
