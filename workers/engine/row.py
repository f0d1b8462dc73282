"""Row: a request that an engine runs, and what sampling needs of it. Knows no KV and no model."""

from __future__ import annotations

from collections.abc import Sequence

import torch
from torch import Tensor

from core.values import FinishReason
from workers.engine.request import EngineFinish, Request
from workers.engine.sampling import RandomStream, Sampler


class Row:
    """A running request: its random stream, which ids prompt and answer hold, and how many tokens were sampled."""

    def __init__(self, request: Request, vocabulary: int, device: torch.device) -> None:
        self.request = request
        self.stream = RandomStream(request.asked.params.seed)
        self.seen = torch.zeros(vocabulary, dtype=torch.bool, device=device)  # (V,)
        self.seen[list(set(request.asked.token_ids))] = True
        self.sampled = 0

    def accept(self, token_id: int) -> EngineFinish | None:
        """Hand a token to the reader. Returns how the request ends, if it ends with it."""
        asked = self.request.asked
        if token_id in asked.stop_ids:
            return EngineFinish(FinishReason.STOP)
        self.sampled += 1
        self.seen[token_id] = True
        self.request.put(token_id)
        return EngineFinish(FinishReason.LENGTH) if self.sampled >= asked.params.max_new_tokens else None


class RowSampler:
    """Samples for rows; the tensors of their parameters are made anew only when the rows are others."""

    def __init__(self, vocabulary: int, device: torch.device) -> None:
        self._vocabulary, self._device = vocabulary, device
        self._rows: list[Row] = []
        self._sampler: Sampler | None = None

    def choose(self, rows: Sequence[Row], logits: Tensor) -> list[int]:
        """The next id of each row, from its logits (B, V)."""
        if self._sampler is None or self._rows != list(rows):
            params = [row.request.asked.params for row in rows]
            self._rows, self._sampler = list(rows), Sampler(params, self._vocabulary, self._device)
        seen = torch.stack([row.seen for row in rows]) if self._sampler.penalised else rows[0].seen.unsqueeze(0)
        ids: list[int] = self._sampler.choose(logits, seen, [row.stream for row in rows]).tolist()
        return ids


def unsound(rows: Sequence[Row], logits: Tensor) -> list[Row]:
    """The rows whose logits (B, V) are no numbers."""
    bad = logits.amax(dim=-1).isfinite().logical_not().tolist()  # NaN wins every comparison of amax
    return [row for row, is_bad in zip(rows, bad, strict=True) if is_bad]
