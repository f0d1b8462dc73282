"""Scores: how near an answer is to what was expected. Knows texts in English and Chinese; knows no model and no file."""

from __future__ import annotations

import re
import unicodedata
from collections import Counter
from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

CHRF_ORDER = 6
_WORD = re.compile(r"[\u4e00-\u9fff]|[^\W\u4e00-\u9fff]+")
_ARTICLES = frozenset({"a", "an", "the"})
_REFUSAL = re.compile(
    r"\b(passages?|text)\b.* not (say|answer|mention)|\bnot (find|in|mentioned)\b.*\b(passages?|text)\b"
    r"|没有(提到|说明|提及)|找不到.*答案|无法回答",
    re.IGNORECASE,
)


def words(text: str) -> list[str]:
    """Words in lower case without punctuation and English articles, as SQuAD compares them; each Chinese character."""
    normal = unicodedata.normalize("NFKC", text).lower()
    plain = "".join(c for c in normal if unicodedata.category(c)[0] not in "PS")
    return [word for word in _WORD.findall(plain) if word not in _ARTICLES]


def exact(answer: str, accepted: Sequence[str]) -> float:
    """1 where the words are those of an accepted answer, else 0."""
    return float(any(words(answer) == words(each) for each in accepted))


def f1(answer: str, accepted: Sequence[str]) -> float:
    """Harmonic mean of precision and recall of the words, with the accepted answer that is nearest, from 0 to 1."""
    return max(_f1(words(answer), words(each)) for each in accepted)


def _f1(given: list[str], expected: list[str]) -> float:
    shared = (Counter(given) & Counter(expected)).total()
    return 2 * shared / (len(given) + len(expected)) if shared else float(given == expected)


def refuses(answer: str) -> bool:
    """Whether an answer says that the passages do not tell, in one of the ways that the data has."""
    return _REFUSAL.search(answer) is not None


def chrf(answers: Sequence[str], accepted: Sequence[Sequence[str]], beta: float = 2.0) -> float:
    """chrF of a corpus from 0 to 100: F-score of character n-grams up to 6, white space left out (Popović, 2015).

    As sacrebleu counts it: an order that an answer or its reference is too short for is left out, and of several
    accepted translations the nearest one counts.
    """
    counts = np.zeros((CHRF_ORDER, 3))
    for answer, references in zip(answers, accepted, strict=True):
        counts += max((_grams(answer, each) for each in references), key=lambda found: _chrf(found, beta))
    return _chrf(counts, beta)


def _grams(answer: str, reference: str) -> npt.NDArray[np.float64]:
    """N-grams of the answer, of the reference, and shared: (order, 3)."""
    given, expected = ("".join(text.split()) for text in (answer, reference))
    rows = []
    for n in range(1, CHRF_ORDER + 1):
        ours, theirs = (Counter(text[i : i + n] for i in range(len(text) - n + 1)) for text in (given, expected))
        rows.append((ours.total() if theirs else 0, theirs.total(), (ours & theirs).total()))
    return np.array(rows, dtype=np.float64)


def _chrf(counts: npt.NDArray[np.float64], beta: float) -> float:
    usable = counts[(counts[:, :2] > 0).all(axis=1)]
    if not len(usable):
        return 0.0
    precision, recall = (usable[:, 2:] / usable[:, :2]).mean(axis=0)
    total = beta**2 * precision + recall
    return float(100 * (1 + beta**2) * precision * recall / total) if total else 0.0
