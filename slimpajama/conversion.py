"""Conversion: a Llama-type model → SlimPajama with a tied core and low-rank deltas (Relaxed Recursive Transformers).

The first and last layers stay as they are. The layers between are tied as U blocks × R repeats: a block is the mean of
the layers that share it, and what each of them differs by is kept as a product of small matrices: its truncated SVD,
weighed by the inputs that the layer has on calibration text, where that is given. At full rank nothing is lost; below,
the residuals of a trained model are about as large as its weights, and it writes garbage until it is healed.
"""

from __future__ import annotations

import re
from collections.abc import Iterator, Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import nn

from slimpajama.configuration_slimpajama import PROJECTIONS, SlimPajamaConfig
from slimpajama.data import plain_ids, start_id
from slimpajama.errors import ConversionError
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM

TYPES = ("llama", "mistral")
CALIBRATION_TOKENS = 512
"""Of a window."""
_SHARE = re.compile(r"(?:(\d+)\+)?(\d+)[x×](\d+)(?:\+(\d+))?")
_DAMPING = 1e-4
"""Of the mean square of the inputs: directions that calibration never saw count a little all the same."""

Moments = dict[tuple[int, str], torch.Tensor]
"""For each layer and matrix: the sum of x xᵀ over its inputs, (in, in)."""


@dataclass(frozen=True, slots=True)
class Sharing:
    """Unique first layers + blocks × repeats + unique last layers."""

    prelude: int
    blocks: int
    repeats: int
    coda: int

    @classmethod
    def parsed(cls, text: str, layers: int) -> Sharing:
        """From `1+4x5+1`, or `4x5`, with what is left of `layers` at both ends. Raises ConversionError."""
        found = _SHARE.fullmatch(text.replace(" ", ""))
        if found is None:
            raise ConversionError(f"--share is {text!r}; it should read like 4x5 or 1+4x5+1.")
        first, blocks, repeats, last = (None if part is None else int(part) for part in found.groups())
        assert blocks is not None and repeats is not None  # the pattern has them
        left = layers - blocks * repeats
        prelude = first if first is not None else left - last if last is not None else left // 2
        coda = last if last is not None else left - prelude
        if min(prelude, coda) < 0 or not blocks * repeats or prelude + blocks * repeats + coda != layers:
            raise ConversionError(
                f"--share {text} makes {prelude}+{blocks * repeats}+{coda} layers; there are {layers}."
            )
        return cls(prelude, blocks, repeats, coda)


@dataclass(frozen=True, slots=True)
class Error:
    """How far a matrix is from the source's, as a share of its norm: tied only, and with its delta.

    `on_inputs` is the same for what the matrix makes of the calibration text; None without one.
    """

    layer: int
    matrix: str
    tied: float
    kept: float
    on_inputs: float | None = None


def convert(
    source: Any, sharing: Sharing, rank: int, pattern: str = "cycle", moments: Moments | None = None
) -> tuple[SlimPajamaForCausalLM, list[Error]]:
    """`source`, a Llama-type model, as a SlimPajama in float32, and the error of every matrix. Raises ConversionError."""
    config = _config(source.config, sharing, rank, pattern)
    model = SlimPajamaForCausalLM(config)
    model.eval()  # type: ignore[no-untyped-call]  # of transformers
    with torch.no_grad():
        _copy_ends(source, model)
        errors = [error for depths in _sharers(config) for error in _copy_block(source, model, depths, moments or {})]
    return model, sorted(errors, key=lambda error: (error.layer, PROJECTIONS.index(error.matrix)))


def calibrate(source: Any, tokenizer: Any, texts: Sequence[str]) -> Moments:
    """What the inputs of every matrix of every layer look like on `texts`."""
    moments: Moments = {}
    hooks = []
    for depth, layer in enumerate(source.model.layers):
        for name in PROJECTIONS:
            hooks.append(_matrix(layer, name).register_forward_pre_hook(_adder(moments, (depth, name))))
    try:
        with torch.inference_mode():
            for text in texts:
                ids = [start_id(tokenizer), *plain_ids(tokenizer, text)][:CALIBRATION_TOKENS]
                source.model(input_ids=torch.tensor([ids], device=source.device), use_cache=False)
    finally:
        for hook in hooks:
            hook.remove()
    return {key: moment.clone() for key, moment in moments.items()}


def _adder(moments: Moments, key: tuple[int, str]) -> Any:
    def add(_module: nn.Module, inputs: tuple[torch.Tensor, ...]) -> None:
        rows = inputs[0].flatten(0, -2).float()  # (tokens, in)
        moment = rows.T @ rows
        moments[key] = moments[key] + moment if key in moments else moment

    return add


def _config(source: Any, sharing: Sharing, rank: int, pattern: str) -> SlimPajamaConfig:
    """Raises ConversionError for what a shared block cannot hold."""
    if source.model_type not in TYPES:
        raise ConversionError(f"The source is a {source.model_type!r}; {' and '.join(TYPES)} can be converted.")
    if getattr(source, "sliding_window", None):
        raise ConversionError("The source attends to a sliding window, which SlimPajama has not.")
    if getattr(source, "attention_bias", False) or getattr(source, "mlp_bias", False):
        raise ConversionError("The source's matrices have biases, which a shared block would have only once.")
    head_dim = getattr(source, "head_dim", None) or source.hidden_size // source.num_attention_heads
    return SlimPajamaConfig(
        vocab_size=source.vocab_size, embedding_rank=source.hidden_size, hidden_size=source.hidden_size,
        intermediate_size=source.intermediate_size, num_prelude_layers=sharing.prelude,
        num_shared_blocks=sharing.blocks, num_repeats=sharing.repeats, num_coda_layers=sharing.coda,
        sharing_pattern=pattern, delta_rank=rank, delta_targets=PROJECTIONS, depth_embedding=True,
        num_attention_heads=source.num_attention_heads, num_key_value_heads=source.num_key_value_heads,
        head_dim=head_dim, rope_parameters=dict(source.rope_parameters), hidden_act=source.hidden_act, mlp_gated=True,
        mlp_bias=False, attention_bias=False, rms_norm_eps=source.rms_norm_eps,
        max_position_embeddings=source.max_position_embeddings, tie_word_embeddings=source.tie_word_embeddings,
        pad_token_id=source.pad_token_id, bos_token_id=source.bos_token_id, eos_token_id=source.eos_token_id,
        healed=False,
    )  # fmt: skip


def _copy_ends(source: Any, model: SlimPajamaForCausalLM) -> None:
    """Embeddings, norms and head. The embedding's rank is the hidden size, so its projections change nothing."""
    model.model.embed_tokens.weight.copy_(source.model.embed_tokens.weight)
    nn.init.eye_(model.model.embed_proj.weight)
    nn.init.eye_(model.head_proj.weight)
    if not model.config.tie_word_embeddings:
        model.lm_head.weight.copy_(source.lm_head.weight)
    model.model.norm.weight.copy_(source.model.norm.weight)
    for ours, theirs in zip(model.model.layers, source.model.layers, strict=True):
        ours.input_layernorm.weight.copy_(theirs.input_layernorm.weight)
        ours.post_attention_layernorm.weight.copy_(theirs.post_attention_layernorm.weight)


def _sharers(config: SlimPajamaConfig) -> Iterator[list[int]]:
    """For each block the depths that borrow it."""
    for block in range(config.num_blocks):
        yield [depth for depth in range(config.num_hidden_layers) if config.block_index(depth) == block]


def _copy_block(source: Any, model: SlimPajamaForCausalLM, depths: list[int], moments: Moments) -> Iterator[Error]:
    """Fill in a block as the mean of its layers' matrices, and their deltas."""
    block = model.model.blocks[model.config.block_index(depths[0])]
    for name in PROJECTIONS:
        wanted = {depth: _matrix(source.model.layers[depth], name).weight.float() for depth in depths}
        mean = torch.stack(list(wanted.values())).mean(0)
        getattr(block, name).weight.copy_(mean)
        for depth, matrix in wanted.items():
            deltas = model.model.layers[depth].deltas
            missing, left = matrix - mean, matrix - mean
            moment = moments.get((depth, name))
            if name in deltas:
                a, b = low_rank(missing, model.config.delta_rank, moment)
                deltas[name].a_proj.weight[: len(a)].copy_(a)
                deltas[name].b_proj.weight[:, : len(a)].copy_(b)
                left = missing - b @ a
            yield Error(depth, name, _share(missing, matrix), _share(left, matrix), _on_inputs(left, matrix, moment))


def low_rank(matrix: torch.Tensor, rank: int, moment: torch.Tensor | None = None) -> tuple[torch.Tensor, torch.Tensor]:
    """A (r, in) and B (out, r) with B A nearest to `matrix` (out, in), r at most `rank`.

    Nearest in the Frobenius norm, or, with `moment` (in, in), in what it makes of inputs with that sum of x xᵀ.
    """
    matrix = matrix.double()
    root, inverse = _roots(moment.double()) if moment is not None else (None, None)
    weighed = matrix if root is None else matrix @ root
    left, values, right = torch.linalg.svd(weighed, full_matrices=False)
    kept = min(rank, len(values))
    spread = values[:kept].sqrt()  # both halves of about the same size, which trains better
    a = spread[:, None] * right[:kept]
    b = left[:, :kept] * spread
    return (a if inverse is None else a @ inverse).float(), b.float()


def _roots(moment: torch.Tensor) -> tuple[torch.Tensor, torch.Tensor]:
    """The square root of a moment, a little damped, and its inverse."""
    values, vectors = torch.linalg.eigh(moment)
    values = values.clamp(min=0) + _DAMPING * values.mean().clamp(min=1e-12)
    return vectors * values.sqrt() @ vectors.T, vectors * values.rsqrt() @ vectors.T


def _share(left: torch.Tensor, matrix: torch.Tensor) -> float:
    return float(left.norm() / matrix.norm().clamp(min=1e-12))


def _on_inputs(left: torch.Tensor, matrix: torch.Tensor, moment: torch.Tensor | None) -> float | None:
    if moment is None:
        return None
    made, missing = ((each @ moment * each).sum().clamp(min=0) for each in (matrix, left))
    return float((missing / made.clamp(min=1e-12)).sqrt())


def _matrix(layer: Any, name: str) -> nn.Linear:
    found: nn.Linear = getattr(layer.self_attn if name in PROJECTIONS[:4] else layer.mlp, name)
    return found
