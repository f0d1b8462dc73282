"""Sampling follows transformers' filters, and a row depends on nothing but itself."""

from __future__ import annotations

import torch
from hypothesis import given
from hypothesis import strategies as st
from transformers import (
    LogitsProcessorList,
    RepetitionPenaltyLogitsProcessor,
    TemperatureLogitsWarper,
    TopKLogitsWarper,
    TopPLogitsWarper,
)

from core.values import SamplingParams
from workers.engine.sampling import RandomStream, Sampler

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
