# mypy: disable-error-code="no-untyped-call, no-any-return"
"""SlimPajama: a decoder made cheap by sharing blocks between depths and by low-rank factorisation.

The big matrices stand once, in `model.blocks`. `model.layers[depth]` holds what is its own (norms, low-rank deltas,
depth embedding, `layer_idx`) and borrows a block in `forward`, so no state key is stored twice and every cache sees
one layer a depth. Attention(Q, K, V) = softmax(QKᵀ/√d_k)V; FFN(X) = max(0, XW₁ + b₁)W₂ + b₂.

Stands alone but for its configuration, so that it can be packaged beside a checkpoint (`trust_remote_code`).
"""

from __future__ import annotations

from collections.abc import Callable
from typing import Any

import torch
from torch import nn
from transformers import initialization as init
from transformers.activations import ACT2FN
from transformers.cache_utils import Cache, DynamicCache
from transformers.generation import GenerationMixin
from transformers.masking_utils import create_causal_mask
from transformers.modeling_layers import GradientCheckpointingLayer
from transformers.modeling_outputs import BaseModelOutputWithPast, CausalLMOutputWithPast
from transformers.modeling_rope_utils import ROPE_INIT_FUNCTIONS, dynamic_rope_update
from transformers.modeling_utils import ALL_ATTENTION_FUNCTIONS, PreTrainedModel, slice_logits_to_keep
from transformers.utils import can_return_tuple
from transformers.utils.generic import merge_with_config_defaults
from transformers.utils.output_capturing import capture_outputs

from .configuration_slimpajama import SlimPajamaConfig


class SlimPajamaRotaryEmbedding(nn.Module):
    """RoPE angles: position_ids (B, T) → cos, sin (B, T, head_dim)."""

    def __init__(self, config: SlimPajamaConfig) -> None:
        super().__init__()
        self.config = config
        self.max_seq_len_cached = self.original_max_seq_len = config.max_position_embeddings
        assert config.rope_parameters is not None  # transformers fills it in
        self.rope_type: str = config.rope_parameters["rope_type"]
        rope_init: Callable[..., tuple[torch.Tensor, float]] = self.compute_default_rope_parameters
        if self.rope_type != "default":
            rope_init = ROPE_INIT_FUNCTIONS[self.rope_type]
        inv_freq, self.attention_scaling = rope_init(config)
        self.inv_freq = nn.Buffer(inv_freq, persistent=False)
        self.original_inv_freq = nn.Buffer(inv_freq.clone(), persistent=False)

    @staticmethod
    def compute_default_rope_parameters(config: SlimPajamaConfig, **kwargs: Any) -> tuple[torch.Tensor, float]:
        """Inverse frequencies of plain RoPE (head_dim / 2,) and the scaling of cos and sin, which is 1."""
        assert config.rope_parameters is not None
        exponents = torch.arange(0, config.head_dim, 2, dtype=torch.float) / config.head_dim
        return 1.0 / (config.rope_parameters["rope_theta"] ** exponents), 1.0

    @torch.no_grad()
    @dynamic_rope_update
    def forward(self, x: torch.Tensor, position_ids: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
        """Angles in the precision of `x`."""
        frequencies = position_ids[..., None].float() * self.inv_freq.to(device=x.device, dtype=torch.float)
        angles = torch.cat((frequencies, frequencies), dim=-1)
        cos, sin = angles.cos() * self.attention_scaling, angles.sin() * self.attention_scaling
        return cos.to(x.dtype), sin.to(x.dtype)


def _rotate(x: torch.Tensor, cos: torch.Tensor, sin: torch.Tensor) -> torch.Tensor:
    first, second = x.chunk(2, dim=-1)
    return x * cos + torch.cat((-second, first), dim=-1) * sin


def eager_attention_forward(
    module: SlimPajamaAttention,
    query: torch.Tensor,
    key: torch.Tensor,
    value: torch.Tensor,
    attention_mask: torch.Tensor | None,
    scaling: float,
    dropout: float = 0.0,
    **kwargs: Any,
) -> tuple[torch.Tensor, torch.Tensor]:
    """The formula itself. query (B, H, T, D); key, value (B, H_kv, S, D) → (B, T, H, D), weights (B, H, T, S)."""
    key = key.repeat_interleave(module.num_key_value_groups, dim=1)
    value = value.repeat_interleave(module.num_key_value_groups, dim=1)
    scores = torch.matmul(query, key.transpose(2, 3)) * scaling
    if attention_mask is not None:
        scores = scores + attention_mask
    weights = nn.functional.softmax(scores, dim=-1, dtype=torch.float32).to(query.dtype)
    weights = nn.functional.dropout(weights, p=dropout, training=module.training)
    return torch.matmul(weights, value).transpose(1, 2).contiguous(), weights


def _norm(config: SlimPajamaConfig, size: int) -> nn.Module:
    kind = _RMSNorm if config.norm_type == "rms" else nn.LayerNorm
    return kind(size, eps=config.rms_norm_eps)


class _RMSNorm(nn.RMSNorm):
    """`nn.RMSNorm` whose weight follows the input's precision: in mixed training torch has a slow path otherwise."""

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """x: (…, size)."""
        return nn.functional.rms_norm(x, self.normalized_shape, self.weight.to(x.dtype), self.eps)


def _linear(in_features: int, out_features: int, std: float, *, bias: bool = False) -> nn.Linear:
    """A matrix that begins with its own spread.

    It is told to the matrix itself: of code that is not its own, transformers initialises only what holds parameters.
    """
    linear = nn.Linear(in_features, out_features, bias=bias)
    linear.init_std = std  # type: ignore[assignment]
    return linear


class SlimPajamaBlock(nn.Module):
    """The big matrices of one block. Has no forward of its own: layers borrow it.

    What goes onto the residual stream begins with 1/√(2·depth) of the spread of the rest.
    """

    def __init__(self, config: SlimPajamaConfig) -> None:
        super().__init__()
        d, ff, bias = config.hidden_size, config.intermediate_size, config.attention_bias
        heads, kv_heads = config.num_attention_heads * config.head_dim, config.num_key_value_heads * config.head_dim
        std = config.initializer_range * (2 * config.num_hidden_layers) ** -0.5
        self.q_proj = nn.Linear(d, heads, bias=bias)
        self.k_proj = nn.Linear(d, kv_heads, bias=bias)
        self.v_proj = nn.Linear(d, kv_heads, bias=bias)
        self.o_proj = _linear(heads, d, std, bias=bias)
        self.up_proj = nn.Linear(d, ff, bias=config.mlp_bias)
        if config.mlp_gated:
            self.gate_proj = nn.Linear(d, ff, bias=config.mlp_bias)
        self.down_proj = _linear(ff, d, std, bias=config.mlp_bias)


class SlimPajamaDelta(nn.Module):
    """What one depth adds to a shared matrix: x ↦ (x A ᵀ) B ᵀ, with B = 0 at first."""

    def __init__(self, in_features: int, out_features: int, rank: int) -> None:
        super().__init__()
        self.a_proj = nn.Linear(in_features, rank, bias=False)
        self.b_proj = _linear(rank, out_features, 0.0)

    def forward(self, x: torch.Tensor) -> torch.Tensor:
        """(…, in_features) → (…, out_features)."""
        return self.b_proj(self.a_proj(x))


def _project(name: str, x: torch.Tensor, block: nn.Module, deltas: nn.ModuleDict) -> torch.Tensor:
    y = getattr(block, name)(x)
    return y + deltas[name](x) if name in deltas else y


class SlimPajamaAttention(nn.Module):
    """Grouped-query attention of one depth. Attention functions and paged caches read its `layer_idx`."""

    def __init__(self, config: SlimPajamaConfig, layer_idx: int) -> None:
        super().__init__()
        self.config, self.layer_idx, self.head_dim = config, layer_idx, config.head_dim
        self.num_key_value_groups = config.num_attention_heads // config.num_key_value_heads
        self.scaling = config.head_dim**-0.5
        self.attention_dropout = config.attention_dropout
        self.is_causal = True
        self.q_norm = _norm(config, config.head_dim) if config.qk_norm else nn.Identity()
        self.k_norm = _norm(config, config.head_dim) if config.qk_norm else nn.Identity()

    def forward(
        self,
        hidden_states: torch.Tensor,
        block: SlimPajamaBlock,
        deltas: nn.ModuleDict,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None,
        past_key_values: Cache | None,
        **kwargs: Any,
    ) -> tuple[torch.Tensor, torch.Tensor | None]:
        """(B, T, d) → (B, T, d) and the weights, where the attention function gives them."""
        shape = (*hidden_states.shape[:-1], -1, self.head_dim)
        query = self.q_norm(_project("q_proj", hidden_states, block, deltas).view(shape)).transpose(1, 2)
        key = self.k_norm(_project("k_proj", hidden_states, block, deltas).view(shape)).transpose(1, 2)
        value = _project("v_proj", hidden_states, block, deltas).view(shape).transpose(1, 2)
        cos, sin = (angles.unsqueeze(1) for angles in position_embeddings)  # (B, 1, T, head_dim)
        query, key = _rotate(query, cos, sin), _rotate(key, cos, sin)
        if past_key_values is not None:
            key, value = past_key_values.update(key, value, self.layer_idx)
        attend = ALL_ATTENTION_FUNCTIONS.get_interface(self.config._attn_implementation, eager_attention_forward)
        dropout = self.attention_dropout if self.training else 0.0
        output, weights = attend(
            self, query, key, value, attention_mask, dropout=dropout, scaling=self.scaling, **kwargs
        )
        output = output.reshape(*hidden_states.shape[:-1], -1).contiguous()
        return _project("o_proj", output, block, deltas), weights


class SlimPajamaLayer(GradientCheckpointingLayer):
    """What one depth has of its own. Core layers borrow a shared block and add their deltas to it."""

    def __init__(self, config: SlimPajamaConfig, layer_idx: int) -> None:
        super().__init__()
        core = config.is_core(layer_idx)
        self.act_fn = ACT2FN[config.hidden_act]
        self.mlp_gated = config.mlp_gated
        self.self_attn = SlimPajamaAttention(config, layer_idx)
        self.input_layernorm = _norm(config, config.hidden_size)
        self.post_attention_layernorm = _norm(config, config.hidden_size)
        self.depth_embedding = (
            nn.Parameter(torch.zeros(config.hidden_size)) if core and config.depth_embedding else None
        )
        self.deltas = nn.ModuleDict(_deltas(config) if core and config.delta_rank else {})

    def forward(
        self,
        hidden_states: torch.Tensor,
        block: SlimPajamaBlock,
        position_embeddings: tuple[torch.Tensor, torch.Tensor],
        attention_mask: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        **kwargs: Any,
    ) -> torch.Tensor:
        """(B, T, d) → (B, T, d)."""
        if self.depth_embedding is not None:
            hidden_states = hidden_states + self.depth_embedding
        attended, _ = self.self_attn(
            self.input_layernorm(hidden_states),
            block,
            self.deltas,
            position_embeddings,
            attention_mask,
            past_key_values,
            **kwargs,
        )
        hidden_states = hidden_states + attended
        return hidden_states + self._feed_forward(self.post_attention_layernorm(hidden_states), block)

    def _feed_forward(self, x: torch.Tensor, block: SlimPajamaBlock) -> torch.Tensor:
        rows = _project("up_proj", x, block, self.deltas)  # (B, T, ff)
        gate = _project("gate_proj", x, block, self.deltas) if self.mlp_gated else None
        rows = self.act_fn(rows) if gate is None else self.act_fn(gate) * rows
        return _project("down_proj", rows, block, self.deltas)


def _deltas(config: SlimPajamaConfig) -> dict[str, SlimPajamaDelta]:
    d, ff, heads = config.hidden_size, config.intermediate_size, config.num_attention_heads * config.head_dim
    kv_heads = config.num_key_value_heads * config.head_dim
    sizes = {"q_proj": (d, heads), "k_proj": (d, kv_heads), "v_proj": (d, kv_heads), "o_proj": (heads, d)}
    sizes |= {"gate_proj": (d, ff)} if config.mlp_gated else {}
    sizes |= {"up_proj": (d, ff), "down_proj": (ff, d)}
    return {name: SlimPajamaDelta(*sizes[name], config.delta_rank) for name in config.delta_targets if name in sizes}


class SlimPajamaPreTrainedModel(PreTrainedModel):
    """What both models share with `transformers`."""

    config: SlimPajamaConfig
    config_class = SlimPajamaConfig
    base_model_prefix = "model"
    supports_gradient_checkpointing = True
    _no_split_modules = ["SlimPajamaLayer", "SlimPajamaBlock"]
    _skip_keys_device_placement = ["past_key_values"]
    _supports_flash_attn = True
    _supports_sdpa = True
    _supports_flex_attn = True
    _can_compile_fullgraph = True
    _supports_attention_backend = True
    _can_record_outputs = {"hidden_states": SlimPajamaLayer, "attentions": SlimPajamaAttention}

    @classmethod
    def from_pretrained(cls, *args: Any, allow_unhealed: bool = False, **kwargs: Any) -> Any:
        """As in `transformers`, but a model that was converted and not healed is refused: it writes garbage.

        Raises ValueError unless it is asked for with `allow_unhealed`.
        """
        loaded = super().from_pretrained(*args, **kwargs)
        model = loaded[0] if isinstance(loaded, tuple) else loaded
        if model.config.healed is False and not allow_unhealed:
            raise ValueError(
                "This model was converted and not healed, so it writes garbage: train it further with "
                "`pajama model slim … --heal`, or load it all the same with allow_unhealed=True."
            )
        return loaded

    def _init_weights(self, module: nn.Module) -> None:
        super()._init_weights(module)
        std = getattr(module, "init_std", None)
        if std is not None:
            init.normal_(module.weight, mean=0.0, std=std)  # type: ignore[arg-type]
        elif isinstance(module, SlimPajamaLayer) and module.depth_embedding is not None:
            init.zeros_(module.depth_embedding)


class SlimPajamaModel(SlimPajamaPreTrainedModel):
    """The decoder without its head: input_ids (B, T) → hidden states (B, T, d)."""

    def __init__(self, config: SlimPajamaConfig) -> None:
        super().__init__(config)
        self.embed_tokens = nn.Embedding(config.vocab_size, config.embedding_rank)
        self.embed_proj = _linear(config.embedding_rank, config.hidden_size, config.embedding_rank**-0.5)
        self.blocks = nn.ModuleList(SlimPajamaBlock(config) for _ in range(config.num_blocks))
        self.layers = nn.ModuleList(SlimPajamaLayer(config, i) for i in range(config.num_hidden_layers))
        self.norm = _norm(config, config.hidden_size)
        self.rotary_emb = SlimPajamaRotaryEmbedding(config)
        self.gradient_checkpointing = False
        self.active_repeats = config.num_repeats
        self.post_init()

    def active_layers(self) -> list[int]:
        """Depths that are run. Training may begin with fewer repeats of the shared blocks (`active_repeats`)."""
        config, dropped = self.config, self.config.num_repeats - self.active_repeats
        repeat = {"sequence": lambda core: core % config.num_repeats}.get(
            config.sharing_pattern, lambda core: core // config.num_shared_blocks
        )
        return [
            i
            for i in range(config.num_hidden_layers)
            if not dropped or not config.is_core(i) or repeat(i - config.num_prelude_layers) < self.active_repeats
        ]

    @merge_with_config_defaults
    @capture_outputs
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        use_cache: bool | None = None,
        **kwargs: Any,
    ) -> BaseModelOutputWithPast:
        """`inputs_embeds` (B, T, embedding_rank) may stand in for `input_ids`."""
        if (input_ids is None) == (inputs_embeds is None):
            raise ValueError("Give exactly one of input_ids and inputs_embeds.")
        if inputs_embeds is None:
            inputs_embeds = self.embed_tokens(input_ids)
        hidden_states = self.embed_proj(inputs_embeds)
        if use_cache and past_key_values is None:
            past_key_values = DynamicCache(config=self.config)
        if position_ids is None:
            seen = past_key_values.get_seq_length() if past_key_values is not None else 0
            position_ids = (torch.arange(hidden_states.shape[1], device=hidden_states.device) + seen).unsqueeze(0)
        mask = create_causal_mask(
            config=self.config,
            inputs_embeds=hidden_states,
            attention_mask=attention_mask,
            past_key_values=past_key_values,
            position_ids=position_ids,
        )
        angles = self.rotary_emb(hidden_states, position_ids)
        for index in self.active_layers():
            hidden_states = self.layers[index](
                hidden_states,
                self.blocks[self.config.block_index(index)],
                angles,
                attention_mask=mask,
                past_key_values=past_key_values,
                position_ids=position_ids,
                **kwargs,
            )
        return BaseModelOutputWithPast(last_hidden_state=self.norm(hidden_states), past_key_values=past_key_values)


class SlimPajamaForCausalLM(SlimPajamaPreTrainedModel, GenerationMixin):
    """SlimPajama with its head: hidden states go down to the embedding's rank, whose table is the output's too."""

    _tied_weights_keys = {"lm_head.weight": "model.embed_tokens.weight"}

    def __init__(self, config: SlimPajamaConfig) -> None:
        super().__init__(config)
        self.model = SlimPajamaModel(config)
        self.head_proj = _linear(config.hidden_size, config.embedding_rank, config.hidden_size**-0.5)
        self.lm_head = nn.Linear(config.embedding_rank, config.vocab_size, bias=False)
        self.post_init()

    @can_return_tuple
    def forward(
        self,
        input_ids: torch.Tensor | None = None,
        attention_mask: torch.Tensor | None = None,
        position_ids: torch.Tensor | None = None,
        past_key_values: Cache | None = None,
        inputs_embeds: torch.Tensor | None = None,
        labels: torch.Tensor | None = None,
        use_cache: bool | None = None,
        logits_to_keep: int | torch.Tensor = 0,
        **kwargs: Any,
    ) -> CausalLMOutputWithPast:
        """Logits (B, T or `logits_to_keep`, V), and the loss where `labels` (B, T) are given (-100 is ignored)."""
        outputs = self.model(
            input_ids=input_ids,
            attention_mask=attention_mask,
            position_ids=position_ids,
            past_key_values=past_key_values,
            inputs_embeds=inputs_embeds,
            use_cache=use_cache,
            **kwargs,
        )
        kept = slice_logits_to_keep(outputs.last_hidden_state, logits_to_keep)
        logits = self.lm_head(self.head_proj(kept))
        loss = None
        if labels is not None:
            loss = self.loss_function(logits=logits, labels=labels, vocab_size=self.config.vocab_size, **kwargs)
        return CausalLMOutputWithPast(
            loss=loss,
            logits=logits,
            past_key_values=outputs.past_key_values,
            hidden_states=outputs.hidden_states,
            attentions=outputs.attentions,
        )


__all__ = ["SlimPajamaForCausalLM", "SlimPajamaModel", "SlimPajamaPreTrainedModel"]
