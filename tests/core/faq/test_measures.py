"""Measures against their definitions."""

from __future__ import annotations

import math

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.faq.measures import auroc, average_precision, coverage_and_risk, reciprocal_rank


@pytest.mark.parametrize(
    ("relevant", "wanted", "precision"),
    [([True, False, True], 2, (1 + 2 / 3) / 2), ([False, False], 1, 0.0), ([True], 2, 0.5), ([], 0, 0.0)],
)
def test_average_precision(relevant: list[bool], wanted: int, precision: float) -> None:
    assert average_precision(relevant, wanted) == pytest.approx(precision)


def test_reciprocal_rank() -> None:
    assert [reciprocal_rank(r) for r in ([True], [False, True], [False], [])] == [1.0, 0.5, 0.0, 0.0]


@given(st.lists(st.integers(0, 5), min_size=1, max_size=20), st.lists(st.integers(0, 5), min_size=1, max_size=20))
def test_auroc_is_the_share_of_pairs_in_order(positive: list[int], negative: list[int]) -> None:
    pairs = [1.0 if p > n else 0.5 if p == n else 0.0 for p in positive for n in negative]
    found = auroc(np.array(positive, dtype=float), np.array(negative, dtype=float))
    assert found == pytest.approx(sum(pairs) / len(pairs))


def test_auroc_of_nothing_is_no_number() -> None:
    assert math.isnan(auroc(np.array([]), np.array([1.0])))


def test_coverage_and_risk_answer_equal_scores_together() -> None:
    scores, right = np.array([0.9, 0.5, 0.5, 0.1]), np.array([True, False, True, False])
    limits, coverage, risk = coverage_and_risk(scores, right)
    assert limits.tolist() == [0.9, 0.5, 0.1]
    assert coverage.tolist() == [0.25, 0.75, 1.0]
    assert risk.tolist() == pytest.approx([0.0, 1 / 3, 0.5])
