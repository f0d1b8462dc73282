"""Packed weights give the same products, one token or many, and can be taken back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.workers.asking import greedy, reference
from tests.workers.tiny import make_model
from workers.engine.attention import Piece
from workers.engine.packing import Packing, supported
from workers.engine.slot_forward import SlotForward

_SHAPES = [(1, 24), (1, 1, 24), (2, 24), (1, 2, 24), (5, 24), (1, 7, 24), (2, 3, 24)]
_no_bfloat16 = pytest.mark.skipif(not supported(torch.bfloat16), reason="no products of bfloat16 here")
bfloat16 = pytest.param(torch.bfloat16, marks=_no_bfloat16)


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [torch.float32, bfloat16])
def test_a_packed_layer_multiplies_as_before(shape: tuple[int, ...], bias: bool, dtype: torch.dtype) -> None:
    layer, x = nn.Linear(24, 40, bias=bias, dtype=dtype), torch.randn(shape, dtype=dtype)
    with torch.inference_mode():
        expected = layer(x)
        packing = Packing(layer, 1)
        packing.apply()
        assert len(packing) == 1 and packing.bytes == 24 * 40 * dtype.itemsize
        torch.testing.assert_close(layer(x), expected)
        packing.undo()
        assert torch.equal(layer(x), expected)


@pytest.mark.parametrize("shape", _SHAPES)
@pytest.mark.parametrize("bias", [True, False])
@pytest.mark.parametrize("dtype", [bfloat16])
def test_rounded_weights_are_the_model_for_one_token_and_for_many(
    shape: tuple[int, ...], bias: bool, dtype: torch.dtype
) -> None:
    layer = nn.Linear(64, 40, bias=bias, dtype=dtype)
    x = torch.randn((*shape[:-1], 64), dtype=dtype)
    before = layer.weight.detach().clone()
    packing = Packing(layer, 1, int8=True)
    assert packing.bytes == 64 * 40 * 3
    with torch.inference_mode():
        packing.apply()
        off = (layer.weight - before).abs() / before.abs().amax(1, keepdim=True)
        assert 0 < off.max() <= 0.5 / 127 + 2**-8, "half a step, and what bfloat16 cannot hold"
        torch.testing.assert_close(layer(x), nn.functional.linear(x, layer.weight, layer.bias), rtol=2**-6, atol=2**-6)


@_no_bfloat16
@pytest.mark.parametrize("kind", ["zeros", "float32", "rows of 24"])
def test_what_cannot_be_rounded_is_multiplied_as_before(kind: str) -> None:
    dtype = torch.float32 if kind == "float32" else torch.bfloat16
    layer = nn.Linear(24 if kind == "rows of 24" else 64, 40, dtype=dtype)
    if kind == "zeros":
        nn.init.zeros_(layer.weight)
    x = torch.randn(1, layer.in_features, dtype=dtype)
    with torch.inference_mode():
        expected = layer(x)
        Packing(layer, 1, int8=True).apply()
        torch.testing.assert_close(layer(x), expected)


def test_small_and_foreign_layers_are_left_alone() -> None:
    class Own(nn.Linear):
        pass

    assert len(Packing(nn.Sequential(nn.Linear(8, 8), Own(900, 900), nn.Linear(8, 8, dtype=torch.float64)))) == 0


@pytest.mark.parametrize("kind", ["llama", "slimpajama"])
def test_a_packed_model_says_the_same(kind: str) -> None:
    model = make_model(kind)
    forward = SlotForward(copy.deepcopy(model))
    packing = Packing(forward._model, 1)
    packing.apply()
    forward.check()
    pool = forward.make_pool(64)
    slot = pool.take(40)
    assert slot is not None and len(packing) > 5
    said, tokens = list[int](), [3, 4, 5]
    for _ in range(greedy().max_new_tokens):
        logits = forward([Piece(tokens, slot)])
        slot.length += len(tokens)
        tokens = [int(logits.argmax())]
        said += tokens
    assert said[: said.index(2) if 2 in said else None] == reference(model, (3, 4, 5), greedy().max_new_tokens)
