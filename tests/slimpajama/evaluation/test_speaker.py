"""Many are answered at once as each would be alone."""

from __future__ import annotations

from pathlib import Path
from types import SimpleNamespace
from typing import Any

import pytest
import torch
from safetensors.torch import load_file, save_file

from slimpajama.checkpoints import context_tokens
from slimpajama.data import plain_ids
from slimpajama.errors import SlimPajamaError
from slimpajama.evaluation.held_out import Messages
from slimpajama.evaluation.speaker import Speaker
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.saving import save_model


@pytest.fixture
def speaker(model: SlimPajamaForCausalLM, tokenizer: Any) -> Speaker:
    return Speaker(model, tokenizer)


def user(text: str) -> Messages:
    return [{"role": "user", "content": text}]


def test_a_batch_answers_as_one_by_one(speaker: Speaker) -> None:
    asked = [user("The cat?"), user("今天天气很好。你呢？"), user("The dog sat by the door."), user("x")]
    done: list[int] = []
    assert speaker.answers(asked, 12, done.append) == [speaker.answers([each], 12)[0] for each in asked]
    assert sum(done) == 4


def test_a_prompt_without_room_for_an_answer_gets_none(speaker: Speaker) -> None:
    long = user("The cat sat. " * 60)
    assert not speaker.fits(long, 8)
    assert speaker.answers([long, user("The cat?")], 8)[0] == ""
    assert speaker.fits(user("The cat?"), 8)


def test_sampling_with_a_seed_gives_the_same_again(speaker: Speaker) -> None:
    def said(seed: int) -> list[str]:
        torch.manual_seed(seed)
        return speaker.answers([user("The cat?")], 12, do_sample=True, temperature=0.9)

    assert said(1) == said(1) != said(2)


def test_the_likeliest_answer_is_the_one_of_highest_probability(speaker: Speaker) -> None:
    answers = ["the cat", "x", "the dog sat", "天气"]
    prompt = speaker.prompt_ids(user("Which?"))

    def log_probability(answer: str) -> float:
        ending = [*plain_ids(speaker.tokenizer, answer), speaker.tokenizer.eos_token_id]
        logits = speaker.model(torch.tensor([prompt + ending])).logits[0].log_softmax(-1)
        return sum(logits[len(prompt) - 1 + i, token].item() for i, token in enumerate(ending))

    expected = max(range(4), key=lambda i: log_probability(answers[i]))
    assert speaker.likeliest(user("Which?"), answers) == expected


def test_a_checkpoint_that_cannot_be_asked_is_named(model: SlimPajamaForCausalLM, tokenizer: Any) -> None:
    with pytest.raises(SlimPajamaError, match="no chat template"):
        Speaker(model, type(tokenizer)(tokenizer_object=tokenizer.backend_tokenizer))
    with pytest.raises(SlimPajamaError, match="/nowhere cannot be loaded"):
        Speaker.load("/nowhere")


def test_a_checkpoint_without_some_of_its_weights_is_refused(
    model: SlimPajamaForCausalLM, tokenizer: Any, tmp_path: Path
) -> None:
    folder = save_model(model, tokenizer, tmp_path / "saved")
    weights = load_file(folder / "model.safetensors")
    kept = {name: tensor for name, tensor in weights.items() if ".blocks.1." not in name}
    save_file(kept, folder / "model.safetensors", {"format": "pt"})
    expected = f"{len(weights) - len(kept)} of its weights are missing .* first one is model.blocks.1.down_proj.bias"
    with pytest.raises(SlimPajamaError, match=expected):
        Speaker.load(str(folder))


def test_the_context_is_known_by_other_names_too(model: SlimPajamaForCausalLM) -> None:
    assert context_tokens(model.config) == 256
    assert context_tokens(SimpleNamespace(n_positions=77)) == 77
