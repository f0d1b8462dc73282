"""A step is the same however the batch is cut, and among however many."""

from __future__ import annotations

import threading
from collections.abc import Callable
from dataclasses import replace
from pathlib import Path
from typing import Any

import pytest
import torch
from torch import distributed

from slimpajama.data import IGNORED, Batch, Document, Packer
from slimpajama.errors import SlimPajamaError, TrainingDiverged
from slimpajama.group import Group
from slimpajama.learner import Learner
from slimpajama.modeling_slimpajama import SlimPajamaForCausalLM
from slimpajama.objectives import cross_entropy
from slimpajama.options import TrainOptions

Make = Callable[..., SlimPajamaForCausalLM]


def options(**changes: Any) -> TrainOptions:
    """In float32, where the same sum taken in another order stays nearly the same."""
    return TrainOptions(preset="tiny", data=Path(), out=Path(), bf16=False, **changes)


def batch(rows: int = 6) -> Batch:
    """Documents of different lengths, of which different shares are learned."""
    documents = (Document([5 + i % 300] * (i % 7 + 2), [j > i % 3 for j in range(i % 7 + 2)]) for i in range(200))
    return Packer(16, split=False).batch(documents, rows)


def gradients(model: SlimPajamaForCausalLM, group: Group | None = None, **changes: Any) -> tuple[float, list[Any]]:
    """The mean loss of a batch, and the gradients that it leaves. Muon makes much of how they are rounded."""
    model.train().model.active_repeats = 1  # as at first: some parameters get none
    learner = Learner(model, replace(options(), **changes), group or Group(), cross_entropy)
    return learner._gradients(batch()), [p.grad for p in model.parameters()]


def test_parts_of_a_batch_teach_what_the_whole_does(make_model: Make) -> None:
    whole, parts = gradients(make_model()), gradients(make_model(), accumulate=3)
    assert parts[0] == pytest.approx(whole[0], rel=1e-5)
    torch.testing.assert_close(parts[1], whole[1])


def test_bfloat16_gives_nearly_the_same_gradients_without_a_warning(make_model: Make) -> None:
    exact, rounded = gradients(make_model()), gradients(make_model(), bf16=True)
    assert rounded[0] == pytest.approx(exact[0], rel=1e-2)
    found, expected = (torch.cat([p.flatten() for p in each[1] if p is not None]) for each in (rounded, exact))
    assert torch.cosine_similarity(found, expected, dim=0) > 0.99


def test_two_processes_learn_what_one_does(make_model: Make) -> None:
    """Two threads with a group of their own stand for them: Group asks nothing else of torch."""
    store, models, expected = distributed.HashStore(), [make_model(), make_model()], gradients(make_model())
    found: dict[int, tuple[float, list[Any]]] = {}

    def run(rank: int) -> None:
        found[rank] = gradients(models[rank], Group(distributed.ProcessGroupGloo(store, rank, 2)))

    threads = [threading.Thread(target=run, args=(rank,)) for rank in range(2)]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join()
    assert found[0][0] == found[1][0] == pytest.approx(expected[0], rel=1e-5)
    torch.testing.assert_close(found[0][1], found[1][1], rtol=0, atol=0)
    torch.testing.assert_close(found[0][1], expected[1])


def test_a_batch_too_small_for_its_parts_is_refused(model: SlimPajamaForCausalLM) -> None:
    with pytest.raises(SlimPajamaError, match="6 rows is too small for 1 × 7 parts"):
        gradients(model, accumulate=7)


def test_what_one_document_says_changes_nothing_for_its_neighbour(model: SlimPajamaForCausalLM) -> None:
    def loss(neighbour: int) -> float:
        first = Document([neighbour] * 7, [False] * 7)
        packed = Packer(16, split=True).batch(iter([first, Document([9, 8, 7, 6, 5, 4, 3, 2, 1], [True] * 9)]), 1)
        assert (packed.labels != IGNORED).sum() == 8
        return cross_entropy(model, packed).item()

    assert loss(200) == pytest.approx(loss(11), rel=1e-6)


def test_the_running_mean_of_the_weights_is_what_is_saved(make_model: Make) -> None:
    learner = Learner(make_model().train(), options(ema=0.75), Group(), cross_entropy)
    name = "model.blocks.0.q_proj.weight"
    states = [learner.model.state_dict()[name].clone()]
    for _ in range(2):
        learner.learn(batch(), 1.0)
        states.append(learner.model.state_dict()[name].clone())
    first, second = (
        1 / 10,
        2 / 11,
    )  # of the mean stays so much at first, so that a short run does not save its beginning
    mean = (states[0] * first + states[1] * (1 - first)) * second + states[2] * (1 - second)
    with learner.averaged() as model:
        torch.testing.assert_close(model.state_dict()[name], mean)
    assert torch.equal(learner.model.state_dict()[name], states[2])


def test_the_running_mean_keeps_what_it_is_asked_to_in_the_end(make_model: Make) -> None:
    learner = Learner(make_model().train(), options(ema=0.75), Group(), cross_entropy)
    learner.steps = 1000
    name = "model.blocks.0.q_proj.weight"
    before = learner.model.state_dict()[name].clone()
    learner.learn(batch(), 1.0)
    with learner.averaged() as model:
        mean = model.state_dict()[name].clone()
    torch.testing.assert_close(mean, before * 0.75 + learner.model.state_dict()[name] * 0.25)


class _Exploding(torch.autograd.Function):
    """Its value is a number, its gradient is none."""

    @staticmethod
    def forward(ctx: Any, x: torch.Tensor) -> torch.Tensor:
        return x.clone()

    @staticmethod
    def backward(ctx: Any, *gradients: torch.Tensor) -> torch.Tensor:
        return gradients[0] * float("inf")


def test_a_gradient_that_is_no_number_changes_no_weight(make_model: Make) -> None:
    def exploding(model: Any, batch: Batch) -> torch.Tensor:
        return _Exploding.apply(cross_entropy(model, batch))

    learner = Learner(make_model().train(), options(), Group(), exploding)
    before = [p.detach().clone() for p in learner.model.parameters()]
    with pytest.raises(TrainingDiverged, match=r"gradient's norm is (nan|inf) at step 1"):
        learner.learn(batch(), 1.0)
    assert all(map(torch.equal, learner.model.parameters(), before))


def test_weights_that_are_no_numbers_are_not_given_to_be_saved(model: SlimPajamaForCausalLM) -> None:
    learner = Learner(model, options(), Group(), cross_entropy)
    with torch.no_grad():
        model.model.norm.weight[0] = float("nan")
    with pytest.raises(TrainingDiverged, match="after step 0"):
        learner.state()
    with pytest.raises(TrainingDiverged, match="after step 0"), learner.averaged():
        pass


def test_gradients_are_clipped_and_rates_kept_to(model: SlimPajamaForCausalLM) -> None:
    learner = Learner(model.train(), options(), Group(), lambda *given: 1e4 * cross_entropy(*given))
    norms: list[float] = []
    learner._optimizers[0].register_step_pre_hook(
        lambda *_: norms.append(torch.nn.utils.get_total_norm(p.grad for p in model.parameters()).item())
    )
    learner.learn(batch(), 0.5)
    assert norms == [pytest.approx(1.0, rel=1e-3)]
    rates = [group["lr"] / group["initial_lr"] for each in learner._optimizers for group in each.param_groups]
    assert rates == [0.5] * len(rates)
