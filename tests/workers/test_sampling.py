"""Sampling follows transformers' filters, and a row depends on nothing but itself."""

from __future__ import annotations

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from core.values import SamplingParams
from workers.engine.sampling import _WIDE, COLDEST, RandomStream, Sampler

VOCABULARY = 40
CPU = torch.device("cpu")

params = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    top_p=st.sampled_from([0.05, 0.5, 0.9, 1.0]),
    top_k=st.sampled_from([0, 1, 5, 30, 100]),
    repetition_penalty=st.sampled_from([0.5, 1.0, 1.3]),
    seed=st.integers(0, 2**63 - 1),
)


def logits_of(seed: int, rows: int) -> torch.Tensor:
    return torch.randn((rows, VOCABULARY), generator=torch.Generator().manual_seed(seed)) * 3


def seen_of(seed: int, rows: int) -> torch.Tensor:
    return torch.rand((rows, VOCABULARY), generator=torch.Generator().manual_seed(seed + 1)) < 0.3


def expected(logits: torch.Tensor, seen: torch.Tensor, p: SamplingParams) -> torch.Tensor:
    """The distribution that transformers samples one row from."""
    steps = LogitsProcessorList()
    if p.repetition_penalty != 1:
        steps.append(RepetitionPenaltyLogitsProcessor(p.repetition_penalty))
    steps.append(TemperatureLogitsWarper(p.temperature or 1.0))
    if p.top_k:
        steps.append(TopKLogitsWarper(p.top_k))
    steps.append(TopPLogitsWarper(p.top_p))
    return steps(seen.nonzero().T, logits.unsqueeze(0)).softmax(-1).squeeze(0)


@given(rows=st.lists(params.filter(lambda p: p.temperature > 0), min_size=1, max_size=5), seed=st.integers(0, 1000))
def test_each_row_is_sampled_from_the_distribution_of_transformers(rows: list[SamplingParams], seed: int) -> None:
    logits, seen = logits_of(seed, len(rows)), seen_of(seed, len(rows))
    sampler = Sampler(rows, VOCABULARY, CPU)
    penalised = sampler._penalise(logits, seen)
    probabilities, ids = sampler.probabilities(penalised)
    for row, p in enumerate(rows):
        got = torch.zeros(VOCABULARY).scatter(0, ids[row], probabilities[row])
        torch.testing.assert_close(got / got.sum(), expected(logits[row], seen[row], p), atol=1e-5, rtol=1e-4)


@given(rows=st.lists(params, min_size=2, max_size=6), seed=st.integers(0, 1000))
def test_a_row_is_chosen_alike_alone_and_in_a_batch(rows: list[SamplingParams], seed: int) -> None:
    logits, seen = logits_of(seed, len(rows)), seen_of(seed, len(rows))
    together = Sampler(rows, VOCABULARY, CPU).choose(logits, seen, [RandomStream(p.seed) for p in rows])
    for row, p in enumerate(rows):
        alone = Sampler([p], VOCABULARY, CPU).choose(logits[row : row + 1], seen[row : row + 1], [RandomStream(p.seed)])
        assert together[row] == alone[0]


def test_draws_follow_the_probabilities() -> None:
    p = SamplingParams(temperature=1.0, top_p=1.0, top_k=0, repetition_penalty=1.0, seed=5)
    logits = logits_of(3, 1).expand(4000, -1)
    streams = [RandomStream(seed) for seed in range(4000)]
    chosen = Sampler([p] * 4000, VOCABULARY, CPU).choose(logits, torch.zeros_like(logits, dtype=torch.bool), streams)
    frequencies = torch.bincount(chosen, minlength=VOCABULARY) / 4000
    assert (frequencies - logits[0].softmax(-1)).abs().max() < 0.04


def test_greedy_takes_the_likeliest() -> None:
    logits = logits_of(1, 3)
    rows = [SamplingParams(temperature=0, repetition_penalty=1.0)] * 3
    seen = torch.zeros_like(logits, dtype=torch.bool)
    chosen = Sampler(rows, VOCABULARY, CPU).choose(logits, seen, [RandomStream(None) for _ in rows])
    assert torch.equal(chosen, logits.argmax(-1))


# Rows that may become any of many tokens

MANY = 2 * _WIDE
wide = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 0.3, 1.0, 2.5]),
    top_p=st.sampled_from([0.05, 0.9, 0.999, 1.0]),
    top_k=st.sampled_from([0, 5, _WIDE, _WIDE + 1, MANY - 1, MANY + 1]),
    seed=st.integers(0, 2**63 - 1),
)


def sorted_whole(logits: torch.Tensor, p: SamplingParams) -> tuple[torch.Tensor, torch.Tensor, float]:
    """The naive way: all ids of one row, likeliest first, the mass up to each, and where its first random number falls."""
    scores, ids = (logits / (p.temperature or 1.0)).sort(descending=True)
    kept = scores.masked_fill(torch.arange(len(ids)) >= (p.top_k or len(ids)), -torch.inf).softmax(-1)
    before = kept.cumsum(-1) - kept
    kept = kept.masked_fill((before >= p.top_p) & (torch.arange(len(ids)) > 0), 0.0)
    mass = kept.double().cumsum(-1)
    return ids, mass, float(RandomStream(p.seed).next() * mass[-1])


@settings(deadline=None)
@given(rows=st.lists(wide, min_size=1, max_size=4), seed=st.integers(0, 1000), spread=st.sampled_from([0.5, 3.0]))
def test_few_candidates_are_sorted_and_the_choice_is_as_if_all_were(
    rows: list[SamplingParams], seed: int, spread: float
) -> None:
    logits = torch.randn((len(rows), MANY), generator=torch.Generator().manual_seed(seed)) * spread
    seen = torch.zeros_like(logits, dtype=torch.bool)
    chosen = Sampler(rows, MANY, CPU).choose(logits, seen, [RandomStream(p.seed) for p in rows])
    for row, p in enumerate(rows):
        ids, mass, target = sorted_whole(logits[row], p)
        at = int((ids == chosen[row]).nonzero())
        if p.temperature == 0:
            assert at == 0
        elif p.top_p == 1 and p.top_k in (0, MANY + 1) and target > mass[_WIDE - 1] - 1e-6:
            assert at >= _WIDE - 1, "which of the unlikely ones is another's test"
        else:
            below = float(mass[at - 1]) if at else 0.0
            assert below - 1e-6 <= target <= float(mass[at]) + 1e-6


class Given(RandomStream):
    """A number that is known."""

    def __init__(self, number: float) -> None:
        super().__init__(0)
        self._number = number

    def next(self) -> float:
        return self._number


def test_unlikely_tokens_come_as_often_as_they_should_without_being_sorted() -> None:
    tokens, draws = _WIDE + 200, 3 * _WIDE
    p = SamplingParams(temperature=1.0, top_p=1.0, top_k=0, repetition_penalty=1.0)
    logits = torch.randn((1, tokens), generator=torch.Generator().manual_seed(1)) * 0.3
    streams = [Given((i + 0.5) / draws) for i in range(draws)]  # evenly spread: each token gets its share, but for one
    seen = torch.zeros((1, tokens), dtype=torch.bool)
    chosen = Sampler([p] * draws, tokens, CPU).choose(logits.expand(draws, -1), seen, streams)
    frequencies = torch.bincount(chosen, minlength=tokens)
    assert (frequencies - draws * logits[0].softmax(-1)).abs().max() < 1.01


def test_all_that_may_be_said_are_not_sorted(monkeypatch: pytest.MonkeyPatch) -> None:
    widths, topk = [], torch.topk

    def seen(scores: torch.Tensor, k: int, **options: int) -> object:
        widths.append(k)
        return topk(scores, k, **options)

    monkeypatch.setattr(torch, "topk", seen)
    rows = [SamplingParams(top_k=5, seed=1), SamplingParams(top_k=0, top_p=1.0, seed=2)] * 3
    logits = torch.randn((6, MANY), generator=torch.Generator().manual_seed(1)) * 0.1  # most of the mass is far behind
    Sampler(rows, MANY, CPU).choose(
        logits, torch.zeros((6, MANY), dtype=torch.bool), [RandomStream(i) for i in range(6)]
    )
    assert widths == [5] + [_WIDE] * 3


@pytest.mark.parametrize("temperature", [COLDEST / 2, 1e-30, 1e-38, 1e-40, 1e-46])
def test_next_to_no_temperature_takes_the_likeliest(temperature: float) -> None:
    logits = logits_of(1, 2) * 5
    rows = [SamplingParams(temperature=temperature, seed=1), SamplingParams(temperature=1.0, seed=1)]
    rows = [p.model_copy(update={"repetition_penalty": 1.0}) for p in rows]
    seen = torch.zeros_like(logits, dtype=torch.bool)
    chosen = Sampler(rows, VOCABULARY, CPU).choose(logits, seen, [RandomStream(1), RandomStream(1)])
    assert chosen[0] == logits[0].argmax()
