"""Bits per byte counts every token once, whatever the tokenizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slimpajama.data import plain_ids
from slimpajama.errors import DataError
from slimpajama.evaluation.bits import bits_per_byte, texts
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM

TEXT = "The cat sat by the door. 今天天气很好。"


def test_a_model_that_knows_nothing_pays_for_each_token(model: SlimPajamaForCausalLM, tokenizer: Any) -> None:
    torch.nn.init.zeros_(model.head_proj.weight)
    measured = bits_per_byte(model, tokenizer, [TEXT, TEXT])
    assert measured.size == 2 * len(TEXT.encode())
    assert measured.bits == pytest.approx(2 * len(plain_ids(tokenizer, TEXT)) * math.log2(320), rel=1e-5)


def test_windows_lose_no_token(model: SlimPajamaForCausalLM, tokenizer: Any) -> None:
    torch.nn.init.zeros_(model.head_proj.weight)
    whole = bits_per_byte(model, tokenizer, [TEXT])
    assert bits_per_byte(model, tokenizer, [TEXT], window=4).bits == pytest.approx(whole.bits, rel=1e-5)


def test_nothing_to_measure_is_refused(model: SlimPajamaForCausalLM, tokenizer: Any) -> None:
    with pytest.raises(DataError, match="no text"):
        bits_per_byte(model, tokenizer, [])


def test_texts_are_read_up_to_a_limit(tmp_path: Path, write_rows: Callable[[Path, list[Any]], Path]) -> None:
    file = write_rows(tmp_path / "heldout-en.jsonl.zst", [{"text": TEXT}, {"text": "x"}, {"other": 1}])
    assert list(texts(file)) == [TEXT, "x"]
    assert list(texts(file, 1)) == [TEXT]
