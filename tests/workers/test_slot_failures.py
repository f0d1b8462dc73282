"""What the engine on slots does with a model that raises, and with too little memory."""

from __future__ import annotations

from collections.abc import Sequence
from typing import Any

import torch
from structlog.testing import capture_logs
from torch import Tensor
from transformers import PreTrainedModel

from core.errors import EngineFailed
from tests.workers.asking import FOREVER, MakeSlots, answer, ask, greedy, reference
from tests.workers.tiny import CONTEXT
from workers.engine.attention import Piece
from workers.engine.request import KvScope
from workers.engine.slot_forward import SlotForward
from workers.engine.slots import SlotEngine


class Scarce(SlotForward):
    """A model with too little memory for more than one request at a time."""

    def __call__(self, pieces: Sequence[Piece]) -> Tensor:
        if len(pieces) > 1:
            raise torch.OutOfMemoryError("there is none")
        return super().__call__(pieces)


def test_too_little_memory_makes_the_batch_smaller(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    engine = make_slots(forward=Scarce(llama))
    with capture_logs() as logs:
        requests = [engine.submit(ask(f"{i}", (3 + i, 4, 5), greedy(6))) for i in range(6)]
        assert [list(request) for request in requests] == [reference(llama, (3 + i, 4, 5), 6) for i in range(6)]
    assert any(line.get("action") == "batch_shrunk" and line["max_batch_size"] == 1 for line in logs)


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
