"""The optimizers: Muon on the matrices of the blocks, AdamW on everything else.

Knows parameters by their names in the model; knows no schedule.
"""

from __future__ import annotations

import math
import re
from collections.abc import Callable
from typing import Any

import torch
from torch import nn

COEFFICIENTS = (3.4445, -4.7750, 2.0315)
"""Of the quintic Newton-Schulz iteration, steepest at zero (Keller Jordan's Muon)."""


_BIG = re.compile(r"\.(blocks|self_attn|mlp)\.")
"""Names of the matrices of attention and feed-forward: of SlimPajama's blocks, of a Llama's layers."""


class Float32Muon(torch.optim.Muon):
    """`torch.optim.Muon` with `match_rms_adamw`, iterating in float32.

    torch iterates in bfloat16, for which many CPUs have no instructions: a 256 x 1024 matrix took 1.3 s there, and
    takes 0.02 s in float32. State and arguments are those of `torch.optim.Muon`.
    """

    @torch.no_grad()
    def step(self, closure: Callable[[], Any] | None = None) -> None:  # type: ignore[override]
        """Update every matrix that has a gradient."""
        for group in self.param_groups:
            for matrix in group["params"]:
                if matrix.grad is not None:
                    self._update(matrix, group)

    def _update(self, matrix: torch.Tensor, group: dict[str, Any]) -> None:
        gradient, state = matrix.grad, self.state[matrix]
        assert gradient is not None
        if "momentum_buffer" not in state:
            state["momentum_buffer"] = torch.zeros_like(gradient)
        momentum = state["momentum_buffer"].lerp_(gradient, 1 - group["momentum"])
        update = gradient.lerp(momentum, group["momentum"]) if group["nesterov"] else momentum
        step = group["lr"] * 0.2 * math.sqrt(max(matrix.shape))
        matrix.mul_(1 - group["lr"] * group["weight_decay"])
        matrix.add_(orthogonal(update, group["ns_steps"]), alpha=-step)


def orthogonal(matrix: torch.Tensor, steps: int = 5) -> torch.Tensor:
    """`matrix` (m, n) with its singular values brought close to 1."""
    a, b, c = COEFFICIENTS
    wide = matrix if matrix.size(0) <= matrix.size(1) else matrix.T
    x: torch.Tensor = wide / torch.linalg.matrix_norm(wide).clamp(min=1e-7)
    for _ in range(steps):
        gram = x @ x.T
        x = torch.addmm(x, torch.addmm(gram, gram, gram, beta=b, alpha=c), x, beta=a)
    return x if matrix.size(0) <= matrix.size(1) else x.T


def build_optimizers(
    model: nn.Module, matrix_rate: float, other_rate: float, *, bf16: bool
) -> list[torch.optim.Optimizer]:
    """Muon for the big matrices, AdamW for embeddings, projections, norms, biases, deltas.

    Both rates are in AdamW's terms; each group keeps its own as `initial_lr`. `bf16`: the device multiplies bfloat16.
    """
    matrices = [p for name, p in model.named_parameters() if _BIG.search(name) and p.ndim == 2]
    chosen = {id(p) for p in matrices}
    others = [p for p in model.parameters() if id(p) not in chosen]
    muon = torch.optim.Muon if bf16 else Float32Muon
    optimizers: list[torch.optim.Optimizer] = [
        muon(matrices, lr=matrix_rate, weight_decay=0.05, adjust_lr_fn="match_rms_adamw"),
        torch.optim.AdamW(others, lr=other_rate, betas=(0.9, 0.95), weight_decay=0.01),
    ]
    for optimizer in optimizers:
        for group in optimizer.param_groups:
            group["initial_lr"] = group["lr"]
    return optimizers
