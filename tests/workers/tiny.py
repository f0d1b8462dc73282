"""Tiny random models in float32, and a byte-level tokenizer without merges but with special tokens."""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from tokenizers import AddedToken, Tokenizer, decoders, models, pre_tokenizers
from transformers import (
    AutoModelForCausalLM,
    BambaConfig,
    BloomConfig,
    BloomForCausalLM,
    Gemma2Config,
    Gemma2ForCausalLM,
    GemmaConfig,
    GemmaForCausalLM,
    GPTNeoXConfig,
    GPTNeoXForCausalLM,
    GptOssConfig,
    JambaConfig,
    Llama4TextConfig,
    LlamaConfig,
    LlamaForCausalLM,
    Mamba2Config,
    MambaConfig,
    MistralConfig,
    MistralForCausalLM,
    OpenAIGPTConfig,
    Phi3Config,
    PreTrainedModel,
    PreTrainedTokenizerFast,
    Qwen2Config,
    Qwen2ForCausalLM,
    Qwen3Config,
    Qwen3ForCausalLM,
    RwkvConfig,
)

from slimpajama.configuration_slimpajama import SlimPajamaConfig
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM

CONTEXT = 128
SPECIAL = ("<|endoftext|>", "<|im_start|>", "<|im_end|>")
CHATML = (
    "{% for message in messages %}<|im_start|>{{ message.role }}\n{{ message.content }}<|im_end|>\n{% endfor %}"
    "{% if add_generation_prompt %}<|im_start|>assistant\n{% endif %}"
)
VOCABULARY = len(SPECIAL) + 256
_GROUPED = {"num_key_value_heads": 2}
OTHERS: dict[str, tuple[Any, Any, dict[str, Any]]] = {
    "llama": (LlamaConfig, LlamaForCausalLM, _GROUPED),
    "qwen2": (Qwen2Config, Qwen2ForCausalLM, _GROUPED),
    "qwen3": (Qwen3Config, Qwen3ForCausalLM, _GROUPED | {"head_dim": 16}),
    "gemma": (GemmaConfig, GemmaForCausalLM, {"num_key_value_heads": 1, "head_dim": 16}),
    "gemma2": (Gemma2Config, Gemma2ForCausalLM, _GROUPED | {"head_dim": 16, "sliding_window": 8}),
    "mistral": (MistralConfig, MistralForCausalLM, _GROUPED | {"sliding_window": 8}),
    "gpt_neox": (GPTNeoXConfig, GPTNeoXForCausalLM, {}),
    "bloom": (BloomConfig, BloomForCausalLM, {}),
}
"""All but SlimPajama. Gemma 2 caps its scores; it and Mistral see a window only; Bloom has no attention interface."""


_SHAPE = {
    "vocab_size": VOCABULARY,
    "hidden_size": 32,
    "intermediate_size": 64,
    "num_hidden_layers": 2,
    "num_attention_heads": 4,
    "max_position_embeddings": CONTEXT,
    "initializer_range": 0.3,
    "bos_token_id": 0,
    "eos_token_id": 2,
    "pad_token_id": 0,
}
_SCALED = {
    "rope_type": "longrope",
    "rope_theta": 10000.0,
    "short_factor": [1.0] * 4,
    "long_factor": [4.0] * 4,
    "original_max_position_embeddings": 32,
    "factor": 4.0,
}
_MAMBA = {name: _SHAPE[name] for name in ("vocab_size", "hidden_size", "num_hidden_layers")}
_STATES = {"mamba_d_state": 8, "num_key_value_heads": 2}
ODD: dict[str, Callable[[], Any]] = {
    "mamba": lambda: MambaConfig(**_MAMBA, state_size=8),
    "mamba2": lambda: Mamba2Config(**_MAMBA, num_heads=8, head_dim=8, n_groups=2, state_size=8, chunk_size=4),
    "bamba": lambda: BambaConfig(
        **_SHAPE | _STATES, mamba_n_heads=4, mamba_d_head=16, mamba_chunk_size=4, attn_layer_indices=[1]
    ),
    "jamba": lambda: JambaConfig(**_SHAPE | _STATES, attn_layer_period=2, attn_layer_offset=1, num_experts=2),
    "rwkv": lambda: RwkvConfig(**_MAMBA, attention_hidden_size=32, context_length=CONTEXT),
    "openai-gpt": lambda: OpenAIGPTConfig(vocab_size=VOCABULARY, n_embd=32, n_layer=2, n_head=4, n_positions=CONTEXT),
    "longrope": lambda: Phi3Config(**_SHAPE, original_max_position_embeddings=32, rope_parameters=_SCALED),
    "dynamic": lambda: LlamaConfig(
        **_SHAPE | {"max_position_embeddings": 32},
        rope_parameters={"rope_type": "dynamic", "rope_theta": 10000.0, "factor": 4.0},
    ),
    "gpt_oss": lambda: GptOssConfig(
        **_SHAPE | _GROUPED, head_dim=16, num_local_experts=2, num_experts_per_tok=1, sliding_window=8
    ),
    "llama4": lambda: Llama4TextConfig(
        **_SHAPE | _GROUPED,
        head_dim=16,
        num_local_experts=2,
        intermediate_size_mlp=64,
        attention_chunk_size=16,
        no_rope_layers=[1, 0],
        layer_types=["chunked_attention", "full_attention"],
    ),
}
"""Models that run on no slots: recurrent states, nothing kept at all, positions that depend on the batch, attention sinks,
and chunks of attention. Their windows, chunks and scaled positions begin within 32 tokens."""


def make_tokenizer(chat_template: str | None = CHATML) -> PreTrainedTokenizerFast:
    """A byte is a token; the special tokens come first."""
    symbols = sorted(pre_tokenizers.ByteLevel.alphabet())
    vocabulary = {token: i for i, token in enumerate((*SPECIAL, *symbols))}
    backend = Tokenizer(models.BPE(vocab=vocabulary, merges=[]))
    backend.pre_tokenizer = pre_tokenizers.ByteLevel(add_prefix_space=False)
    backend.decoder = decoders.ByteLevel()
    backend.add_special_tokens([AddedToken(token, special=True) for token in SPECIAL])
    tokenizer = PreTrainedTokenizerFast(tokenizer_object=backend, eos_token="<|im_end|>", pad_token="<|endoftext|>")
    tokenizer.chat_template = chat_template
    return tokenizer


def make_model(kind: str = "llama") -> PreTrainedModel:
    """A random causal LM whose logits lie far apart, so that rounding never decides."""
    torch.manual_seed(7)
    shape = dict(_SHAPE)
    if kind in OTHERS:
        config_class, model_class, own = OTHERS[kind]
        made: PreTrainedModel = model_class(config_class(**shape | own)).eval()
        return made
    del shape["num_hidden_layers"]
    config = SlimPajamaConfig(
        **shape,
        embedding_rank=16,
        num_shared_blocks=2,
        num_repeats=2,
        delta_rank=4,
        num_key_value_heads=2,
    )
    model = SlimPajamaForCausalLM(config).eval()
    for parameter in model.parameters():  # some start at zero, and would hide a mistake
        torch.nn.init.normal_(parameter, std=0.3)
    return model


def make_odd_model(kind: str) -> PreTrainedModel:
    """A random model that runs on no slots."""
    torch.manual_seed(7)
    model: PreTrainedModel = AutoModelForCausalLM.from_config(ODD[kind]()).eval()
    for parameter in model.parameters():  # some start alike, and would say the same whatever came before
        if parameter.dim() > 1 and float(parameter.detach().std()) < 0.1:
            torch.nn.init.normal_(parameter, std=0.3)
    return model


def make_counting_model() -> PreTrainedModel:
    """A Llama that says the token after the last one, and so copies its prompt; at a high temperature not always."""
    torch.manual_seed(7)
    shape = {"hidden_size": 64, "intermediate_size": 64, "num_hidden_layers": 2, "num_attention_heads": 4}
    model = LlamaForCausalLM(LlamaConfig(vocab_size=VOCABULARY, max_position_embeddings=CONTEXT, **shape)).eval()
    torch.nn.init.normal_(model.model.embed_tokens.weight, std=0.3)
    model.lm_head.weight = torch.nn.Parameter(model.model.embed_tokens.weight.roll(1, 0))
    for layer in model.model.layers:
        for last in (layer.self_attn.o_proj, layer.mlp.down_proj):
            torch.nn.init.normal_(last.weight, std=0.001)
    return model
