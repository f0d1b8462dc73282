"""A converted model is the source at full rank, says how far it is below, and is not used before it was healed."""

from __future__ import annotations

import json
from pathlib import Path
from typing import Any

import pytest
import torch
from transformers import AutoModelForCausalLM, LlamaConfig, LlamaForCausalLM

from slimpajama.conversion import Sharing, calibrate, convert, low_rank
from slimpajama.data import Document, Packer, plain_ids
from slimpajama.errors import ConversionError, ResumeError
from slimpajama.objectives import Distillation
from slimpajama.slimming import heal, slim

IDS = torch.tensor([[5, 6, 7, 8, 9, 10, 11, 200, 31]])


def llama(**changes: Any) -> LlamaForCausalLM:
    torch.manual_seed(0)
    shape = {
        "vocab_size": 320, "hidden_size": 32, "intermediate_size": 48, "num_hidden_layers": 6, "num_attention_heads": 4,
        "num_key_value_heads": 2, "max_position_embeddings": 256, "pad_token_id": 0, "eos_token_id": 2,
        "initializer_range": 0.2,
    }  # fmt: skip
    return LlamaForCausalLM(LlamaConfig(**{**shape, **changes})).eval()


@pytest.fixture
def source(tmp_path: Path, tokenizer: Any) -> Path:
    llama().save_pretrained(tmp_path / "llama")
    tokenizer.save_pretrained(tmp_path / "llama")
    return tmp_path / "llama"


@pytest.mark.parametrize("pattern", ["cycle", "sequence"])
@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"tie_word_embeddings": True, "head_dim": 16},
        {"rope_parameters": {"rope_type": "linear", "factor": 2.0, "rope_theta": 5e3}},
    ],
)
def test_at_full_rank_the_logits_are_those_of_the_source(shape: dict[str, Any], pattern: str) -> None:
    source = llama(**shape)
    made, errors = convert(source, Sharing(1, 2, 2, 1), rank=64, pattern=pattern)
    torch.testing.assert_close(made(IDS).logits, source(IDS).logits, atol=1e-4, rtol=1e-4)
    assert max(error.kept for error in errors) < 1e-5


def test_the_report_tells_how_far_each_matrix_is() -> None:
    source = llama()
    errors = {rank: convert(source, Sharing(1, 2, 2, 1), rank)[1] for rank in (0, 2, 16)}
    for untied, none, few, many in zip(errors[0], errors[0], errors[2], errors[16], strict=True):
        core = 1 <= untied.layer <= 4
        assert (untied.tied > 0.3) == core
        assert none.kept == none.tied
        if core:
            assert none.kept > few.kept > many.kept
    assert [(e.layer, e.matrix) for e in errors[2]][:2] == [(0, "q_proj"), (0, "k_proj")]
    assert len(errors[2]) == 6 * 7


def test_calibration_keeps_what_the_inputs_need(tokenizer: Any) -> None:
    source = llama()
    moments = calibrate(source, tokenizer, ["The cat sat on the mat. " * 4, "今天天气很好。"])
    plain, weighed = (convert(source, Sharing(1, 2, 2, 1), 4, "cycle", given)[1] for given in (None, moments))
    assert plain[9].on_inputs is None
    core = [error for error in weighed if 1 <= error.layer <= 4]
    blind = {
        (e.layer, e.matrix): low_rank_on_inputs(source, moments, e.layer, e.matrix)
        for e in core
        if e.matrix == "up_proj"
    }
    assert all(e.on_inputs < blind[e.layer, e.matrix] for e in core if e.matrix == "up_proj")


def low_rank_on_inputs(source: Any, moments: Any, layer: int, name: str) -> float:
    """The error on the inputs of a delta that was made without looking at them."""
    pairs = {1: 3, 2: 4, 3: 1, 4: 2}
    matrices = [source.model.layers[i].mlp.get_submodule(name).weight.detach() for i in (layer, pairs[layer])]
    missing = matrices[0] - torch.stack(matrices).mean(0)
    a, b = low_rank(missing, 4)
    left, moment = missing - b @ a, moments[layer, name]
    return float(((left @ moment * left).sum() / (matrices[0] @ moment * matrices[0]).sum()).sqrt())


def test_a_low_rank_is_the_best_of_its_rank() -> None:
    torch.manual_seed(0)
    matrix = torch.randn(12, 20)
    a, b = low_rank(matrix, 5)
    values = torch.linalg.svdvals(matrix)
    assert (a.shape, b.shape) == ((5, 20), (12, 5))
    assert (matrix - b @ a).norm() == pytest.approx(values[5:].norm().item(), rel=1e-4)


@pytest.mark.parametrize(
    ("text", "expected"),
    [("2x2", Sharing(1, 2, 2, 1)), ("1+2×2+1", Sharing(1, 2, 2, 1)), ("2 x 2 + 2", Sharing(0, 2, 2, 2))],
)
def test_a_sharing_is_read(text: str, expected: Sharing) -> None:
    assert Sharing.parsed(text, 6) == expected


@pytest.mark.parametrize("text", ["", "4", "2x4", "1+2x2+2", "0x3", "2x2+3"])
def test_a_sharing_that_does_not_fit_is_refused(text: str) -> None:
    with pytest.raises(ConversionError, match="--share"):
        Sharing.parsed(text, 6)


@pytest.mark.parametrize(
    ("changes", "sentence"),
    [({"attention_bias": True}, "biases"), ({"model_type": "gpt2"}, "gpt2"), ({"sliding_window": 8}, "sliding window")],
)
def test_what_a_shared_block_cannot_hold_is_refused(changes: dict[str, Any], sentence: str) -> None:
    source = llama()
    for name, value in changes.items():
        setattr(source.config, name, value)
    with pytest.raises(ConversionError, match=sentence):
        convert(source, Sharing(1, 2, 2, 1), 4)


def test_a_model_is_loaded_once_it_was_healed(source: Path, tmp_path: Path, data: Path) -> None:
    out = tmp_path / "slim"
    made = slim(str(source), out, share="2x2", rank=2)
    assert made.parameters_after < made.parameters_before
    with pytest.raises(ValueError, match="converted and not healed"):
        AutoModelForCausalLM.from_pretrained(out)
    heal(str(source), out, data, tokens=8 * 4096)
    assert AutoModelForCausalLM.from_pretrained(out).config.healed
    report = json.loads((out / "report.json").read_text())
    assert len(report["errors"]) == 6 * 7
    assert report["healing"]["nats_a_token_after"] < 0.9 * report["healing"]["nats_a_token_before"]
    slim(str(source), out, share="2x2", rank=4)
    with pytest.raises(ResumeError, match=r"slim\.healing holds another run: weights of start was"):
        heal(str(source), out, data, tokens=8 * 4096)


def test_a_training_that_brought_nothing_is_no_healing(source: Path, tmp_path: Path, data: Path) -> None:
    out = tmp_path / "slim"
    slim(str(source), out, share="2x2", rank=2)
    with pytest.raises(ConversionError, match=r"is not healed: it is [\d.]+ nats a token from .*more --tokens"):
        heal(str(source), out, data, tokens=1)
    with pytest.raises(ValueError, match="converted and not healed"):
        AutoModelForCausalLM.from_pretrained(out)
    assert not out.with_name("slim.healing").exists()


def test_several_processes_do_not_write_one_folder(
    source: Path, tmp_path: Path, data: Path, monkeypatch: pytest.MonkeyPatch
) -> None:
    monkeypatch.setenv("TORCHELASTIC_RUN_ID", "as torchrun sets it")
    out = tmp_path / "slim"
    with pytest.raises(ConversionError, match="without torchrun"):
        slim(str(source), out, share="1+2x3+1", rank=4)
    with pytest.raises(ConversionError, match="without torchrun"):
        heal(str(source), out, data, tokens=1)
    assert not out.exists()


def test_calibration_begins_a_text_as_the_model_was_trained_to(tokenizer: Any) -> None:
    source, seen = llama(), []
    source.model.register_forward_pre_hook(
        lambda *given: seen.append(given[2]["input_ids"][0].tolist()), with_kwargs=True
    )
    calibrate(source, tokenizer, ["The cat"])
    assert seen == [[tokenizer.pad_token_id, *plain_ids(tokenizer, "The cat")]]


def test_what_is_the_teacher_costs_nothing_to_be_near(tokenizer: Any) -> None:
    teacher = llama()
    same, _ = convert(teacher, Sharing(1, 2, 2, 1), rank=48)
    other, _ = convert(teacher, Sharing(1, 2, 2, 1), rank=2)
    batch = Packer(9, split=True).batch(iter([Document(IDS[0].tolist(), [True] * 9)]), 1)
    near, far = (Distillation(teacher, text=0.0)(model, batch).item() for model in (same, other))
    assert near == pytest.approx(0, abs=1e-3)
    assert far > 1


def test_nearness_is_of_what_is_expected_and_of_what_every_layer_makes(tokenizer: Any) -> None:
    teacher = llama()
    model, _ = convert(teacher, Sharing(1, 2, 2, 1), rank=2)
    batch = Packer(9, split=True).batch(iter([Document(IDS[0].tolist(), [True] * 9)]), 1)
    found, wanted = (each(IDS, output_hidden_states=True) for each in (model, teacher))
    ours, theirs = (each.logits[0, :-1].log_softmax(-1) for each in (found, wanted))
    divergence = (theirs.exp() * (theirs - ours)).sum()
    apart = torch.stack(
        [
            (a[0, :-1] - b[0, :-1]).square().sum() / b[0, :-1].square().sum(-1).mean()
            for a, b in zip(found.hidden_states[1:], wanted.hidden_states[1:], strict=True)
        ]
    ).mean()
    for text, hidden, expected in ((0.0, 0.0, divergence), (0.0, 2.0, divergence + 2 * apart)):
        value = Distillation(teacher, text=text, hidden=hidden)(model, batch)
        torch.testing.assert_close(value, expected, rtol=1e-4, atol=1e-4)
    assert divergence > 1
    assert apart > 0.1
