"""Named sizes of SlimPajama, and a dense Llama to convert. Knows shapes only; how they are trained is in `train`."""

from __future__ import annotations

from typing import Any

from transformers import LlamaConfig

from slimpajama.configuration_slimpajama import SlimPajamaConfig

PRESETS = ("tiny", "micro", "nano", "small", "base", "llama")

_SHAPES: dict[str, dict[str, Any]] = {
    # For tests: a second to train, nothing to talk to.
    "tiny": {
        "vocab_size": 512, "embedding_rank": 32, "hidden_size": 64, "intermediate_size": 128, "num_shared_blocks": 2,
        "num_repeats": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "delta_rank": 4,
        "max_position_embeddings": 256,
    },
    # For two CPU cores: an hour or two to train.
    "micro": {
        "vocab_size": 8192, "embedding_rank": 128, "hidden_size": 256, "intermediate_size": 1024,
        "num_shared_blocks": 1, "num_repeats": 2, "num_attention_heads": 4, "num_key_value_heads": 2, "delta_rank": 16,
        "max_position_embeddings": 1024,
    },
    "nano": {
        "vocab_size": 8192, "embedding_rank": 192, "hidden_size": 384, "intermediate_size": 1536,
        "num_shared_blocks": 3, "num_repeats": 3, "num_attention_heads": 6, "num_key_value_heads": 2, "delta_rank": 16,
        "max_position_embeddings": 1024,
    },
    "small": {
        "vocab_size": 16384, "embedding_rank": 256, "hidden_size": 640, "intermediate_size": 2560,
        "num_shared_blocks": 4, "num_repeats": 3, "num_attention_heads": 10, "num_key_value_heads": 2,
        "delta_rank": 16, "max_position_embeddings": 2048,
    },
    "base": {
        "vocab_size": 32768, "embedding_rank": 512, "hidden_size": 960, "intermediate_size": 3840,
        "num_prelude_layers": 2, "num_shared_blocks": 8, "num_repeats": 3, "num_coda_layers": 2,
        "num_attention_heads": 15, "num_key_value_heads": 3, "delta_rank": 32, "max_position_embeddings": 4096,
    },
}  # fmt: skip
_LLAMA: dict[str, Any] = {
    "vocab_size": 4096, "hidden_size": 128, "intermediate_size": 384, "num_hidden_layers": 8, "num_attention_heads": 4,
    "num_key_value_heads": 2, "max_position_embeddings": 512, "tie_word_embeddings": True, "pad_token_id": 0,
    "bos_token_id": None, "eos_token_id": 2,
}  # fmt: skip
"""A teacher for `pajama model slim` that a CPU core trains in minutes."""


def preset(name: str, **shape: Any) -> SlimPajamaConfig | LlamaConfig:
    """The configuration of a named size, where `shape` does not say otherwise. Raises KeyError."""
    if name == "llama":
        return LlamaConfig(**_LLAMA | shape)
    return SlimPajamaConfig(**_SHAPES[name] | shape)
