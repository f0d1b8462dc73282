"""Decision: answer, ask back, ground the model, or abstain; from what was found and how sure one may be.

Knows hits and a calibration. What a hit's scores mean in one collection is not what they mean in another: `calibration`
turns them into probabilities and sets the thresholds. Nothing here reads the words of a question or of an answer, so
nothing that stands in them is obeyed.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from enum import StrEnum

import numpy as np
import numpy.typing as npt

from core.faq.index import Hit
from core.faq.passages import AMONG
from core.values import Value

Evidence = npt.NDArray[np.float64]  # (questions, 4): 1, and the logarithms of score, lead over the second, nearness

_LEAST = 0.02
"""Below this, differences of scores mean nothing."""


class Outcome(StrEnum):
    """What is done with a question."""

    ANSWER = "answer"
    ASK = "ask"
    GROUND = "ground"
    ABSTAIN = "abstain"


class Thresholds(Value):
    """The least probabilities: that the first entry is right, to answer; that the first few hold it, for the others."""

    answer: float
    ask: float
    ground: float


class Sureness(Value):
    """How scores become probabilities: weights of the evidence in a logistic function."""

    first: tuple[float, float, float, float]
    among: tuple[float, float, float, float]
    thresholds: Thresholds


@dataclass(frozen=True, slots=True)
class Match:
    """A hit with the probability that it is what was asked for."""

    hit: Hit
    probability: float


SAME_WORDS = "same_words"
"""The reason where the owner wrote just this question, for one entry."""


@dataclass(frozen=True, slots=True)
class Decision:
    """What to do, with whom it was decided, best match first. `reason` is a word for `why`.

    Only ANSWER may give the first match's text as it is. ASK offers `offered`. GROUND gives them to the model.
    """

    outcome: Outcome
    reason: str
    matches: tuple[Match, ...]
    probability_first: float
    probability_among: float
    thresholds: Thresholds

    @property
    def offered(self) -> tuple[Match, ...]:
        """The matches to choose from, or to ground on."""
        return self.matches[:AMONG]


def decide(hits: Sequence[Hit], sureness: Sureness, chosen: int | None = None) -> Decision:
    """What to do with a question for which `hits` were found; `chosen` is the entry that the person chose, if one did.

    A choice counts only where the question stands in that entry: it tells apart entries that have the same question.
    """
    limits = sureness.thresholds
    if not hits:
        return Decision(Outcome.ABSTAIN, "nothing_found", (), 0.0, 0.0, limits)
    evidence = evidence_of(hits)[None]
    first, among = float(probability(evidence, sureness.first)[0]), float(probability(evidence, sureness.among)[0])
    among = max(among, first)
    same = [hit for hit in hits if hit.same]
    same = [hit for hit in same if hit.stored.entry_id == chosen] or same
    hits = [*same, *(hit for hit in hits if hit not in same)] if same else hits
    if len(same) == 1:  # the owner wrote just this question, for just one entry
        return Decision(Outcome.ANSWER, SAME_WORDS, _matches(hits, 1.0, 1.0), 1.0, 1.0, limits)
    if same:
        share = 1 / len(same)
        return Decision(Outcome.ASK, "between_entries", _matches(hits, share, 1.0), share, 1.0, limits)
    matches = _matches(hits, first, among)
    if first >= limits.answer:
        outcome, reason = Outcome.ANSWER, "sure"
    elif among >= limits.ask and len(matches) > 1:
        outcome, reason = Outcome.ASK, "between_entries"
    elif among >= limits.ground:
        outcome, reason = Outcome.GROUND, "near"
    else:
        outcome, reason = Outcome.ABSTAIN, "too_far"
    return Decision(outcome, reason, matches, first, among, limits)


def evidence_of(hits: Sequence[Hit]) -> npt.NDArray[np.float64]:
    """What the probability of the first hit is made from: its score, its lead over the second one, its nearness."""
    second = hits[1].score if len(hits) > 1 else 0.0
    told: npt.NDArray[np.float64] = evidence_row(np.array([[hits[0].score, hits[0].score - second, hits[0].nearness]]))[
        0
    ]
    return told


def evidence_row(scores: npt.NDArray[np.float64]) -> Evidence:
    """Rows of score, lead and nearness as evidence."""
    told = np.log(np.maximum(scores, 0) + _LEAST)
    return np.column_stack([np.ones(len(scores)), told])


def probability(evidence: Evidence, weights: Sequence[float] | npt.NDArray[np.float64]) -> npt.NDArray[np.float64]:
    """The logistic function of the weighted evidence."""
    found: npt.NDArray[np.float64] = 1 / (1 + np.exp(-np.clip(evidence @ np.array(weights), -30, 30)))
    return found


def _matches(hits: Sequence[Hit], first: float, among: float) -> tuple[Match, ...]:
    """Each hit with its probability: the first one's, and what is left shared by score among the next ones."""
    rest = [max(hit.score, 0.0) for hit in hits[1:AMONG]]
    total = sum(rest) or 1.0
    shares = [first, *((among - first) * score / total for score in rest), *([0.0] * len(hits))]
    return tuple(Match(hit, share) for hit, share in zip(hits, shares, strict=False))
