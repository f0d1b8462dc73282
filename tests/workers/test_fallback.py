"""What cannot run on slots is answered as transformers itself would, and says that it is slower."""

from __future__ import annotations

import copy
import time
from collections.abc import Callable, Iterator
from typing import Any

import pytest
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from transformers import PreTrainedModel

from core.errors import DeadlineExceeded, EngineFailed, ModelUnavailable, PromptTooLong
from core.values import FinishReason
from tests.workers.asking import Asked, answered_as, ask, greedy, reference
from tests.workers.tiny import CONTEXT, ODD, make_model, make_odd_model
from workers.engine.apart import Alone, ApartForward
from workers.engine.batch import BatchEngine
from workers.engine.choice import make_engine, plain_forward
from workers.engine.forward import ModelForward
from workers.engine.loop import is_memory

FOREVER = frozenset[int]()
APART = {"mamba", "mamba2", "bamba", "jamba", "rwkv", "openai-gpt", "longrope", "dynamic"}
prompts = st.lists(st.integers(3, 250), min_size=1, max_size=40).map(tuple)
asked = st.builds(Asked, prompts, st.integers(1, 24), st.integers(0, 3), st.none() | st.integers(0, 6))
Make = Callable[..., BatchEngine]


@pytest.fixture
def make() -> Iterator[Make]:
    """Makes plain engines that are closed when the test ends."""
    engines: list[BatchEngine] = []

    def make(forward: ModelForward | ApartForward, **sizes: int) -> BatchEngine:
        engines.append(BatchEngine(forward, **{"max_batch_size": 4, "context_tokens": CONTEXT} | sizes))
        return engines[-1]

    yield make
    for engine in engines:
        engine.close()


def said(model: PreTrainedModel, one: Asked) -> list[int]:
    """What `generate` says with a model that has said nothing yet: some keep the longest length that they have seen."""
    return reference(copy.deepcopy(model), one.token_ids, one.max_new_tokens)


@pytest.mark.parametrize("kind", ODD)
def test_a_model_that_runs_on_no_slots_is_answered_as_by_generate(kind: str) -> None:
    model = make_odd_model(kind)
    with capture_logs() as logs:
        engine = make_engine(copy.deepcopy(model), max_batch_size=4, context_tokens=CONTEXT)
    told = {line["action"] for line in logs}
    assert "engine_plain" in told and ("engine_apart" in told) == (kind in APART)
    lengths = (2, 45, 24, 4, 31, 12)
    try:
        answered_as(lambda one: said(model, one), engine, [Asked(tuple(range(3, 3 + n)), 24, after=1) for n in lengths])
    finally:
        engine.close()


@pytest.mark.parametrize("kind", ["bamba", "longrope", "dynamic"])
def test_what_comes_and_goes_changes_nobody_elses_answer(kind: str) -> None:
    model = make_odd_model(kind)
    engine = BatchEngine(ApartForward(copy.deepcopy(model)), max_batch_size=3, context_tokens=CONTEXT)

    @settings(max_examples=8, deadline=None)
    @given(asked=st.lists(asked, min_size=1, max_size=5))
    def check(asked: list[Asked]) -> None:
        answered_as(lambda one: said(model, one), engine, asked)

    try:
        check()
    finally:
        engine.close()


def test_an_answer_of_a_model_without_keys_and_values_can_be_stopped_and_be_late(make: Make) -> None:
    model = make_odd_model("mamba")
    engine = make(ApartForward(model), context_tokens=10**6)
    good = engine.submit(ask("good", (3, 4, 5), greedy(20), stop_ids=FOREVER))
    stopped = engine.submit(ask("stopped", (5, 6, 7), greedy(4096), stop_ids=FOREVER))
    late = engine.submit(ask("late", (8, 9), greedy(4096), stop_ids=FOREVER, deadline=time.monotonic() + 0.3))
    next(iter(stopped))
    engine.cancel("stopped")
    assert len(list(stopped)) < 4096 and len(list(late)) < 4096
    assert stopped.finish is not None and stopped.finish.reason is FinishReason.CANCELLED
    assert late.finish is not None and isinstance(late.finish.failure, DeadlineExceeded)
    assert len(list(good)) == 20


def test_a_model_that_says_something_else_in_steps_is_refused() -> None:
    class Forgetful(ApartForward):
        def step(self, row: Alone) -> torch.Tensor:
            return self._run(row.ids[-1:], {})[0]

    with pytest.raises(ModelUnavailable, match="something else in steps"):
        Forgetful(make_odd_model("mamba"))


def test_a_model_that_is_wrong_in_a_padded_batch_is_run_row_by_row() -> None:
    class Blind(torch.nn.Module):
        """A layer that says the number of columns of the batch."""

        def __init__(self, layer: Any) -> None:
            super().__init__()
            self.layer = layer

        def forward(self, x: torch.Tensor, **options: Any) -> Any:
            out = self.layer(x, **options)
            return out + options["past_key_values"].get_seq_length()

    model = make_model()
    model.model.layers[1] = Blind(model.model.layers[1])
    with capture_logs() as logs:
        assert isinstance(plain_forward(model), ApartForward)
    assert "padded batch" in logs[-1]["reason"]


# A lack of memory


class Scarce(ModelForward):
    """Memory for so many rows; whoever asks for more gets torch's own error."""

    def __init__(self, model: PreTrainedModel, error: Exception, rows: int = 8) -> None:
        self.rows, self.most, self.error = rows, 0, error
        super().__init__(model)

    def __call__(self, ids: torch.Tensor, cache: Any, mask: torch.Tensor | None = None) -> torch.Tensor:
        if len(ids) > self.rows:
            raise self.error
        self.most = max(self.most, len(ids))
        return super().__call__(ids, cache, mask)


def of_cpu() -> Exception:
    """What torch raises where a CPU has no memory."""
    with pytest.raises(RuntimeError) as raised:
        torch.empty(1 << 60, dtype=torch.uint8)
    return raised.value


def test_a_lack_of_memory_is_known_by_its_kind_or_its_words() -> None:
    assert all(map(is_memory, (of_cpu(), MemoryError(), torch.OutOfMemoryError("there is none"))))
    assert not is_memory(RuntimeError("shapes do not fit"))


@pytest.mark.parametrize("error", [torch.OutOfMemoryError("there is none"), of_cpu()], ids=["cuda", "cpu"])
def test_memory_that_only_the_whole_batch_lacks_fails_nobody(
    llama: PreTrainedModel, make: Make, monkeypatch: pytest.MonkeyPatch, error: Exception
) -> None:
    forward = Scarce(llama, error, rows=2)
    engine = make(forward)
    asked = {f"{i}": (3 + i, 4, 5) for i in range(4)}
    requests = {name: engine.submit(ask(name, ids, greedy(12))) for name, ids in asked.items()}
    assert {name: list(request) for name, request in requests.items()} == {
        name: reference(llama, ids, 12) for name, ids in asked.items()
    }
    assert engine.stats().preemptions > 0 and engine.stats().max_batch_size == forward.most == 2
    forward.rows = 8
    monkeypatch.setattr("workers.engine.batch._GOOD_STEPS", 4)
    assert len(list(engine.submit(ask("longer", (3, 4, 5), greedy(20), stop_ids=FOREVER)))) == 20
    assert engine.stats().max_batch_size == 4


def test_a_seed_is_kept_over_a_lack_of_memory(llama: PreTrainedModel, make: Make) -> None:
    params = greedy(20).model_copy(update={"temperature": 1.0, "repetition_penalty": 1.2, "seed": 5})
    alone = list(make(ModelForward(llama)).submit(ask("alone", (3, 4, 5), params)))
    engine = make(Scarce(llama, torch.OutOfMemoryError(), rows=1))
    crowd = [engine.submit(ask(f"{i}", (3, 4, 5), params)) for i in range(3)]
    assert [list(request) for request in crowd] == [alone] * 3


def test_a_prompt_for_which_there_is_no_memory_beside_others_waits_for_them(llama: PreTrainedModel, make: Make) -> None:
    class Crowded(ModelForward):
        def prefill(self, token_ids: tuple[int, ...]) -> Any:
            if engines and engines[0]._batch.rows:
                raise torch.OutOfMemoryError
            return super().prefill(token_ids)

    engines = list[BatchEngine]()
    engines.append(make(Crowded(llama)))
    requests = [engines[0].submit(ask(f"{i}", (3 + i, 4, 5), greedy(12))) for i in range(3)]
    assert [list(request) for request in requests] == [reference(llama, (3 + i, 4, 5), 12) for i in range(3)]


def test_rows_apart_are_begun_anew_after_a_lack_of_memory(make: Make) -> None:
    class Once(ApartForward):
        steps = 0

        def step(self, row: Alone) -> torch.Tensor:
            self.steps += 1
            if self.steps == 9:
                super().step(row)  # half done: its state cannot be used any more
                raise torch.OutOfMemoryError
            return super().step(row)

    model = make_odd_model("bamba")
    engine, asked = make(Once(copy.deepcopy(model))), [(3, 4, 5), (6, 7), (8, 9, 10, 11)]
    requests = [engine.submit(ask(f"{i}", ids, greedy(12))) for i, ids in enumerate(asked)]
    assert [list(request) for request in requests] == [reference(model, ids, 12) for ids in asked]
    assert engine.stats().preemptions > 0


def test_a_row_apart_that_raises_fails_alone(make: Make) -> None:
    class Refusing(ApartForward):
        def step(self, row: Alone) -> torch.Tensor:
            if row.ids[0] == 77 and len(row.ids) == 6:
                super().step(row)
                raise RuntimeError("this row cannot be run")
            return super().step(row)

    model = make_odd_model("bamba")
    engine, asked = make(Refusing(copy.deepcopy(model))), [(3, 4, 5), (77, 7), (8, 9, 10, 11)]
    requests = [engine.submit(ask(f"{i}", ids, greedy(12), stop_ids=FOREVER)) for i, ids in enumerate(asked)]
    got = [list(request) for request in requests]
    assert [len(tokens) for tokens in got] == [12, 4, 12]
    assert (
        got[0][: len(r := reference(model, asked[0], 12))] == r
        and got[2][: len(r := reference(model, asked[2], 12))] == r
    )
    assert requests[1].finish is not None and isinstance(requests[1].finish.failure, EngineFailed)


def test_the_batch_stays_within_the_memory_for_its_keys_and_values(llama: PreTrainedModel, make: Make) -> None:
    forward = Scarce(llama, AssertionError("more rows than fit"))
    engine = make(forward, kv_tokens=100)
    with pytest.raises(PromptTooLong):
        engine.submit(ask("long", tuple(range(3, 93)), greedy(11)))
    answered_as(
        lambda one: reference(llama, one.token_ids, one.max_new_tokens),
        engine,
        [Asked(tuple(range(3, 3 + n)), 20) for n in (20, 25, 5, 70, 10)],
    )
    assert forward.most == 2


def test_the_memory_given_bounds_the_plain_engine_too() -> None:
    engine = make_engine(make_model("bloom"), max_batch_size=64, context_tokens=5000, kv_memory_mib=1)
    engine.close()
    assert engine.context_tokens == (1 << 20) // 512  # 2 layers x (keys + values) x 4 heads x 8 x 4 bytes
