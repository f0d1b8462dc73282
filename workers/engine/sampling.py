"""Choosing the next token of every row of a batch at once, each row with its own parameters and random stream.

Knows logits and SamplingParams; knows no model and no text. The order of the filters is that of transformers:
repetition penalty, temperature, top-k, top-p. A row's choice depends on its own logits and its own random stream only,
so that a seed reproduces an answer whatever else is in the batch.
"""

from __future__ import annotations

import secrets
from collections.abc import Sequence

import torch
from torch import Tensor

from core.values import SamplingParams


class RandomStream:
    """One request's own uniform random numbers, the same on every device."""

    def __init__(self, seed: int | None) -> None:
        self._generator = torch.Generator(device="cpu")
        self._generator.manual_seed(secrets.randbits(63) if seed is None else seed)

    def next(self) -> float:
        """The next number in [0, 1)."""
        return torch.rand((), generator=self._generator, dtype=torch.float64).item()


class Sampler:
    """The sampling parameters of the rows of one batch as tensors; made anew when the rows change."""

    def __init__(self, rows: Sequence[SamplingParams], vocabulary: int, device: torch.device) -> None:
        def column(values: list[float]) -> Tensor:
            return torch.tensor(values, dtype=torch.float32, device=device).unsqueeze(1)  # (B, 1)

        self.greedy = [p.temperature == 0 for p in rows]
        self.all_greedy = all(self.greedy)
        self.penalised = any(p.repetition_penalty != 1 for p in rows)
        self._is_greedy = torch.tensor(self.greedy, device=device)
        self._temperature = column([p.temperature or 1.0 for p in rows])
        self._top_p = column([p.top_p for p in rows])
        self._top_k = column([float(p.top_k or vocabulary) for p in rows])
        self._penalty = column([p.repetition_penalty for p in rows])
        # Only this many candidates of a row can be sampled: sorting the rest would be wasted.
        self._widest = min(vocabulary, max((p.top_k or vocabulary for p in rows if p.temperature), default=1))

    def choose(self, logits: Tensor, seen: Tensor, streams: Sequence[RandomStream]) -> Tensor:
        """Return the next ids (B,). `logits` (B, V); `seen` (B, V) says which ids prompt and answer hold."""
        logits = logits.float()
        if self.penalised:
            logits = self._penalise(logits, seen)
        best = logits.argmax(dim=-1)
        if self.all_greedy:
            return best
        draws = [0.0 if greedy else stream.next() for greedy, stream in zip(self.greedy, streams, strict=True)]
        return torch.where(self._is_greedy, best, self._sample(logits, draws))

    def probabilities(self, logits: Tensor) -> tuple[Tensor, Tensor]:
        """Return (probabilities, ids), both (B, K), likeliest first: what top-k and top-p leave, not normalised."""
        scores, ids = torch.topk(logits.float() / self._temperature, self._widest, dim=-1)  # (B, K), sorted
        rank = torch.arange(self._widest, device=logits.device)  # (K,)
        kept = scores.masked_fill(rank >= self._top_k, -torch.inf).softmax(dim=-1)
        before = kept.cumsum(dim=-1) - kept  # mass of the likelier ones
        return kept.masked_fill((before >= self._top_p) & (rank > 0), 0.0), ids

    def _sample(self, logits: Tensor, draws: list[float]) -> Tensor:
        probabilities, ids = self.probabilities(logits)
        cumulative = probabilities.double().cumsum(dim=-1)
        target = torch.tensor(draws, dtype=torch.float64, device=logits.device).unsqueeze(1) * cumulative[:, -1:]
        index = torch.searchsorted(cumulative, target, right=True)
        return ids.gather(1, index.clamp_(max=ids.shape[1] - 1)).squeeze(1)

    def _penalise(self, logits: Tensor, seen: Tensor) -> Tensor:
        less_likely = torch.where(logits > 0, logits / self._penalty, logits * self._penalty)
        return torch.where(seen, less_likely, logits)
