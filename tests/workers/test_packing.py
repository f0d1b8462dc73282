"""Packed weights give the same products, one token or many, and can be taken back."""

from __future__ import annotations

import copy

import pytest
import torch
from torch import nn

from tests.workers.asking import greedy, reference
from tests.workers.tiny import make_model
from workers.engine.attention import Piece
from workers.engine.packing import Packing
from workers.engine.slot_forward import SlotForward


@pytest.mark.parametrize("shape", [(1, 24), (1, 1, 24), (5, 24), (1, 7, 24), (2, 3, 24)])
@pytest.mark.parametrize("bias", [True, False])
def test_a_packed_layer_multiplies_as_before(shape: tuple[int, ...], bias: bool) -> None:
    layer, x = nn.Linear(24, 40, bias=bias), torch.randn(shape)
    with torch.inference_mode():
        expected = layer(x)
        packing = Packing(layer, 1)
        packing.apply()
        assert len(packing) == 1 and packing.bytes == 24 * 40 * 4
        torch.testing.assert_close(layer(x), expected)
        packing.undo()
        assert torch.equal(layer(x), expected)


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
