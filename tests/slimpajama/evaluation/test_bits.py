"""Bits per byte counts every token once, whatever the tokenizer."""

from __future__ import annotations

import math
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch

from slimpajama.data import BadRows, plain_ids, text_document
from slimpajama.errors import DataError
from slimpajama.evaluation.bits import bits_per_byte, divergence, texts
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
    file = write_rows(tmp_path / "heldout-en.jsonl.zst", [{"text": TEXT}, {"text": "x"}])
    assert list(texts(file)) == [TEXT, "x"]
    assert list(texts(file, 1)) == [TEXT]


def test_a_held_out_row_that_cannot_be_used_is_named(
    tmp_path: Path, write_rows: Callable[[Path, list[Any]], Path]
) -> None:
    file = write_rows(tmp_path / "heldout-en.jsonl.zst", [{"text": TEXT}, {"other": 1}, 3])
    with pytest.raises(DataError, match=r"heldout-en\.jsonl\.zst:2 cannot be measured on: no text"):
        list(texts(file))
    bad = BadRows()
    assert list(texts(file, bad=bad)) == [TEXT]
    assert bad.counts == {"no text": 1, "not an object": 1}


def test_a_window_begins_as_the_tokenizer_begins_a_text(model: SlimPajamaForCausalLM, tokenizer: Any) -> None:
    seen: list[int] = []
    model.register_forward_pre_hook(lambda *given: seen.append(given[2]["input_ids"][0, 0].item()), with_kwargs=True)
    for special in ({"bos_token": "<|im_start|>", "pad_token": "<|endoftext|>"}, {"eos_token": "<|im_end|>"}):
        other = type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer, **special)
        bits_per_byte(model, other, ["x"])
    assert seen == tokenizer.convert_tokens_to_ids(["<|im_start|>", "<|im_end|>"])
    with pytest.raises(DataError, match="no token that begins"):
        bits_per_byte(model, type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer), ["x"])


def test_a_text_is_learned_between_the_marks_of_its_tokenizer(tokenizer: Any) -> None:
    llama = type(tokenizer)(
        tokenizer_object=tokenizer.backend_tokenizer, bos_token="<|im_start|>", eos_token="<|im_end|>"
    )
    for given, marks in ((tokenizer, (0, 0)), (llama, (1, 2))):
        found = text_document({"text": "The cat"}, given, BadRows())
        assert found is not None
        assert (found.ids[0], found.ids[-1]) == marks


def test_a_model_is_no_distance_from_itself(make_model: Callable[..., SlimPajamaForCausalLM], tokenizer: Any) -> None:
    model, other = make_model(), make_model(num_repeats=1)
    assert divergence(model, model, tokenizer, [TEXT]) == 0
    assert divergence(other, model, tokenizer, [TEXT]) > 0.1
