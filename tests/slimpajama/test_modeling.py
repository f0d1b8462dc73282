"""The fast ways through the model give what the naive way gives."""

from __future__ import annotations

import copy
from collections.abc import Callable

import pytest
import torch
from transformers import ContinuousBatchingConfig

from slimpajama.configuration_slimpajama import SlimPajamaConfig
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.presets import preset

Make = Callable[..., SlimPajamaForCausalLM]
PROMPTS = [[5, 6, 7, 8, 9, 10, 11], [200, 31], [44, 45, 46, 47]]


def greedy(model: SlimPajamaForCausalLM, prompt: list[int], tokens: int = 8) -> list[int]:
    """The naive way: the whole sequence again for each token."""
    ids = list(prompt)
    for _ in range(tokens):
        ids.append(int(model(torch.tensor([ids]), use_cache=False).logits[0, -1].argmax()))
    return ids[len(prompt) :]


def generate(model: SlimPajamaForCausalLM, prompts: list[list[int]], **options: object) -> list[list[int]]:
    width = max(map(len, prompts))
    ids = torch.tensor([[0] * (width - len(prompt)) + prompt for prompt in prompts])
    mask = torch.tensor([[0] * (width - len(prompt)) + [1] * len(prompt) for prompt in prompts])
    settings = {"max_new_tokens": 8, "do_sample": False, "eos_token_id": None, "pad_token_id": 0} | options
    return model.generate(ids, attention_mask=mask, **settings)[:, width:].tolist()


@pytest.mark.parametrize(
    "shape",
    [
        {},
        {"sharing_pattern": "sequence", "num_repeats": 3},
        {"sharing_pattern": "all", "num_shared_blocks": 1, "num_repeats": 3},
        {"mlp_gated": True, "hidden_act": "silu", "qk_norm": True, "attention_bias": True, "norm_type": "layer"},
        {"delta_targets": ("q_proj", "k_proj", "v_proj", "o_proj", "up_proj", "down_proj"), "hidden_act": "relu2"},
        {"num_prelude_layers": 0, "num_coda_layers": 0, "depth_embedding": False, "delta_rank": 0},
    ],
)
def test_generation_with_a_cache_equals_generation_without(make_model: Make, shape: dict[str, object]) -> None:
    model = make_model(**shape)
    assert generate(model, [PROMPTS[0]]) == [greedy(model, PROMPTS[0])]


def test_a_batch_with_padding_on_the_left_equals_one_by_one(model: SlimPajamaForCausalLM) -> None:
    assert generate(model, PROMPTS) == [greedy(model, prompt) for prompt in PROMPTS]


def test_a_static_cache_equals_a_dynamic_one(model: SlimPajamaForCausalLM) -> None:
    model.generation_config.disable_compile = True
    assert generate(model, PROMPTS, cache_implementation="static") == generate(model, PROMPTS)


def test_paged_batches_equal_one_by_one(model: SlimPajamaForCausalLM) -> None:
    """A model that told only the cache its depth would read another depth's pages here."""
    settings = model.generation_config
    settings.max_new_tokens, settings.do_sample = 8, False
    settings.eos_token_id, settings.pad_token_id = -1, 0
    small = ContinuousBatchingConfig(num_blocks=8, page_size=16, max_batch_tokens=64)  # else most of the memory
    answers = model.generate_batch(
        [list(prompt) for prompt in PROMPTS], generation_config=settings, continuous_batching_config=small
    )
    by_prompt = {tuple(answer.prompt_ids): answer.generated_tokens for answer in answers.values()}
    assert by_prompt == {tuple(prompt): greedy(model, prompt) for prompt in PROMPTS}


def test_one_beam_among_several_is_as_good_as_the_greedy_one(model: SlimPajamaForCausalLM) -> None:
    def log_probability(answer: list[int]) -> float:
        ids = torch.tensor([PROMPTS[0] + answer])
        logits = model(ids).logits[0, len(PROMPTS[0]) - 1 : -1].log_softmax(-1)
        return logits.gather(1, torch.tensor(answer)[:, None]).sum().item()

    beams = generate(model, [PROMPTS[0]], num_beams=4, max_new_tokens=4)[0]
    assert log_probability(beams) >= log_probability(greedy(model, PROMPTS[0], 4)) - 1e-4


def test_eager_attention_equals_fused_attention(model: SlimPajamaForCausalLM) -> None:
    ids = torch.tensor([PROMPTS[0]])
    fused = model(ids).logits
    model.set_attn_implementation("eager")
    torch.testing.assert_close(model(ids).logits, fused, atol=1e-4, rtol=1e-4)


def test_packed_documents_do_not_see_each_other(model: SlimPajamaForCausalLM) -> None:
    first, second = PROMPTS[0], PROMPTS[2]
    positions = torch.tensor([[*range(len(first)), *range(len(second))]])
    packed = model(torch.tensor([first + second]), position_ids=positions, use_cache=False).logits[0]
    alone = [model(torch.tensor([part]), use_cache=False).logits[0] for part in (first, second)]
    torch.testing.assert_close(packed, torch.cat(alone), atol=1e-4, rtol=1e-4)


def test_gradient_checkpointing_gives_the_same_gradients(model: SlimPajamaForCausalLM) -> None:
    ids = torch.tensor([PROMPTS[0]])
    plain, checkpointed = model.train(), copy.deepcopy(model).train()
    checkpointed.activation_checkpointing_enable()
    for each in (plain, checkpointed):
        each(ids, labels=ids, use_cache=False).loss.backward()
    for (name, one), other in zip(plain.named_parameters(), checkpointed.parameters(), strict=True):
        torch.testing.assert_close(one.grad, other.grad, msg=lambda text, name=name: f"{name}: {text}")


def test_logits_are_given_for_the_positions_asked_for(model: SlimPajamaForCausalLM) -> None:
    ids = torch.tensor([PROMPTS[0], PROMPTS[0][::-1]])
    every = model(ids).logits
    chosen = torch.zeros(2, 7, dtype=torch.bool)
    chosen[0, 2] = chosen[1, 5] = True
    torch.testing.assert_close(model(ids, logits_to_keep=2).logits, every[:, -2:])
    torch.testing.assert_close(model(ids, logits_to_keep=chosen).logits, every[chosen])


def test_every_depth_is_recorded(model: SlimPajamaForCausalLM) -> None:
    model.set_attn_implementation("eager")
    outputs = model(torch.tensor([PROMPTS[0]]), output_hidden_states=True, output_attentions=True)
    assert len(outputs.hidden_states) == model.config.num_hidden_layers + 1
    assert len(outputs.attentions) == model.config.num_hidden_layers


def test_embeddings_may_be_given_instead_of_ids(model: SlimPajamaForCausalLM) -> None:
    ids = torch.tensor([PROMPTS[0]])
    torch.testing.assert_close(model(inputs_embeds=model.get_input_embeddings()(ids)).logits, model(ids).logits)
    with pytest.raises(ValueError, match="exactly one"):
        model(ids, inputs_embeds=model.get_input_embeddings()(ids))


def test_fewer_repeats_leave_out_the_later_ones(make_model: Make) -> None:
    assert make_model().model.active_layers() == [0, 1, 2, 3, 4, 5]
    for pattern, kept in (("cycle", [0, 1, 2, 5]), ("sequence", [0, 1, 3, 5])):
        model = make_model(sharing_pattern=pattern).model
        model.active_repeats = 1
        assert model.active_layers() == kept


def test_a_new_model_adds_nothing_by_its_deltas() -> None:
    torch.manual_seed(0)
    model = SlimPajamaForCausalLM(preset("tiny")).eval()
    ids = torch.tensor([PROMPTS[0]])
    before = model(ids).logits
    for layer in model.model.layers:
        layer.deltas.clear()
    torch.testing.assert_close(model(ids).logits, before)


@pytest.mark.parametrize(("name", "millions"), [("nano", 10.4), ("small", 31.9), ("base", 143.6)])
def test_the_presets_have_the_sizes_that_are_told(name: str, millions: float) -> None:
    with torch.device("meta"):
        model = SlimPajamaForCausalLM(preset(name))
    assert sum(p.numel() for p in model.parameters()) / 1e6 == pytest.approx(millions, rel=0.03)


def test_the_depth_is_derived_and_stays_when_read_again() -> None:
    config = preset("nano")
    again = SlimPajamaConfig.from_dict(config.to_dict())
    assert config.num_hidden_layers == again.num_hidden_layers == 11
    assert again.to_dict() == config.to_dict()
    assert [config.block_index(depth) for depth in range(11)] == [0, 1, 2, 3, 1, 2, 3, 1, 2, 3, 4]


@pytest.mark.parametrize(
    ("wrong", "sentence"),
    [
        ({"sharing_pattern": "zigzag"}, "cycle, sequence or all"),
        ({"sharing_pattern": "all"}, "num_shared_blocks should be 1"),
        ({"num_key_value_heads": 4}, "multiple of num_key_value_heads"),
        ({"norm_type": "batch"}, "rms or layer"),
        ({"delta_targets": ["wrong_proj"]}, "wrong_proj"),
    ],
)
def test_a_shape_that_does_not_fit_is_refused(wrong: dict[str, object], sentence: str) -> None:
    with pytest.raises(Exception, match=sentence):
        SlimPajamaConfig(**wrong)
