"""Calibration and decisions: thresholds keep what they promise, and far, near and equal questions are told apart."""

from __future__ import annotations

import json
import random

import numpy as np
import pytest
from hypothesis import given
from hypothesis import strategies as st

from core.faq import calibration
from core.faq.calibration import (
    MODES,
    NEVER,
    Calibration,
    Trials,
    calibrate,
    default,
    fitted,
    hold_out_trials,
    mode_of,
    threshold,
    trials_of,
    weigh,
)
from core.faq.collections import StoredEntry
from core.faq.decision import Outcome, Sureness, Thresholds, decide, evidence_of, probability
from core.faq.index import CollectionIndex, Hit
from tests.core.faq.conftest import entry
from tests.core.faq.embedders import Trigrams

SURE = Sureness(
    first=(4, 1, 1, 0), among=(4.5, 1.5, 0.5, 0), thresholds=Thresholds(answer=0.9, ask=0.7, ground=0.5)
)  # fmt: skip


def hit(key: str, score: float, nearness: float | None = None, *, same: bool = False) -> Hit:
    stored = StoredEntry(1, 1, 1, removed=False, entry=entry(key))
    return Hit(stored, 0, score, score if nearness is None else nearness, 0.1, None, same)


def varied(entries: int, phrasings: int, seed: int = 1) -> CollectionIndex:
    """A collection whose entries have words of their own among words that all share."""
    chance = random.Random(seed)
    words = [f"{a}{b}{c}" for a in "bdfgklmnprst" for b in "aeiou" for c in "bdgkmnprst"]
    chance.shuffle(words)
    shared = ["how", "can", "i", "my", "the", "please", "do", "want", "to", "is"]
    made = []
    for i in range(entries):
        own = words[4 * i : 4 * i + 4]
        texts = {
            " ".join([*chance.sample(shared, 3), *chance.sample(own, 2), chance.choice(words)])
            for _ in range(2 * phrasings)
        }
        made.append(entry(f"k{i}", *sorted(texts)[:phrasings]))
    index = CollectionIndex(0, Trigrams(size=256))
    index.load(made)
    return index


@pytest.mark.parametrize(
    ("hits", "outcome", "reason"),
    [
        ([], Outcome.ABSTAIN, "nothing_found"),
        ([hit("a", 0.02), hit("b", 0.01)], Outcome.ABSTAIN, "too_far"),
        ([hit("a", 0.9), hit("b", 0.1)], Outcome.ANSWER, "sure"),
        ([hit("a", 0.6), hit("b", 0.59)], Outcome.ASK, "between_entries"),
        ([hit("a", 0.15), hit("b", 0.1)], Outcome.GROUND, "near"),
        ([hit("a", 0.6, same=True), hit("b", 0.59)], Outcome.ANSWER, "same_words"),
        ([hit("a", 0.6), hit("b", 0.59, same=True)], Outcome.ANSWER, "same_words"),
        ([hit("a", 0.5, same=True), hit("b", 0.5, same=True)], Outcome.ASK, "between_entries"),
    ],
)
def test_what_is_done_follows_from_how_sure_it_is(hits: list[Hit], outcome: Outcome, reason: str) -> None:
    decision = decide(hits, SURE)
    assert (decision.outcome, decision.reason) == (outcome, reason)
    assert sum(match.probability for match in decision.matches) <= 1 + 1e-9


def test_the_entry_in_the_same_words_comes_first() -> None:
    decision = decide([hit("a", 0.6), hit("b", 0.59, same=True)], SURE)
    assert [match.hit.stored.entry.key for match in decision.matches] == ["b", "a"]
    assert decision.matches[0].probability == 1


@given(st.lists(st.floats(0, 1), min_size=1, max_size=4), st.floats(0, 0.98))
def test_more_lead_never_makes_a_match_less_sure(scores: list[float], nearness: float) -> None:
    hits = [hit(f"k{i}", score, nearness) for i, score in enumerate(sorted(scores, reverse=True))]
    for mode in MODES:
        sure = probability(evidence_of(hits)[None], default(mode).first)[0]
        alone = probability(evidence_of(hits[:1])[None], default(mode).first)[0]
        assert 0 <= sure <= alone + 1e-12


@given(
    st.lists(st.tuples(st.floats(0, 1), st.booleans()), min_size=1, max_size=60),
    st.sampled_from([0.01, 0.05, 0.1, 0.5]),
)
def test_a_threshold_keeps_the_risk_on_its_own_questions(rows: list[tuple[float, bool]], risk: float) -> None:
    sure, right = np.array([score for score, _ in rows]), np.array([good for _, good in rows])
    limit = threshold(sure, right, np.ones(len(rows)), risk)
    answered = sure >= limit
    assert limit == NEVER or (~right[answered]).mean() <= risk
    assert limit != NEVER or not answered.any()


def test_few_questions_promise_nothing() -> None:
    few = threshold(np.linspace(0.5, 1, 40), np.ones(40, dtype=bool), np.ones(40), 0.02)
    many = threshold(np.linspace(0.5, 1, 120), np.ones(120, dtype=bool), np.ones(120), 0.02)
    assert (few, many) == (NEVER, 0.5)


def test_weights_make_uncovered_questions_their_share() -> None:
    covered = np.array([True] * 30 + [False] * 10)
    weights = weigh(covered, 0.2, np.ones(40))
    assert weights.sum() == pytest.approx(40)
    assert weights[~covered].sum() == pytest.approx(8)
    assert weigh(np.ones(5, dtype=bool), 0.2, np.ones(5)).sum() > 0


def test_questions_about_anything_else_count_as_much_as_those_near_by() -> None:
    scores = np.zeros((12, 3), dtype=np.float32)
    near = trials_of(scores, scores, np.array([0] * 6 + [-1] * 6))
    joined = near.with_far(trials_of(scores[:2], scores[:2], np.array([-1, -1])))
    weights = weigh(joined.covered, 0.2, joined.counts)
    assert weights[6:12].sum() == pytest.approx(weights[12:].sum())
    assert weights[~joined.covered].sum() == pytest.approx(0.2 * 14)


def test_trials_are_made_of_scores() -> None:
    scores = np.array([[0.9, 0.1, 0.2, 0.0], [0.1, 0.2, 0.3, 0.4], [0.3, 0.2, 0.1, 0.0]], dtype=np.float32)
    trials = trials_of(scores, scores, np.array([0, 0, -1]))
    assert trials.first.tolist() == [True, False, False]
    assert trials.among.tolist() == [True, False, False]
    assert trials.covered.tolist() == [True, True, False]
    np.testing.assert_allclose(trials.evidence[0], [1, *np.log([0.92, 0.72, 0.92])], rtol=1e-5)


def test_a_calibrated_collection_keeps_its_promise_on_questions_that_it_never_saw() -> None:
    index = varied(entries=40, phrasings=12)
    made = calibrate(index, target_risk=0.05)
    mode = mode_of(index.snapshot, meaning=True)
    assert made.modes[mode].source == "held_out"
    assert made.modes[mode].covered == 480
    fresh = varied(entries=40, phrasings=30)  # the same words of their own, other sentences
    wrong = given = 0
    for stored in fresh.snapshot.stored:
        for text in stored.entry.phrasings[12:]:
            decision = decide(index.snapshot.search(index.question(text)), made.sureness(mode))
            if decision.outcome is Outcome.ANSWER:
                given += 1
                wrong += decision.matches[0].hit.stored.entry.key != stored.entry.key
    assert given > 200
    assert wrong / given <= 0.07


def test_a_risk_table_trades_answers_for_wrong_ones() -> None:
    made = calibrate(varied(entries=40, phrasings=12), target_risk=0.02)
    table = made.modes["meaning-trained"].table
    assert [row.allowed for row in table] == list(calibration.RISKS)
    assert [row.answered for row in table] == sorted(row.answered for row in table)
    assert all(row.risk <= row.allowed for row in table)


def test_entries_with_few_phrasings_are_not_held_out_but_have_the_defaults() -> None:
    index = varied(entries=40, phrasings=3)
    assert hold_out_trials(index.snapshot) == {}
    made = calibrate(index, target_risk=0.1)
    each = made.modes["meaning-trained"]
    assert each.source == "default"
    assert each.sureness == default("meaning-trained", 0.1)
    assert each.sureness.thresholds.answer < default("meaning-trained").thresholds.answer


def test_questions_that_were_given_count_more_than_held_out_phrasings() -> None:
    index = varied(entries=40, phrasings=12)
    chance = np.random.default_rng(1)
    evidence = np.column_stack([np.ones(200), np.log(chance.uniform(0.02, 1, (200, 3)))])
    right = evidence[:, 2] > -1
    made = calibrate(index, given={"meaning-trained": Trials(evidence, right, right, right, np.ones(200))})
    assert made.modes["meaning-trained"].source == "given"
    assert made.modes["meaning-trained"].covered == int(right.sum())


def test_a_calibration_survives_json() -> None:
    made = calibrate(varied(entries=12, phrasings=8))
    assert Calibration.model_validate(json.loads(json.dumps(made.model_dump(mode="json")))) == made
    assert made.embedder == "trigrams@1"


@pytest.mark.parametrize("mode", MODES)
@pytest.mark.parametrize("risk", [0.001, 0.01, 0.02, 0.1, 0.3])
def test_defaults_are_stricter_for_less_risk(mode: calibration.Mode, risk: float) -> None:
    strict, loose = default(mode, risk).thresholds.answer, default(mode, 2 * risk).thresholds.answer
    assert 0 < loose <= strict <= 1


def test_evidence_that_tells_nothing_is_not_used() -> None:
    chance = np.random.default_rng(2)
    evidence = np.column_stack([np.ones(400), np.log(chance.uniform(0.02, 1, (400, 3)))])
    right = chance.uniform(size=400) < np.exp(evidence[:, 2])
    made = fitted(Trials(evidence, right, right, np.arange(400) < 300, np.ones(400)), "held_out", 0.02, 0.2)
    assert min(made.sureness.first[1:]) >= 0
    assert made.sureness.first[2] > 0.5
