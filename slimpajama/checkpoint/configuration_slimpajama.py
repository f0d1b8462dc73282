"""SlimPajamaConfig: the shape of a SlimPajama model, in the terms of `transformers`.

Stands alone, so that it can be packaged beside a checkpoint and loaded with `trust_remote_code`.
"""

from __future__ import annotations

from typing import Any

from huggingface_hub.dataclasses import strict
from transformers.configuration_utils import PreTrainedConfig

PROJECTIONS = ("q_proj", "k_proj", "v_proj", "o_proj", "gate_proj", "up_proj", "down_proj")


@strict
class SlimPajamaConfig(PreTrainedConfig):
    """A decoder of unique prelude → shared blocks × repeats → unique coda.

    `sharing_pattern` says which of the U shared blocks the core layer i uses: `cycle` i mod U, `sequence` i div R,
    `all` the only one (U = 1). `delta_rank` gives each core layer its own low-rank addition to the matrices named in
    `delta_targets`; 0 is none. Embeddings are factorised at `embedding_rank`, both ends tied there. `head_dim` and
    `num_hidden_layers` (the depth) follow from the rest. `healed` is None but for a converted model, which is of no
    use before it is trained further: False says that it was not.
    """

    model_type = "slimpajama"
    keys_to_ignore_at_inference = ["past_key_values"]

    vocab_size: int = 8192
    embedding_rank: int = 192
    hidden_size: int = 384
    intermediate_size: int = 1536
    num_prelude_layers: int = 1
    num_shared_blocks: int = 3
    num_repeats: int = 3
    num_coda_layers: int = 1
    sharing_pattern: str = "cycle"
    delta_rank: int = 16
    delta_targets: list[str] | tuple[str, ...] = ("up_proj", "down_proj")
    depth_embedding: bool = True
    num_attention_heads: int = 6
    num_key_value_heads: int = 2
    head_dim: int = 0
    qk_norm: bool = False
    rope_parameters: dict[str, Any] | None = None
    hidden_act: str = "relu"
    mlp_gated: bool = False
    mlp_bias: bool = True
    attention_bias: bool = False
    attention_dropout: int | float | None = 0.0
    norm_type: str = "rms"
    rms_norm_eps: float = 1e-5
    initializer_range: float = 0.02
    max_position_embeddings: int = 1024
    use_cache: bool = True
    tie_word_embeddings: bool = True
    pad_token_id: int | None = 0
    bos_token_id: int | None = None
    eos_token_id: int | list[int] | None = 2
    num_hidden_layers: int = 0
    healed: bool | None = None

    def __post_init__(self, **kwargs: Any) -> None:
        """Derive what follows from the rest. Caches are allocated by `num_hidden_layers`, which must be the depth."""
        self.num_hidden_layers = self.num_prelude_layers + self.num_core_layers + self.num_coda_layers
        if not self.head_dim:
            self.head_dim = self.hidden_size // self.num_attention_heads
        self.delta_targets = tuple(self.delta_targets)
        super().__post_init__(**kwargs)  # type: ignore[no-untyped-call]

    @property
    def num_core_layers(self) -> int:
        """Depth of the shared part."""
        return self.num_shared_blocks * self.num_repeats

    @property
    def num_blocks(self) -> int:
        """How many blocks are stored."""
        return self.num_prelude_layers + self.num_shared_blocks + self.num_coda_layers

    def block_index(self, layer_idx: int) -> int:
        """The stored block that the layer at this depth borrows."""
        core = layer_idx - self.num_prelude_layers
        if core < 0:
            return layer_idx
        if core >= self.num_core_layers:
            return layer_idx - self.num_core_layers + self.num_shared_blocks
        shared = {"cycle": core % self.num_shared_blocks, "sequence": core // self.num_repeats, "all": 0}
        return self.num_prelude_layers + shared[self.sharing_pattern]

    def is_core(self, layer_idx: int) -> bool:
        """Whether the layer at this depth is one of the shared part."""
        return 0 <= layer_idx - self.num_prelude_layers < self.num_core_layers

    def validate_architecture(self) -> None:
        """Part of `@strict` validation: the parts fit each other."""
        if self.sharing_pattern not in ("cycle", "sequence", "all"):
            raise ValueError(f"sharing_pattern is {self.sharing_pattern!r}; it should be cycle, sequence or all.")
        if self.sharing_pattern == "all" and self.num_shared_blocks != 1:
            raise ValueError("sharing_pattern 'all' shares one block: num_shared_blocks should be 1.")
        if self.num_attention_heads % self.num_key_value_heads:
            raise ValueError("num_attention_heads should be a multiple of num_key_value_heads.")
        if self.norm_type not in ("rms", "layer"):
            raise ValueError(f"norm_type is {self.norm_type!r}; it should be rms or layer.")
        unknown = set(self.delta_targets) - set(PROJECTIONS)
        if unknown:
            raise ValueError(f"delta_targets has {sorted(unknown)}; there are {', '.join(PROJECTIONS)}.")


__all__ = ["SlimPajamaConfig"]
