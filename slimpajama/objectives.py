"""Objectives: what a model is to make small, as a sum over the tokens that are learned."""

from __future__ import annotations

from typing import Any, Protocol

import torch
from torch.nn import functional

from slimpajama.data import IGNORED, Batch


class Objective(Protocol):
    """(model, batch) → the loss, summed over the tokens that are learned, a scalar."""

    def __call__(self, model: Any, batch: Batch) -> torch.Tensor: ...


def cross_entropy(model: Any, batch: Batch) -> torch.Tensor:
    """How little the model expects the next token, in nats."""
    targets = batch.targets  # (B, T)
    learned = targets != IGNORED
    logits = model(
        input_ids=batch.input_ids, position_ids=batch.position_ids, use_cache=False, logits_to_keep=learned
    ).logits  # (learned tokens, V)
    return functional.cross_entropy(logits.float(), targets[learned], reduction="sum")


class Distillation:
    """Nearness to a teacher of as many layers and the same tokenizer, and to the text.

    KL divergence from the teacher's distribution, plus `text` of the cross-entropy, plus `hidden` of the mean squared
    difference of the hidden states after each layer, each as a share of the teacher's mean square.
    """

    def __init__(self, teacher: Any, text: float = 0.5, hidden: float = 1.0) -> None:
        self._teacher = teacher.eval().requires_grad_(False)
        self._text, self._hidden = text, hidden

    def __call__(self, model: Any, batch: Batch) -> torch.Tensor:
        """Sum over the tokens that are learned."""
        targets = batch.targets
        learned = targets != IGNORED
        given = {"input_ids": batch.input_ids, "position_ids": batch.position_ids, "use_cache": False}
        with torch.no_grad():
            told = self._teacher(**given, output_hidden_states=True)
        found = model(**given, output_hidden_states=True)
        logits, wanted = found.logits[learned].float(), told.logits[learned].float()  # (learned tokens, V)
        divergence = functional.kl_div(logits.log_softmax(-1), wanted.log_softmax(-1), reduction="sum", log_target=True)
        text = functional.cross_entropy(logits, targets[learned], reduction="sum")
        apart = torch.stack(
            [
                (ours[learned].float() - theirs[learned].float()).square().sum(-1).sum()
                / theirs[learned].float().square().sum(-1).mean().clamp(min=1e-12)
                for ours, theirs in zip(found.hidden_states[1:], told.hidden_states[1:], strict=True)
            ]
        ).mean()
        return divergence + self._text * text + self._hidden * apart
