"""What the engine on slots does with a model that raises, and with too little memory."""

from __future__ import annotations

import time
from collections.abc import Sequence
from typing import Any

import pytest
import torch
from structlog.testing import capture_logs
from torch import Tensor
from transformers import PreTrainedModel

from core.errors import EngineFailed, OutOfMemory
from tests.workers.asking import FOREVER, WAIT_S, Free, MakeSlots, answer, ask, greedy, reference
from tests.workers.tiny import CONTEXT, make_counting_model
from workers.engine.attention import Piece
from workers.engine.bounds import Bounds
from workers.engine.pace import LEAST_TOKENS, MOST_TOKENS
from workers.engine.request import KvScope
from workers.engine.slot_forward import SlotForward
from workers.engine.slots import SlotEngine


class Scarce(SlotForward):
    """A model with too little memory for more than so many requests, tokens, or logits at a time."""

    rows, tokens, logits = 1000, 1000, 1000
    lacked = 0

    def __call__(self, pieces: Sequence[Piece]) -> Tensor:
        tokens, logits = (sum(counts) for counts in zip(*((len(p.token_ids), p.wanted) for p in pieces), strict=True))
        if len(pieces) > self.rows or tokens > self.tokens or logits > self.logits:
            self.lacked += 1
            raise torch.OutOfMemoryError("there is none")
        return super().__call__(pieces)


def scarce(model: PreTrainedModel, **bounds: int) -> Scarce:
    forward = Scarce(model)
    vars(forward).update(bounds)
    return forward


def test_too_little_memory_makes_the_batch_smaller(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    engine = make_slots(forward=scarce(llama, rows=1))
    with capture_logs() as logs:
        requests = [engine.submit(ask(f"{i}", (3 + i, 4, 5), greedy(6))) for i in range(6)]
        assert [list(request) for request in requests] == [reference(llama, (3 + i, 4, 5), 6) for i in range(6)]
    assert any(line.get("action") == "batch_shrunk" and line["max_batch_size"] == 1 for line in logs)
    assert engine.stats().max_batch_size == 1


def test_a_smaller_batch_is_really_smaller(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    forward = scarce(llama)
    engine = make_slots(forward=forward, max_batch_size=8, context_tokens=512, kv_tokens=4096)
    requests = [engine.submit(ask(f"{i}", (3 + i, 4, 5), greedy(200), stop_ids=FOREVER)) for i in range(8)]
    readers = [iter(request) for request in requests]
    for reader in readers:
        next(reader)  # all of them are in the batch
    forward.rows = 4
    assert [len(list(reader)) for reader in readers] == [199] * 8
    assert forward.lacked == 1, "four go on, and four wait"


def test_a_batch_grows_again_when_there_is_memory(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    forward = scarce(llama, rows=1)
    engine = make_slots(forward=forward, max_batch_size=2, context_tokens=1024, kv_tokens=2048)
    requests = [engine.submit(ask(f"{i}", (3 + i, 4, 5), greedy(30), stop_ids=FOREVER)) for i in range(2)]
    assert [len(list(request)) for request in requests] == [30, 30]
    assert engine.stats().max_batch_size == 1
    answer(engine, (3, 4, 5), None, 600)
    assert engine.stats().max_batch_size == 2


def test_a_prompt_that_lacks_memory_is_run_in_smaller_pieces(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    engine = make_slots(forward=scarce(llama, tokens=40), max_batch_size=8)
    prompt = tuple(range(3, 93))
    asked = ask("long", prompt, greedy(5), deadline=time.monotonic() + WAIT_S)  # it might be tried for ever
    assert list(engine.submit(asked)) == reference(llama, prompt, 5)
    assert engine.stats().max_batch_size == 8, "it was alone"


def test_who_fits_in_no_step_is_told_so_and_alone(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    forward = scarce(llama, tokens=LEAST_TOKENS - 1)
    engine = make_slots(forward=forward, max_batch_size=8)
    good = engine.submit(ask("good", (3, 4, 5), greedy(60), stop_ids=FOREVER))
    bad = answer(engine, range(3, 93), None)
    assert bad.finish is not None and isinstance(bad.finish.failure, OutOfMemory)
    assert "too little memory" in str(bad.finish.failure) and "there is none" in str(bad.finish.failure)
    assert len(list(good)) == 60
    assert engine.stats().max_batch_size == 8


@pytest.mark.parametrize("bounds", [{"tokens": LEAST_TOKENS}, {"logits": 6}])
def test_guesses_that_lack_memory_are_left_out(make_slots: MakeSlots, bounds: dict[str, int]) -> None:
    forward = scarce(make_counting_model(), **bounds)
    engine = make_slots(forward=forward, price=Free())
    asked = ask("copy", (*range(40, 90), 40, 41), greedy(48), deadline=time.monotonic() + WAIT_S)
    assert list(engine.submit(asked)) == list(range(42, 90))
    assert engine.stats().right_tokens > 0
    assert forward.lacked > 0


def test_no_more_is_guessed_than_a_step_may_have(make_slots: MakeSlots) -> None:
    forward = scarce(make_counting_model(), tokens=LEAST_TOKENS)
    engine = make_slots(forward=forward, price=Free())
    answer(engine, (*range(40, 90), 40, 41), None, 1)
    before = forward.lacked
    answer(engine, (*range(40, 90), 40, 41), None, 48)
    assert engine.stats().right_tokens > 0 and forward.lacked == before > 0


def test_bounds_are_halved_and_doubled() -> None:
    bounds = Bounds(32)
    bounds.shrink(1, MOST_TOKENS)
    assert (bounds.rows, bounds.tokens) == (32, MOST_TOKENS // 2), "one row alone is not too many"
    bounds.shrink(1, LEAST_TOKENS)
    assert bounds.tokens == MOST_TOKENS // 2, "there is nothing smaller"
    bounds.shrink(20, 20)
    assert (bounds.rows, bounds.tokens) == (10, MOST_TOKENS // 2), "no prompt was to blame"
    bounds.shrink(5, 100)
    assert (bounds.rows, bounds.tokens) == (2, 50)
    for _ in range(10_000):
        bounds.went_well()
    assert (bounds.rows, bounds.tokens) == (32, MOST_TOKENS)


class Dying(SlotForward):
    """A model that raises for everybody as long as it is told to."""

    dying = True

    def __call__(self, pieces: Sequence[Piece]) -> Tensor:
        if self.dying:
            raise RuntimeError("no more")
        return super().__call__(pieces)


def test_a_model_that_recovers_answers_again(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    forward = Dying(llama)
    engine = make_slots(forward=forward)
    failed = answer(engine, (3, 4, 5), None)
    assert failed.finish is not None and isinstance(failed.finish.failure, EngineFailed)
    forward.dying = False
    assert list(engine.submit(ask("b", (3, 4, 5), greedy()))) == reference(llama, (3, 4, 5), 8)


class Broken(SlotEngine):
    """An engine with a mistake of its own in some step."""

    broken = True

    def _sample(self, *args: Any) -> None:
        if self.broken:
            raise ZeroDivisionError
        super()._sample(*args)


def test_a_step_that_nobody_is_to_blame_for_ends_what_runs_and_nothing_hangs(llama: PreTrainedModel) -> None:
    engine = Broken(SlotForward(llama), max_batch_size=2, context_tokens=CONTEXT, kv_tokens=512)
    requests = [engine.submit(ask(f"{i}", (3, 4, 5), greedy())) for i in range(4)]
    assert [list(request) for request in requests] == [[]] * 4
    assert all(r.finish is not None and isinstance(r.finish.failure, EngineFailed) for r in requests)
    engine.broken = False
    assert list(engine.submit(ask("b", (3, 4, 5), greedy()))) == reference(llama, (3, 4, 5), 8)
    engine.close()


def test_kv_of_a_failed_request_is_not_reused(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    forward = Dying(llama)
    engine = make_slots(forward=forward)
    forward.dying = False
    request = engine.submit(ask("a", tuple(range(20, 50)), greedy(90), scope=KvScope(1, 1), stop_ids=FOREVER))
    reader = iter(request)
    next(reader)
    forward.dying = True
    assert list(reader) is not None and request.finish is not None and request.finish.failure is not None
    forward.dying = False
    assert answer(engine, range(20, 50), KvScope(1, 1)).cached_tokens == 0
