"""A tiny model, its tokenizer and a small data folder, all made on the spot."""

from __future__ import annotations

import json
from collections.abc import Callable
from pathlib import Path
from typing import Any

import pytest
import torch
import zstandard

from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.presets import preset
from slimpajama.tokenizer import train_tokenizer

TEXTS = (
    "The cat sat on the mat, and the dog sat by the door. It was 7 o'clock in 2024.\n\nThen they all went home.",
    "今天天气很好，适合户外活动，你可以去公园散步。我们明天再见。",
)


@pytest.fixture(scope="session", autouse=True)
def _one_thread() -> None:
    torch.set_num_threads(1)


@pytest.fixture(scope="session")
def tokenizer() -> Any:
    return train_tokenizer(iter(TEXTS * 3), 320, 256)


@pytest.fixture
def make_model() -> Callable[..., SlimPajamaForCausalLM]:
    """A model in which every parameter counts: deltas and depth embeddings begin at 0, and would hide mistakes."""

    def make(**changes: Any) -> SlimPajamaForCausalLM:
        torch.manual_seed(0)
        config = preset("tiny")
        config = type(config)(**{**config.to_dict(), "vocab_size": 320, **changes})
        model = SlimPajamaForCausalLM(config).eval()
        with torch.no_grad():
            for parameter in model.parameters():
                parameter.add_(torch.randn_like(parameter) * 0.1)
        return model

    return make


@pytest.fixture
def model(make_model: Callable[..., SlimPajamaForCausalLM]) -> SlimPajamaForCausalLM:
    return make_model()


@pytest.fixture
def write_rows() -> Callable[[Path, list[Any]], Path]:
    """Write rows as a packed JSON Lines file."""

    def write(path: Path, rows: list[Any]) -> Path:
        path.parent.mkdir(parents=True, exist_ok=True)
        lines = "".join(json.dumps(row, ensure_ascii=False) + "\n" for row in rows)
        path.write_bytes(zstandard.compress(lines.encode()))
        return path

    return write


@pytest.fixture
def data(tmp_path: Path, write_rows: Callable[[Path, list[Any]], Path]) -> Path:
    """A folder to train on: text and conversations in two languages."""
    folder = tmp_path / "data"
    for language, text in zip(("en", "zh"), TEXTS, strict=True):
        rows = [{"text": f"{text} {i} {text}", "lang": language, "src": language} for i in range(40)]
        write_rows(folder / "pretrain" / f"{language}-000.jsonl.zst", rows)
        chats = [{"messages": conversation(text[: 5 + i], text[i:30]), "lang": language} for i in range(20)]
        write_rows(folder / "sft" / f"chat-{language}.train.jsonl.zst", chats)
    return folder


def conversation(*said: str) -> list[dict[str, str]]:
    """What was said in turn, the user first."""
    return [{"role": ("user", "assistant")[i % 2], "content": text} for i, text in enumerate(said)]
