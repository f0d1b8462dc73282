"""The name `slimpajama` stands for the packaged checkpoint, from any folder and without a network."""

from __future__ import annotations

import os
import subprocess
import sys
from pathlib import Path

import pytest
import torch
from transformers import AutoConfig, AutoModel, AutoModelForCausalLM, AutoTokenizer, pipeline

import slimpajama
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM, SlimPajamaModel

ROOT = Path(slimpajama.__file__).parent.parent
ASK = """
import slimpajama
from transformers import AutoModelForCausalLM, AutoTokenizer, pipeline
tokenizer = AutoTokenizer.from_pretrained("slimpajama")
model = AutoModelForCausalLM.from_pretrained(pretrained_model_name_or_path="slimpajama")
generate = pipeline("text-generation", model="slimpajama")
print(len(generate("今天天气很好，", max_new_tokens=3, return_full_text=False)))
"""


@pytest.fixture(autouse=True)
def _offline(monkeypatch: pytest.MonkeyPatch) -> None:
    monkeypatch.setattr("huggingface_hub.constants.HF_HUB_OFFLINE", True)


@pytest.mark.parametrize("place", ["root", "elsewhere"])
def test_the_name_works_from_any_folder(place: str, tmp_path: Path) -> None:
    home = {"HF_HUB_OFFLINE": "1", "HF_HOME": str(tmp_path / "hf"), "PYTHONPATH": str(ROOT)}
    cwd = ROOT if place == "root" else tmp_path
    output = subprocess.run(
        [sys.executable, "-c", ASK], cwd=cwd, env=os.environ | home, capture_output=True, text=True, check=False
    )
    assert output.returncode == 0, output.stderr
    assert output.stdout.strip() == "1"


def test_every_auto_class_knows_the_name() -> None:
    assert AutoConfig.from_pretrained("slimpajama").model_type == "slimpajama"
    assert type(AutoModel.from_pretrained("slimpajama")) is SlimPajamaModel
    assert type(AutoModelForCausalLM.from_pretrained("slimpajama")) is SlimPajamaForCausalLM


def test_registering_again_changes_nothing() -> None:
    before = AutoModelForCausalLM.from_pretrained
    slimpajama.register()
    assert AutoModelForCausalLM.from_pretrained is before


def test_another_name_is_left_alone(tmp_path: Path) -> None:
    with pytest.raises(OSError):  # noqa: PT011  transformers words it by the network's state
        AutoTokenizer.from_pretrained("slimpajama-2", cache_dir=tmp_path)


def test_the_pipeline_answers_a_conversation() -> None:
    generate = pipeline("text-generation", model="slimpajama")
    answered = generate([{"role": "user", "content": "Hello!"}], max_new_tokens=8, do_sample=False)
    assert answered[0]["generated_text"][-1]["role"] == "assistant"


def test_a_batch_of_the_shipped_model_equals_one_by_one() -> None:
    tokenizer = AutoTokenizer.from_pretrained("slimpajama")
    model = AutoModelForCausalLM.from_pretrained("slimpajama", dtype=torch.float32)
    prompts = ["你好", "What is the weather like today?", "Hi"]
    settings = {"max_new_tokens": 8, "do_sample": False}

    def answer(*texts: str) -> list[str]:
        given = tokenizer(list(texts), return_tensors="pt", padding=True)
        said = model.generate(**given, **settings)[:, given.input_ids.shape[1] :]
        return tokenizer.batch_decode(said, skip_special_tokens=True)

    assert answer(*prompts) == [answer(prompt)[0] for prompt in prompts]
