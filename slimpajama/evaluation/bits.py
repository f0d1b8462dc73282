"""Bits per byte: how well a model foretells a text, comparable between tokenizers.

Knows a causal language model, its tokenizer and rows of text. Knows no task and no answer's quality.
"""

from __future__ import annotations

import math
from collections.abc import Iterable, Iterator
from dataclasses import dataclass
from pathlib import Path
from typing import Any

import torch
from torch.nn import functional

from slimpajama.checkpoints import context_tokens
from slimpajama.data import BadRows, NoBadRows, plain_ids, read_rows, start_id
from slimpajama.errors import DataError


@dataclass(frozen=True, slots=True)
class BitsPerByte:
    """What was measured: `bits` over all tokens of texts of `size` UTF-8 bytes."""

    bits: float
    size: int

    @property
    def value(self) -> float:
        """Bits for each byte of text; 8 is knowing nothing."""
        return self.bits / self.size


def texts(path: Path, limit_bytes: int | None = None, bad: BadRows | None = None) -> Iterator[str]:
    """The `text` of each row of a held-out file, up to about `limit_bytes`.

    Raises DataError, also for a row that cannot be used where there is no `bad` to note it in.
    """
    bad, taken = bad or NoBadRows(), 0
    for row in read_rows(path, bad):
        text = row.get("text")
        if not isinstance(text, str) or not text:
            bad.note("no text")
            continue
        yield text
        taken += len(text.encode())
        if limit_bytes is not None and taken >= limit_bytes:
            return


def bits_per_byte(model: Any, tokenizer: Any, documents: Iterable[str], window: int | None = None) -> BitsPerByte:
    """Measure `model` on `documents`, each by itself, in windows of at most `window` tokens.

    Each token is counted exactly once; the first tokens of a later window know less than they could. Raises DataError
    where there is no text.
    """
    bits, size = 0.0, 0
    for document in documents:
        size += len(document.encode())
        for ids in _windows(model, tokenizer, document, window):
            bits += functional.cross_entropy(_logits(model, ids), ids[0, 1:], reduction="sum").item() / math.log(2)
    if not size:
        raise DataError("There is no text to measure on.")
    return BitsPerByte(bits, size)


def divergence(model: Any, source: Any, tokenizer: Any, documents: Iterable[str]) -> float:
    """How far what `model` expects is from what `source` does: KL divergence, nats a token. Raises DataError."""
    total, tokens = 0.0, 0
    for document in documents:
        for ids in _windows(model, tokenizer, document):
            found, wanted = (_logits(each, ids).log_softmax(-1) for each in (model, source))
            total += functional.kl_div(found, wanted, reduction="sum", log_target=True).item()
            tokens += len(found)
    if not tokens:
        raise DataError("There is no text to measure on.")
    return total / tokens


def _windows(model: Any, tokenizer: Any, document: str, window: int | None = None) -> Iterator[torch.Tensor]:
    """The document's tokens, (1, T) at a time, each time behind the one that begins a text."""
    window = min(window or 512, context_tokens(model.config))
    ids, start = plain_ids(tokenizer, document), start_id(tokenizer)
    for begin in range(0, len(ids), window - 1):
        yield torch.tensor([[start, *ids[begin : begin + window - 1]]], device=model.device)


@torch.inference_mode()
def _logits(model: Any, ids: torch.Tensor) -> torch.Tensor:
    """What each but the last token makes the model expect, (T - 1, V)."""
    logits: torch.Tensor = model(input_ids=ids, use_cache=False).logits[0, :-1].float()
    return logits
