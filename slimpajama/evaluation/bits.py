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

from slimpajama.data import BadRows, plain_ids, read_rows
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


def texts(path: Path, limit_bytes: int | None = None) -> Iterator[str]:
    """The `text` of each row of a held-out file, up to about `limit_bytes`. Raises DataError."""
    taken = 0
    for row in read_rows(path, BadRows()):
        text = row.get("text")
        if isinstance(text, str) and text:
            yield text
            taken += len(text.encode())
        if limit_bytes is not None and taken >= limit_bytes:
            return


def bits_per_byte(model: Any, tokenizer: Any, documents: Iterable[str], window: int | None = None) -> BitsPerByte:
    """Measure `model` on `documents`, each by itself, in windows of at most `window` tokens.

    A window begins with `<|endoftext|>` and foretells every token after it, so each token is counted exactly once;
    the first tokens of a later window know less than they could. Raises DataError where there is no text.
    """
    window = min(window or 512, model.config.max_position_embeddings)
    bits, size = 0.0, 0
    for document in documents:
        size += len(document.encode())
        ids = plain_ids(tokenizer, document)
        for start in range(0, len(ids), window - 1):
            bits += _bits(model, [tokenizer.pad_token_id, *ids[start : start + window - 1]])
    if not size:
        raise DataError("There is no text to measure on.")
    return BitsPerByte(bits, size)


@torch.inference_mode()
def _bits(model: Any, ids: list[int]) -> float:
    given = torch.tensor([ids], device=model.device)  # (1, T)
    logits = model(input_ids=given, use_cache=False).logits[0, :-1].float()  # (T - 1, V)
    return torch.nn.functional.cross_entropy(logits, given[0, 1:], reduction="sum").item() / math.log(2)
