"""Packing: the weights of linear layers laid out once for oneDNN's matrix product, beside the layers' own.

Knows torch's linear layers on a CPU and nothing of requests. A single token is multiplied as before, which is faster then;
two and more go by the packed weights. What it gains and costs is in docs/decisions/0008.
"""

from __future__ import annotations

import platform
from functools import partial

import torch
from torch import Tensor, nn

_LEAST_WEIGHTS = 1 << 19
"""In smaller layers the call costs more than is gained."""


class Packing:
    """The packed layers of a model. `undo` makes the model what it was."""

    def __init__(self, model: nn.Module, least_weights: int = _LEAST_WEIGHTS) -> None:
        linears = [layer for layer in model.modules() if isinstance(layer, nn.Linear)]
        self._layers = [layer for layer in linears if _packable(layer, least_weights)]
        self.bytes = sum(layer.weight.numel() * layer.weight.itemsize for layer in self._layers)

    def __len__(self) -> int:
        return len(self._layers)

    def apply(self) -> None:
        """Let every layer multiply by packed weights, which takes `bytes` more memory."""
        for layer in self._layers:
            packed = torch.ops.mkldnn._reorder_linear_weight(layer.weight.detach(), None)  # noqa: SLF001
            layer.forward = partial(_product, layer, packed)  # type: ignore[method-assign]

    def undo(self) -> None:
        """Let every layer multiply as before."""
        for layer in self._layers:
            vars(layer).pop("forward", None)


def _packable(layer: nn.Linear, least_weights: int) -> bool:
    if type(layer) is not nn.Linear or "forward" in vars(layer):
        return False
    weight = layer.weight
    return weight.numel() >= least_weights and weight.device.type == "cpu" and _supported(weight.dtype)


def _supported(dtype: torch.dtype) -> bool:
    """Whether oneDNN multiplies this here. Elsewhere than on x86 nobody has tried."""
    if platform.machine().lower() not in ("x86_64", "amd64") or not torch.backends.mkldnn.is_available():
        return False
    return dtype is torch.float32 or (dtype is torch.bfloat16 and bool(torch.ops.mkldnn._is_mkldnn_bf16_supported()))  # noqa: SLF001


def _product(layer: nn.Linear, packed: Tensor, x: Tensor) -> Tensor:
    """x (…, in) → (…, out)."""
    if x.numel() == x.shape[-1]:
        return nn.functional.linear(x, layer.weight, layer.bias)
    out: Tensor = torch.ops.mkldnn._linear_pointwise(x, packed, layer.bias, "none", [], "")  # noqa: SLF001
    return out
