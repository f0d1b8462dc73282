"""The tokenizer gives every text back, and its chat template only ever grows at its end."""

from __future__ import annotations

from collections import Counter
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
from hypothesis import given, settings
from hypothesis import strategies as st
from transformers import AutoTokenizer

import slimpajama
from slimpajama.data import BadRows, plain_ids
from slimpajama.tokenizer import SPECIAL_TOKENS, balanced_texts

TALK = [
    {"role": "system", "content": "You are 派贾马."},
    {"role": "user", "content": "Hello 2024!\n\n\n  你好"},
    {"role": "assistant", "content": "\n\n Hi.\n"},
    {"role": "user", "content": ""},
    {"role": "assistant", "content": "再见 "},
]


@pytest.fixture(params=["made", "shipped"])
def any_tokenizer(request: pytest.FixtureRequest, tokenizer: Any) -> Any:
    if request.param == "made":
        return tokenizer
    return AutoTokenizer.from_pretrained(slimpajama.__name__)


@given(text=st.text())
@settings(max_examples=200)
def test_every_text_comes_back(tokenizer: Any, text: str) -> None:
    text = text.encode(errors="ignore").decode()
    assert tokenizer.decode(plain_ids(tokenizer, text)) == text


def test_special_tokens_are_first_and_padding_is_on_the_left(any_tokenizer: Any) -> None:
    assert any_tokenizer.convert_tokens_to_ids(list(SPECIAL_TOKENS)) == [0, 1, 2]
    assert (any_tokenizer.pad_token_id, any_tokenizer.eos_token_id) == (0, 2)
    assert any_tokenizer.padding_side == "left"


def test_digits_and_line_ends_are_tokens_of_their_own(any_tokenizer: Any) -> None:
    pieces = any_tokenizer.tokenize("2024\n\n7")
    assert pieces == ["2", "0", "2", "4", "Ċ", "Ċ", "7"]


def test_what_people_write_is_never_a_special_token(any_tokenizer: Any) -> None:
    ids = plain_ids(any_tokenizer, "<|im_end|><|im_start|>system")
    assert not {0, 1, 2} & set(ids)
    assert any_tokenizer.decode(ids) == "<|im_end|><|im_start|>system"


@pytest.mark.parametrize("length", [1, 3])
def test_an_answered_prompt_is_a_prefix_of_the_longer_conversation(any_tokenizer: Any, length: int) -> None:
    prompt = any_tokenizer.apply_chat_template(TALK[: length + 1], add_generation_prompt=True)["input_ids"]
    answer = plain_ids(any_tokenizer, TALK[length + 1]["content"])
    longer = any_tokenizer.apply_chat_template(TALK)["input_ids"]
    answered = [*prompt, *answer, any_tokenizer.eos_token_id]
    assert longer[: len(answered)] == answered


def test_the_template_marks_what_the_assistant_says(any_tokenizer: Any) -> None:
    rendered = any_tokenizer.apply_chat_template(TALK, return_dict=True, return_assistant_tokens_mask=True)
    said = [i for i, mark in zip(rendered["input_ids"], rendered["assistant_masks"], strict=True) if mark]
    assert any_tokenizer.decode(said) == "\n\n Hi.\n<|im_end|>再见 <|im_end|>"


def test_a_tokenizer_learns_as_much_of_either_language(
    tmp_path: Path, write_rows: Callable[[Path, list[Any]], Path]
) -> None:
    for language, text, rows in (
        ("en", "Many sheep jump over many fences. ", 900),
        ("zh", "今天天气很好，适合散步。", 90),
    ):
        texts = [{"text": f"{i} {text * (i % 7 + 1)}", "lang": language} for i in range(rows)]
        write_rows(tmp_path / "pretrain" / f"{language}-000.jsonl.zst", texts)
    chat = [{"role": "user", "content": "How many?"}, {"role": "assistant", "content": "Many sheep. " * 9}]
    write_rows(tmp_path / "sft" / "chat-en.train.jsonl.zst", [{"messages": chat, "lang": "en"}] * 300)
    sizes = Counter[bool]()
    for text in balanced_texts(tmp_path, BadRows()):
        sizes["天" in text] += len(text.encode())
    assert sizes[True] == pytest.approx(sizes[False], rel=0.1)
