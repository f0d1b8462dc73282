"""Every engine answers each request exactly as if it were alone, and no request can hurt another."""

from __future__ import annotations

import time
from collections.abc import Callable

import pytest
import torch
from transformers import PreTrainedModel

from core.errors import DeadlineExceeded, EngineFailed, PromptTooLong
from core.values import FinishReason, SamplingParams
from tests.workers.asking import WAIT_S, ask, greedy, reference
from tests.workers.tiny import make_model
from workers.engine.loop import EngineLoop

MakeEngine = Callable[..., EngineLoop]


def test_a_seed_reproduces_the_answer_whatever_else_runs(
    llama: PreTrainedModel, make_engine: MakeEngine, engine_kind: str
) -> None:
    if engine_kind == "managed":
        pytest.skip("transformers' manager has no seed and no repetition penalty of a request's own")
    engine = make_engine(llama, 8)
    params = SamplingParams(temperature=1.0, top_p=0.95, top_k=40, repetition_penalty=1.2, seed=11, max_new_tokens=20)
    alone = list(engine.submit(ask("alone", (5, 6, 7), params)))
    crowd = [
        engine.submit(ask(f"{i}", tuple(range(3, 10 + 5 * i)), params.model_copy(update={"seed": i, "top_k": 10 * i})))
        for i in range(5)
    ]
    again = list(engine.submit(ask("again", (5, 6, 7), params)))
    assert alone == again
    assert len({tuple(request) for request in crowd}) == len(crowd)


def test_more_requests_than_slots_are_all_answered(llama: PreTrainedModel, make_engine: MakeEngine) -> None:
    engine = make_engine(llama, 2)
    requests = [engine.submit(ask(f"{i}", (3 + i, 4, 5), greedy(6))) for i in range(7)]
    assert [list(r) for r in requests] == [reference(llama, (3 + i, 4, 5), 6) for i in range(7)]


@pytest.mark.parametrize(
    ("token_ids", "error"),
    [((), EngineFailed), ((3, 100_000), EngineFailed), ((3, -1), EngineFailed), (tuple(range(3, 125)), PromptTooLong)],
)
def test_a_bad_prompt_is_refused_alone(
    llama: PreTrainedModel, make_engine: MakeEngine, token_ids: tuple[int, ...], error: type[Exception]
) -> None:
    engine = make_engine(llama)
    good = engine.submit(ask("good", (3, 4, 5), greedy()))
    with pytest.raises(error):
        engine.submit(ask("bad", token_ids, greedy()))
    assert list(good) == reference(llama, (3, 4, 5), 8)


@pytest.mark.parametrize(
    "wrong",
    [
        {"temperature": float("nan")},
        {"temperature": float("inf")},
        {"temperature": -1},
        {"top_p": 0.0},
        {"top_p": float("nan")},
        {"top_k": -1},
        {"repetition_penalty": 0.0},
        {"max_new_tokens": 0},
        {"max_new_tokens": 10**12},
        {"stop": ("x",) * 100},
    ],
)
def test_wrong_parameters_are_refused_alone(
    llama: PreTrainedModel, make_engine: MakeEngine, wrong: dict[str, float]
) -> None:
    engine = make_engine(llama)
    good = engine.submit(ask("good", (3, 4, 5), greedy()))
    with pytest.raises((EngineFailed, PromptTooLong)):
        engine.submit(ask("bad", (3, 4, 5), greedy().model_copy(update=wrong)))
    assert list(good) == reference(llama, (3, 4, 5), 8)


@pytest.fixture
def _fails_alone(engine_kind: str) -> None:
    if engine_kind == "managed":
        pytest.skip("what fails in transformers' manager fails all that it runs: test_managed_engine.py")


class Refusing(torch.nn.Module):
    """An embedding that raises for one id, or returns NaN for another."""

    RAISES, NAN = 77, 78

    def __init__(self, embedding: torch.nn.Module, error: Exception | None = None) -> None:
        super().__init__()
        self.embedding = embedding
        self.raises = self.RAISES
        self.error = error or RuntimeError("this id cannot be embedded")

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        if (ids == self.raises).any():
            raise self.error
        out: torch.Tensor = self.embedding(ids)
        return out.masked_fill((ids == self.NAN).unsqueeze(-1), torch.nan)


@pytest.mark.usefixtures("_fails_alone")
def test_a_prompt_whose_prefill_raises_fails_alone(make_engine: MakeEngine) -> None:
    model, engine = refusing(make_engine)
    good = engine.submit(ask("good", (3, 4, 5), greedy(12)))
    for name, bad_id in (("raises", Refusing.RAISES), ("nan", Refusing.NAN)):
        bad = engine.submit(ask(name, (3, bad_id), greedy()))
        assert list(bad) == []
        assert bad.finish is not None
        assert isinstance(bad.finish.failure, EngineFailed)
    assert list(good) == reference(model, (3, 4, 5), 12)


@pytest.mark.usefixtures("_fails_alone")
def test_a_step_that_raises_ends_only_the_row_to_blame(make_engine: MakeEngine) -> None:
    model, engine = refusing(make_engine)
    answers = {start: reference(model, (start, 4, 5), 12) for start in range(3, 40)}
    guilty = next(start for start, answer in answers.items() if len(answer) > 4)
    innocent = [s for s, answer in answers.items() if len(answer) > 4 and answers[guilty][2] not in answer][:2]
    model.get_input_embeddings().raises = answers[guilty][2]  # type: ignore[assignment]
    requests = {s: engine.submit(ask(f"{s}", (s, 4, 5), greedy(12))) for s in (innocent[0], guilty, innocent[1])}
    got = {s: list(request) for s, request in requests.items()}
    assert [got[s] for s in innocent] == [answers[s] for s in innocent]
    assert got[guilty] == answers[guilty][:3]
    finish = requests[guilty].finish
    assert finish is not None
    assert finish.reason is FinishReason.ERROR
    assert isinstance(finish.failure, EngineFailed)


def test_a_lack_of_memory_is_told_and_the_next_one_is_answered(make_engine: MakeEngine) -> None:
    model, engine = refusing(make_engine, torch.OutOfMemoryError("there is none"))
    for _ in range(2):
        large = engine.submit(ask("large", (3, Refusing.RAISES), greedy()))
        assert list(large) == []
        assert large.finish is not None
        assert isinstance(large.finish.failure, EngineFailed) and "there is none" in str(large.finish.failure)
        assert list(engine.submit(ask("next", (3, 4, 5), greedy(12)))) == reference(model, (3, 4, 5), 12)


def refusing(make_engine: MakeEngine, error: Exception | None = None) -> tuple[PreTrainedModel, EngineLoop]:
    model = make_model()
    model.set_input_embeddings(Refusing(model.get_input_embeddings(), error))
    return model, make_engine(model)


def test_cancel_takes_effect_within_one_step(llama: PreTrainedModel, make_engine: MakeEngine) -> None:
    engine = make_engine(llama)
    request = engine.submit(ask("long", (3, 4, 5), greedy(120), stop_ids=frozenset()))
    reader = iter(request)
    next(reader)
    engine.cancel("long")
    made = request._out.qsize()  # not read yet
    rest = list(reader)
    assert request.finish is not None and request.finish.reason is FinishReason.CANCELLED
    assert len(rest) <= made + 2


def test_a_deadline_ends_a_request_that_waits(llama: PreTrainedModel, make_engine: MakeEngine) -> None:
    engine = make_engine(llama, 1)
    past = time.monotonic() - 1
    running = engine.submit(ask("long", (3, 4), greedy(100), stop_ids=frozenset()))
    late = engine.submit(ask("late", (3, 4), greedy(), deadline=past))
    assert list(late) == []
    assert late.finish is not None and isinstance(late.finish.failure, DeadlineExceeded)
    assert len(list(running)) == 100


class Slow(torch.nn.Module):
    """An embedding that returns no sooner than at a moment."""

    moment = 0.0

    def __init__(self, embedding: torch.nn.Module) -> None:
        super().__init__()
        self.embedding = embedding

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        time.sleep(max(0.0, self.moment - time.monotonic()))
        out: torch.Tensor = self.embedding(ids)
        return out


def test_a_deadline_ends_a_request_that_runs(make_engine: MakeEngine) -> None:
    model = make_model()
    model.set_input_embeddings(Slow(model.get_input_embeddings()))
    engine = make_engine(model)
    assert len(list(engine.submit(ask("first", (3, 4), greedy(1))))) == 1  # it is warm now
    Slow.moment = time.monotonic() + 1
    request = engine.submit(ask("long", (3, 4), greedy(100), stop_ids=frozenset(), deadline=Slow.moment))
    assert 0 < len(list(request)) < 100
    assert request.finish is not None and isinstance(request.finish.failure, DeadlineExceeded)


def test_drain_lets_requests_end_and_takes_no_more(llama: PreTrainedModel, make_engine: MakeEngine) -> None:
    engine = make_engine(llama)
    request = engine.submit(ask("a", (3, 4, 5), greedy(20)))
    assert engine.drain(WAIT_S)
    assert list(request) == reference(llama, (3, 4, 5), 20)
    with pytest.raises(EngineFailed):
        engine.submit(ask("b", (3, 4, 5), greedy()))


def test_drain_cancels_what_does_not_end_in_time(llama: PreTrainedModel, make_engine: MakeEngine) -> None:
    engine = make_engine(llama)
    request = engine.submit(ask("a", (3, 4, 5), greedy(120), stop_ids=frozenset()))
    assert not engine.drain(0.0)
    assert len(list(request)) < 120
    assert request.finish is not None and request.finish.reason is FinishReason.CANCELLED


def test_stats_count_running_and_waiting(llama: PreTrainedModel, make_engine: MakeEngine) -> None:
    engine = make_engine(llama, 1)
    requests = [engine.submit(ask(f"{i}", (3, 4), greedy(100), stop_ids=frozenset())) for i in range(2)]
    reader = iter(requests[0])
    next(reader)
    stats = engine.stats()
    assert (stats.max_batch_size, stats.running, stats.waiting) == (1, 1, 1)
    assert sum(1 for r in (reader, requests[1]) for _ in r) == 199
    ended = engine.stats()
    assert (ended.running, ended.waiting) == (0, 0)
    assert ended.tokens_per_s >= 19
