"""The attention function through which models of transformers read and write slots instead of a cache.

Knows transformers' attention interface and the pool; knows no request. A forward pass is one row in which the tokens of
many requests stand one after another: a Piece is one request's part. Each attends to its own slot only. A model that
runs without `slots` attends as with transformers' `sdpa`.
"""

from __future__ import annotations

from collections.abc import Sequence
from dataclasses import dataclass
from typing import Any

import torch
from torch import Tensor, nn
from torch.nn.functional import scaled_dot_product_attention
from transformers import AttentionInterface, AttentionMaskInterface
from transformers.integrations.sdpa_attention import sdpa_attention_forward
from transformers.masking_utils import sdpa_mask

from workers.engine.pool import KvPool, Slot

NAME = "pajama_slots"

# What some models hand to their attention function besides, and this one does not know.
_UNKNOWN = ("s_aux", "position_bias", "alibi", "head_mask", "cu_seq_lens_q")


@dataclass(frozen=True, slots=True)
class Piece:
    """Tokens of one request that follow what its slot holds. The logits after each of the last `wanted` are asked for."""

    token_ids: Sequence[int]
    slot: Slot
    wanted: int = 1


@dataclass(frozen=True, slots=True)
class _Part:
    """A piece in the row: it is [low, high) there; its slot begins at `start` and held `past` tokens."""

    low: int
    high: int
    start: int
    past: int

    @property
    def count(self) -> int:
        """Its tokens in this pass."""
        return self.high - self.low

    @property
    def length(self) -> int:
        """The tokens of its slot after this pass."""
        return self.past + self.count

    def seen_from(self, window: int | None) -> int:
        """The first token of its slot that one of its tokens sees."""
        return max(0, self.past + 1 - window) if window else 0


class SlotPass:
    """One forward pass: where its tokens stand in the row and in the pool."""

    def __init__(self, pool: KvPool, pieces: Sequence[Piece], device: torch.device) -> None:
        self.pool, self.device = pool, device
        self.windows: dict[int, int | None] = {}
        self.parts: list[_Part] = []
        positions, slots, low = list[int](), list[int](), 0
        for piece in pieces:
            past, count = piece.slot.length, len(piece.token_ids)
            assert past + count <= piece.slot.capacity
            self.parts.append(_Part(low, low + count, piece.slot.start, past))
            positions.extend(range(past, past + count))
            slots.extend(range(piece.slot.start + past, piece.slot.start + past + count))
            low += count
        self.positions = torch.tensor(positions, device=device)  # (N,)
        self._slots = torch.tensor(slots, device=device)  # (N,)
        self._masks: dict[tuple[_Part, int | None], Tensor] = {}

    def write(self, layer: int, key: Tensor, value: Tensor) -> tuple[Tensor, Tensor]:
        """Put the pass's keys and values (H, N, D) in their slots; return the layer's of the whole pool (H, T, D)."""
        keys, values = self.pool.keys[layer], self.pool.values[layer]
        keys.index_copy_(1, self._slots, key)
        values.index_copy_(1, self._slots, value)
        return keys, values

    def mask(self, part: _Part, window: int | None) -> Tensor:
        """Which of the keys that `seen_from` leaves a part's tokens see: (n, T)."""
        known = (part, window)
        if known not in self._masks:
            self._masks[known] = self._made(part, window)
        return self._masks[known]

    def _made(self, part: _Part, window: int | None) -> Tensor:
        queries = self.positions[part.low : part.high].unsqueeze(1)  # (n, 1)
        keys = torch.arange(part.seen_from(window), part.length, device=self.device)  # (T,)
        seen = keys <= queries
        return seen & (keys > queries - window) if window else seen


def attend(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    attention_mask: Tensor | None,
    *,
    scaling: float | None = None,
    sliding_window: int | None = None,
    softcap: float | None = None,
    slots: SlotPass | None = None,
    **kwargs: Any,
) -> tuple[Tensor, None]:
    """query (1, H, N, D); key, value (1, H_kv, N, D) → (1, N, H, D). A window counts the token itself."""
    if slots is None:
        return _plainly(module, query, key, value, attention_mask, scaling, softcap, kwargs), None
    unknown = [name for name in _UNKNOWN if kwargs.get(name) is not None]
    if unknown:
        raise NotImplementedError(f"Slots know no {', '.join(unknown)}.")
    layer = int(module.layer_idx)  # type: ignore[arg-type]
    slots.windows[layer] = sliding_window
    keys, values = slots.write(layer, key[0], value[0])
    query, groups = query[0].unflatten(0, (keys.shape[0], -1)), query.shape[1] // keys.shape[0]  # (H_kv, G, N, D)
    output = query.new_empty((query.shape[2], keys.shape[0], groups, values.shape[2]))  # (N, H_kv, G, D)
    for part in slots.parts:
        seen = slice(part.start + part.seen_from(sliding_window), part.start + part.length)
        asked = query[:, :, part.low : part.high]
        output[part.low : part.high] = _attended(
            slots, part, asked, keys[:, seen], values[:, seen], scaling, sliding_window, softcap
        )
    return output.flatten(1, 2).unsqueeze(0), None


def _attended(
    slots: SlotPass,
    part: _Part,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    scaling: float | None,
    window: int | None,
    softcap: float | None,
) -> Tensor:
    """One part's attention: query (H_kv, G, n, D); key, value (H_kv, T, D) → (n, H_kv, G, D)."""
    if part.count == 1 and softcap is None:  # the groups stand in for tokens: all of them see everything
        query, key, value = query.transpose(1, 2), key.unsqueeze(1), value.unsqueeze(1)
        groups = query.shape[2]
        if groups == 1 and query.is_cpu and query.dtype is torch.bfloat16:
            query = query.expand(-1, -1, 2, -1)  # torch multiplies one row of bfloat16 more slowly than two
        out = scaled_dot_product_attention(query, key, value, scale=scaling)[:, :, :groups]  # (H_kv, 1, G, D)
        return out.transpose(0, 1)
    groups = query.shape[1]
    key = key.unsqueeze(1).expand(-1, groups, -1, -1)
    value = value.unsqueeze(1).expand(-1, groups, -1, -1)
    if softcap is not None:
        out = _capped(query, key, value, slots.mask(part, window), scaling, softcap)
    elif part.past == 0 and (not window or part.count <= window):
        out = scaled_dot_product_attention(query, key, value, is_causal=True, scale=scaling)
    else:
        mask = slots.mask(part, window)
        out = scaled_dot_product_attention(query, key, value, attn_mask=mask, scale=scaling)
    return out.permute(2, 0, 1, 3)


def _capped(query: Tensor, key: Tensor, value: Tensor, mask: Tensor, scaling: float | None, softcap: float) -> Tensor:
    """Attention whose scores are bent to at most ±softcap, which torch's own function cannot. (…, n, D) → (…, n, D)."""
    scale = query.shape[-1] ** -0.5 if scaling is None else scaling
    scores = torch.tanh(query @ key.transpose(-1, -2) * scale / softcap) * softcap
    scores = scores.masked_fill(mask.logical_not(), -torch.inf)
    return scores.softmax(dim=-1, dtype=torch.float32).to(query.dtype) @ value


def _plainly(
    module: nn.Module,
    query: Tensor,
    key: Tensor,
    value: Tensor,
    mask: Tensor | None,
    scaling: float | None,
    softcap: float | None,
    options: dict[str, Any],
) -> Tensor:
    """Attention without slots, as when `generate` is called."""
    if softcap is None:
        output, _ = sdpa_attention_forward(module, query, key, value, mask, scaling=scaling, **options)
        return output
    groups, count, width = query.shape[1] // key.shape[1], query.shape[2], key.shape[2]
    if mask is None:
        mask = torch.ones((count, width), dtype=torch.bool, device=query.device).tril(width - count)
    key, value = key.repeat_interleave(groups, dim=1), value.repeat_interleave(groups, dim=1)
    return _capped(query, key, value, mask, scaling, softcap).transpose(1, 2).contiguous()


def register() -> None:
    """Make the function known to transformers under NAME. May be called again."""
    AttentionInterface.register(NAME, attend)
    AttentionMaskInterface.register(NAME, sdpa_mask)
