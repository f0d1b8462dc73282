"""Measures of retrieval and of knowing when to be silent, as the literature defines them."""

from __future__ import annotations

from collections.abc import Sequence

import numpy as np
import numpy.typing as npt

Numbers = npt.NDArray[np.float64]


def average_precision(relevant: Sequence[bool], wanted: int) -> float:
    """Mean of the precision at each relevant item of a ranking, over all `wanted` relevant ones."""
    hits = 0
    total = 0.0
    for rank, good in enumerate(relevant, start=1):
        if good:
            hits += 1
            total += hits / rank
    return total / wanted if wanted else 0.0


def reciprocal_rank(relevant: Sequence[bool]) -> float:
    """One over the rank of the first relevant item; 0 where there is none."""
    return next((1 / rank for rank, good in enumerate(relevant, start=1) if good), 0.0)


def auroc(positive: Numbers, negative: Numbers) -> float:
    """The chance that a positive scores above a negative, a tie counting half."""
    if not len(positive) or not len(negative):
        return float("nan")
    both = np.concatenate([positive, negative])
    _, inverse, counts = np.unique(both, return_inverse=True, return_counts=True)
    ranks = (np.cumsum(counts) - (counts - 1) / 2)[inverse]  # the mean rank of equal scores
    ones = len(positive)
    return float((ranks[:ones].sum() - ones * (ones + 1) / 2) / (ones * len(negative)))


def coverage_and_risk(scores: Numbers, right: npt.NDArray[np.bool_]) -> tuple[Numbers, Numbers, Numbers]:
    """For each threshold, from the highest down: threshold, share answered, share of wrong among the answered."""
    order = np.argsort(-scores, kind="stable")
    ordered, wrong = scores[order], np.cumsum(~right[order])
    answered = np.arange(1, len(scores) + 1)
    last = np.flatnonzero(np.append(ordered[1:] != ordered[:-1], True))  # equal scores are answered together
    return ordered[last], answered[last] / max(len(scores), 1), wrong[last] / answered[last]
