"""Muon in float32 does what `torch.optim.Muon` does, more exactly."""

from __future__ import annotations

import torch

from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.optimizers import Float32Muon, build_optimizers, orthogonal


def test_it_steps_as_torch_does() -> None:
    torch.manual_seed(0)
    start = torch.randn(24, 48)
    gradients = [torch.randn(24, 48) for _ in range(3)]
    moved = []
    for kind in (Float32Muon, torch.optim.Muon):
        matrix = torch.nn.Parameter(start.clone())
        optimizer = kind([matrix], lr=0.01, weight_decay=0.1, adjust_lr_fn="match_rms_adamw")
        for gradient in gradients:
            matrix.grad = gradient.clone()
            optimizer.step()
        moved.append(matrix.detach() - start)
    assert torch.nn.functional.cosine_similarity(*(step.flatten() for step in moved), dim=0) > 0.999


def test_singular_values_are_brought_close_to_one() -> None:
    torch.manual_seed(0)
    for shape in ((16, 40), (40, 16)):
        values = torch.linalg.svdvals(orthogonal(torch.randn(shape)))
        assert values.min() > 0.5
        assert values.max() < 1.5


def test_it_iterates_in_float32_where_the_device_does_not_multiply_bfloat16(model: SlimPajamaForCausalLM) -> None:
    kinds = [type(build_optimizers(model, 1e-3, 2e-3, bf16=bf16)[0]) for bf16 in (True, False)]
    assert kinds == [torch.optim.Muon, Float32Muon]


def test_every_parameter_is_stepped_once(model: SlimPajamaForCausalLM) -> None:
    muon, adamw = build_optimizers(model, 1e-3, 2e-3, bf16=False)
    given = [p for optimizer in (muon, adamw) for group in optimizer.param_groups for p in group["params"]]
    assert {id(p) for p in given} == {id(p) for p in model.parameters()}
    assert len(given) == len({id(p) for p in given})
    blocks = {id(p) for p in model.model.blocks.parameters() if p.ndim == 2}
    assert {id(p) for p in muon.param_groups[0]["params"]} == blocks
