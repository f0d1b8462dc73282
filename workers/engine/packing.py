"""Packing: the weights of linear layers laid out once for oneDNN's matrix product, beside the layers' own.

Knows torch's linear layers on a CPU and nothing of requests. A single token is multiplied by whichever weights are faster
then: in `float32` the layer's own, in `bfloat16` the packed ones, or, where that is wanted, weights of a byte. What it
gains and costs is in docs/decisions/0008 and 0010.
"""

from __future__ import annotations

import platform
from functools import partial

import torch
from torch import Tensor, nn

_LEAST_WEIGHTS = 1 << 19
"""In smaller layers the call costs more than is gained."""
_FEW_ROWS = 2
"""Up to so many tokens weights of a byte are faster; of four, the largest layers are slower."""
_MOST = 127
_AT_ONCE = 32
"""Weights of a row that are multiplied at once, at most."""


class Packing:
    """The packed layers of a model. `undo` makes the model what it was, but for what `int8` has rounded.

    `int8` rounds the weights to 8 bits with a scale a row: that is the model then, for one token and for many.
    """

    def __init__(self, model: nn.Module, least_weights: int = _LEAST_WEIGHTS, *, int8: bool = False) -> None:
        linears = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        self._layers = [layer for layer in linears if _packable(layer, least_weights)]
        self._int8 = int8
        each = sum(layer.weight.numel() for layer in self._layers)
        self.bytes = sum(layer.weight.nbytes for layer in self._layers) + (each if int8 else 0)

    def __len__(self) -> int:
        return len(self._layers)

    def apply(self) -> None:
        """Let every layer multiply by packed weights, which takes `bytes` more memory."""
        for layer in self._layers:
            rounded = _rounded(layer) if self._int8 else None
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)  # noqa: SLF001
            layer.forward = partial(_product, layer, packed, rounded)  # type: ignore[method-assign]

    def undo(self) -> None:
        """Let every layer multiply as before."""
        for layer in self._layers:
            vars(layer).pop("forward", None)


def _packable(layer: nn.Linear, least_weights: int) -> bool:
    if type(layer) is not nn.Linear or "forward" in vars(layer):
        return False
    weight = layer.weight
    return weight.numel() >= least_weights and weight.device.type == "cpu" and supported(weight.dtype)


def supported(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies this here. Elsewhere than on x86 nobody has tried."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))  # noqa: SLF001


def _rounded(layer: nn.Linear) -> tuple[Tensor, Tensor] | None:
    """Round a layer's weights in place. Returns them as bytes (out, in) with a scale a row (out,).

    None where they stay: torch multiplies bytes with other numbers than bfloat16 more slowly than packed weights, and
    reads beyond the end of rows of odd lengths.
    """
    weight = layer.weight.detach()
    if weight.dtype is not torch.bfloat16 or layer.in_features % _AT_ONCE:
        return None
    scales = (weight.abs().amax(1) / _MOST).clamp(min=torch.finfo(weight.dtype).tiny)
    small = (weight.float() / scales.float().unsqueeze(1)).round().clamp(-_MOST, _MOST).to(torch.int8)
    weight.copy_(small * scales.unsqueeze(1))
    return small, scales


def _product(layer: nn.Linear, packed: Tensor, rounded: tuple[Tensor, Tensor] | None, x: Tensor) -> Tensor:
    """x (…, in) → (…, out)."""
    rows = x.numel() // x.shape[-1]
    if rounded is not None and 1 <= rows <= _FEW_ROWS:
        few: Tensor = torch.ops.aten._weight_int8pack_mm(x.reshape(rows, -1), *rounded)  # noqa: SLF001
        few = few.view(*x.shape[:-1], -1)
        return few if layer.bias is None else few + layer.bias
    if rows == 1 and x.dtype is torch.float32:
        return nn.functional.linear(x, layer.weight, layer.bias)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, layer.bias, "none", [], "")  # noqa: SLF001
    return out
