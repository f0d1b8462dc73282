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

COLDEST = 1e-3
"""Below this temperature the likeliest token is taken: logits over less might not be finite."""

_WIDE = 1024
"""A row that may become any of more tokens is looked at by itself: to sort them all takes longer than a whole step."""


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

        self.greedy = [p.temperature < COLDEST for p in rows]
        self.all_greedy = all(self.greedy)
        self.penalised = any(p.repetition_penalty != 1 for p in rows)
        self._is_greedy = torch.tensor(self.greedy, device=device)
        self._temperature = column([1.0 if p.temperature < COLDEST else p.temperature for p in rows])
        self._top_p = column([p.top_p for p in rows])
        widths = [1 if p.temperature < COLDEST else min(p.top_k or vocabulary, vocabulary) for p in rows]
        self._top_k = column([float(width) for width in widths])
        self._penalty = column([p.repetition_penalty for p in rows])
        # Only this many candidates of a row can be sampled: sorting the rest would be wasted.
        self._widest = max((width for width in widths if width <= _WIDE), default=1)
        self._wide = {row: width for row, width in enumerate(widths) if width > _WIDE}

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
        """Return (probabilities, ids), both (B, K), likeliest first: what top-k and top-p leave, not normalised.

        They mean nothing in rows that may become any of more than `_WIDE` tokens.
        """
        return _kept(logits.float() / self._temperature, self._top_k, self._top_p, self._widest)

    def _sample(self, logits: Tensor, draws: list[float]) -> Tensor:
        probabilities, ids = self.probabilities(logits)
        draw = torch.tensor(draws, dtype=torch.float64, device=logits.device).unsqueeze(1)  # (B, 1)
        chosen = ids.gather(1, _drawn(probabilities, draw)).squeeze(1)
        for row, width in self._wide.items():
            one = slice(row, row + 1)
            chosen[row] = _of_many(logits[one] / self._temperature[one], width, self._top_p[one], draw[one])
        return chosen

    def _penalise(self, logits: Tensor, seen: Tensor) -> Tensor:
        less_likely = torch.where(logits > 0, logits / self._penalty, logits * self._penalty)
        return torch.where(seen, less_likely, logits)


def _kept(scores: Tensor, top_k: Tensor, top_p: Tensor, width: int) -> tuple[Tensor, Tensor]:
    """The same of scores (B, V), where top-k (B, 1) is no more than `width`. (B, `width`), twice."""
    likeliest, ids = torch.topk(scores, width, dim=-1)  # sorted
    rank = torch.arange(width, device=scores.device)  # (K,)
    return _nucleus(likeliest.masked_fill(rank >= top_k, -torch.inf).softmax(dim=-1), top_p), ids


def _nucleus(probabilities: Tensor, top_p: Tensor) -> Tensor:
    """What top-p leaves of probabilities (B, K), likeliest first."""
    before = probabilities.cumsum(dim=-1) - probabilities  # mass of the likelier ones
    first = torch.arange(probabilities.shape[1], device=probabilities.device) == 0
    return probabilities.masked_fill((before >= top_p) & ~first, 0.0)


def _drawn(probabilities: Tensor, draw: Tensor) -> Tensor:
    """The index (B, 1) that a random number (B, 1) in [0, 1) falls on, of probabilities (B, K), not normalised."""
    cumulative = probabilities.double().cumsum(dim=-1)
    index = torch.searchsorted(cumulative, draw * cumulative[:, -1:], right=True)
    return index.clamp_(max=probabilities.shape[1] - 1)


def _of_many(scores: Tensor, width: int, top_p: Tensor, draw: Tensor) -> Tensor:
    """The next id of one row (1, V) that more than `_WIDE` candidates are left to: few of them are sorted, if that does.

    All are sorted only where top-k or top-p cut the row somewhere behind those few.
    """
    if width == scores.shape[1]:
        weights = (scores - scores.amax(dim=-1, keepdim=True)).exp()
        whole = weights.sum(dim=-1, keepdim=True, dtype=torch.float64)
        ids = torch.topk(scores, _WIDE, dim=-1).indices
        probabilities = weights.gather(1, ids) / whole.float()
        if probabilities.cumsum(dim=-1)[:, -1:] >= top_p:
            return ids.gather(1, _drawn(_nucleus(probabilities, top_p), draw)).squeeze()
        if top_p == 1:
            mass = weights.gather(1, ids).sum(dim=-1, keepdim=True, dtype=torch.float64) / whole
            if draw < mass:
                return ids.gather(1, _drawn(probabilities, draw / mass)).squeeze()
            return _drawn(weights.scatter(1, ids, 0.0), (draw - mass) / (1 - mass)).squeeze()
    probabilities, ids = _kept(scores, torch.full_like(top_p, width), top_p, width)
    return ids.gather(1, _drawn(probabilities, draw)).squeeze()
