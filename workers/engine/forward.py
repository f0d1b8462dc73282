"""The model and the KV of a running batch: prefill one prompt, decode one token for every row, join, leave.

Knows a causal LM of transformers, its DynamicCache, masks and positions; knows no request, thread or sampling. Rows of
different length stand left-padded in one cache: row r has `width - lengths[r]` columns of padding, masked out, and its
next position is `lengths[r]`. It copies KV at every step; an engine that does not is free to replace this file.
"""

from __future__ import annotations

import inspect
from typing import Any

import torch
from torch import Tensor
from torch.nn import functional
from transformers import DynamicCache, PreTrainedModel
from transformers.cache_utils import DynamicLayer

from core.errors import ModelUnavailable

CLOSE = {torch.float32: 1e-3, torch.bfloat16: 0.1, torch.float16: 2e-2}
"""Logits of two ways to run a model differ by at most so much of the largest, where the ways are the same."""
_PROBES = (7, 3)
_UNSTEADY_ROTATIONS = frozenset({"dynamic", "longrope"})


class ModelForward:
    """Calls a causal LM with what its forward takes. Raises ModelUnavailable where it keeps no plain KV cache."""

    def __init__(self, model: PreTrainedModel) -> None:
        self._model = model
        self.device = model.device
        taken = inspect.signature(model.forward).parameters
        self._takes_positions = "position_ids" in taken
        self._takes_last = "logits_to_keep" in taken
        cache, name = DynamicCache(), type(model).__name__
        try:
            self.vocabulary = self(torch.zeros((1, 1), dtype=torch.long, device=self.device), cache).shape[-1]
        except Exception as error:
            raise ModelUnavailable(f"{name} cannot be run with a plain key-value cache: {error!r}") from error
        if not cache.layers or not all(type(layer) is DynamicLayer and layer.is_initialized for layer in cache.layers):
            raise ModelUnavailable(f"{name} does not keep its state in a plain key-value cache.")
        self.token_bytes = kv_bytes(cache)

    def prefill(self, token_ids: tuple[int, ...]) -> tuple[Tensor, DynamicCache]:
        """Run one prompt; return its next logits (1, V) and its KV."""
        cache = DynamicCache()
        return self(torch.tensor([token_ids], dtype=torch.long, device=self.device), cache), cache

    def make_batch(self) -> KvBatch:
        """No rows yet."""
        return KvBatch(self)

    def check_batch(self) -> None:
        """See that rows of different length in one batch say what each says alone. Raises ModelUnavailable."""
        probes = [probe_ids(self.vocabulary, count) for count in _PROBES]
        alone = torch.cat([self._decoded([probe]) for probe in probes])
        if not same(self._decoded(probes), alone, self._model.dtype):
            raise ModelUnavailable(f"{type(self._model).__name__} says something else in a padded batch.")

    def _decoded(self, probes: list[tuple[int, ...]]) -> Tensor:
        """The logits (B, V) after the probes in one batch, the last token of each in a step of its own."""
        batch = self.make_batch()
        for probe in probes:
            batch.join(self.prefill(probe[:-1])[1])
        return batch.decode([probe[-1] for probe in probes])

    @torch.inference_mode()
    def __call__(self, ids: Tensor, cache: DynamicCache, mask: Tensor | None = None) -> Tensor:
        """Return the logits (B, V) after the last column of `ids` (B, S). `mask` (B, T + S) covers cache and ids."""
        mask = torch.ones_like(ids) if mask is None else mask
        options: dict[str, Any] = {"logits_to_keep": 1} if self._takes_last else {}
        if self._takes_positions:
            positions = mask.cumsum(dim=-1) - 1
            options["position_ids"] = positions[:, -ids.shape[1] :].clamp_(min=0)
        output = self._model(input_ids=ids, attention_mask=mask, past_key_values=cache, use_cache=True, **options)
        logits: Tensor = output.logits[:, -1, :]
        return logits


class KvBatch:
    """The KV of the running rows in one cache, left-padded."""

    def __init__(self, forward: ModelForward) -> None:
        self._forward = forward
        self._cache = DynamicCache()
        self._mask = torch.zeros((0, 0), dtype=torch.long, device=forward.device)  # (B, T)

    def __len__(self) -> int:
        return self._mask.shape[0]

    @torch.inference_mode()
    def join(self, cache: DynamicCache) -> None:
        """Add a prompt's KV (of one row, unpadded) as the last row. If that raises, nothing has changed."""
        length = cache.get_seq_length()
        width = max(self._mask.shape[1], length)
        mask = functional.pad(self._mask.new_ones((1, length)), (width - length, 0))
        if len(self):
            mask = torch.cat([functional.pad(self._mask, (width - self._mask.shape[1], 0)), mask])
            cache = _stacked(self._cache, cache, width)
        self._cache, self._mask = cache, mask

    @torch.inference_mode()
    def decode(self, ids: list[int]) -> Tensor:
        """Append one id to every row and return the next logits (B, V). A step that raises changes nothing."""
        mask = functional.pad(self._mask, (0, 1), value=1)
        try:
            logits = self._forward(torch.tensor(ids, device=self._forward.device).unsqueeze(1), self._cache, mask)
        except Exception:
            self._crop_right(self._mask.shape[1])
            raise
        self._mask = mask
        return logits

    def decode_alone(self, row: int, token_id: int) -> Tensor:
        """What `decode` would return for one row, on a copy: finds out whose step raises."""
        alone = KvBatch(self._forward)
        alone._cache = DynamicCache([(layer.keys, layer.values) for layer in self._layers()])
        alone._mask = self._mask
        alone.keep([row])
        return alone.decode([token_id])

    @torch.inference_mode()
    def keep(self, rows: list[int]) -> None:
        """Keep only these rows, in this order, and only the columns that one of them needs."""
        if not rows:
            self._cache = DynamicCache()
            self._mask = self._mask.new_zeros((0, 0))
            return
        index = torch.tensor(rows, device=self._forward.device)
        mask = self._mask[index]
        width = int(mask.sum(dim=1).max())
        self._mask = mask[:, -width:]
        for layer in self._layers():
            layer.keys = layer.keys[index, :, -width:]
            layer.values = layer.values[index, :, -width:]

    def _crop_right(self, width: int) -> None:
        for layer in self._layers():
            layer.keys = layer.keys[:, :, :width]
            layer.values = layer.values[:, :, :width]

    def _layers(self) -> list[Any]:
        return list(self._cache.layers)


def _stacked(first: DynamicCache, second: DynamicCache, width: int) -> DynamicCache:
    """A cache with the rows of both, left-padded to `width` columns."""
    pairs: Any = zip(first.layers, second.layers, strict=True)  # DynamicLayers, as ModelForward has seen to
    return DynamicCache(
        [
            (
                torch.cat([_padded(a.keys, width), _padded(b.keys, width)]),
                torch.cat([_padded(a.values, width), _padded(b.values, width)]),
            )
            for a, b in pairs
        ]
    )


def _padded(kv: Tensor, width: int) -> Tensor:
    """`kv` (B, H, T, D) with zero columns on the left up to `width`."""
    return functional.pad(kv, (0, 0, width - kv.shape[2], 0))


def kv_bytes(cache: Any) -> int:
    """What the keys and values in a cache take; whatever else it keeps does not count."""
    kept = [kv for layer in getattr(cache, "layers", ()) for kv in _kv_of(layer)]
    return sum(kv.numel() * kv.itemsize for kv in kept)


def probe_ids(vocabulary: int, count: int) -> tuple[int, ...]:
    """A few tokens with which to try a model."""
    generator = torch.Generator().manual_seed(0)
    return tuple(torch.randint(vocabulary, (count,), generator=generator).tolist())


def same(got: Tensor, expected: Tensor, dtype: torch.dtype) -> bool:
    """Whether two ways to run a model of this precision give the same logits."""
    scale = max(float(expected.abs().max()), 1e-6)
    return float((got - expected).abs().max()) / scale <= CLOSE.get(dtype, 0.1)  # NaN is not close


def unsteady_rotation(model: PreTrainedModel) -> str | None:
    """The kind of the model's positions whose angles depend on the longest row of a pass, if it has such."""
    told = getattr(model.config.get_text_config(), "rope_parameters", None) or {}
    kinds = {str(rotation.get("rope_type")) for rotation in (told, *told.values()) if isinstance(rotation, dict)}
    return next(iter(sorted(kinds & _UNSTEADY_ROTATIONS)), None)


def _kv_of(layer: Any) -> list[Tensor]:
    kept = (getattr(layer, "keys", None), getattr(layer, "values", None))
    return [kv for kv in kept if kv is not None]
