"""The engine answers each request exactly as if it were alone, and no request can hurt another."""

from __future__ import annotations

import threading
import time
from collections.abc import Callable
from typing import Any

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from transformers import PreTrainedModel

from core.errors import DeadlineExceeded, EngineFailed, PromptTooLong
from core.values import FinishReason, SamplingParams
from tests.workers.tiny import make_model
from workers.engine.batch import BatchEngine
from workers.engine.request import EngineRequest, Request

MakeEngine = Callable[..., BatchEngine]
EOS = frozenset({2})
WAIT_S = 20.0


def greedy(max_new_tokens: int = 8) -> SamplingParams:
    return SamplingParams(temperature=0, max_new_tokens=max_new_tokens)


def ask(name: str, token_ids: tuple[int, ...], params: SamplingParams, **options: Any) -> EngineRequest:
    return EngineRequest(name, token_ids, params, stop_ids=options.pop("stop_ids", EOS), **options)


def reference(model: PreTrainedModel, token_ids: tuple[int, ...], max_new_tokens: int) -> list[int]:
    """What transformers itself generates."""
    ids = torch.tensor([token_ids])
    out = model.generate(
        ids, attention_mask=torch.ones_like(ids), max_new_tokens=max_new_tokens, do_sample=False, eos_token_id=2
    )
    new = out[0, len(token_ids) :].tolist()
    return new[:-1] if new and new[-1] == 2 else new


prompts = st.lists(st.integers(3, 250), min_size=1, max_size=30).map(tuple)


@settings(max_examples=15, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(
    asked=st.lists(
        st.tuples(prompts, st.integers(1, 12), st.integers(0, 3), st.none() | st.integers(0, 6)), min_size=1, max_size=7
    )
)
def test_greedy_equals_transformers_under_random_arrival_and_cancellation(
    model: PreTrainedModel, engines: dict[int, BatchEngine], asked: list[tuple[tuple[int, ...], int, int, int | None]]
) -> None:
    """Each request waits for `after` tokens of the one before it, and is perhaps cancelled after `cancel` tokens."""
    engine = engines.setdefault(id(model), BatchEngine(model, max_batch_size=4, context_tokens=128))
    results: dict[int, tuple[list[int], Request]] = {}
    threads = []
    for index, (token_ids, length, after, cancel) in enumerate(asked):
        request = engine.submit(ask(f"{index}", token_ids, greedy(length)))
        arrived = threading.Event()
        thread = threading.Thread(target=read, args=(engine, request, cancel, after, arrived, results, index))
        thread.start()
        threads.append(thread)
        assert arrived.wait(WAIT_S)
    for thread in threads:
        thread.join(WAIT_S)
    for index, (token_ids, length, _, cancel) in enumerate(asked):
        got, request = results[index]
        expected = reference(model, token_ids, length)
        assert request.finish is not None
        if request.finish.reason is FinishReason.CANCELLED:
            assert cancel is not None and got == expected[: len(got)]
        else:
            assert got == expected
            assert request.finish.reason is (FinishReason.LENGTH if len(got) == length else FinishReason.STOP)


def read(
    engine: BatchEngine,
    request: Request,
    cancel: int | None,
    after: int,
    arrived: threading.Event,
    results: dict[int, tuple[list[int], Request]],
    index: int,
) -> None:
    got = []
    if cancel == 0:
        engine.cancel(request.asked.request_id)
    if after == 0:
        arrived.set()
    for token_id in request:
        got.append(token_id)
        if len(got) == cancel:
            engine.cancel(request.asked.request_id)
        if len(got) == after:
            arrived.set()
    arrived.set()
    results[index] = (got, request)


@pytest.fixture(scope="module")
def engines() -> Any:
    made: dict[int, BatchEngine] = {}
    yield made
    for engine in made.values():
        engine.close()


def test_a_seed_reproduces_the_answer_whatever_else_runs(llama: PreTrainedModel, make_engine: MakeEngine) -> None:
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


class Refusing(torch.nn.Module):
    """An embedding that raises for one id, or returns NaN for another."""

    RAISES, NAN = 77, 78

    def __init__(self, embedding: torch.nn.Module) -> None:
        super().__init__()
        self.embedding = embedding
        self.once_for_many = False

    def forward(self, ids: torch.Tensor) -> torch.Tensor:
        if (ids == self.RAISES).any():
            raise RuntimeError("this id cannot be embedded")
        out: torch.Tensor = self.embedding(ids)
        return out.masked_fill((ids == self.NAN).unsqueeze(-1), torch.nan)


def test_a_prompt_whose_prefill_raises_fails_alone(make_engine: MakeEngine) -> None:
    model, engine = refusing(make_engine)
    good = engine.submit(ask("good", (3, 4, 5), greedy(12)))
    for name, bad_id in (("raises", Refusing.RAISES), ("nan", Refusing.NAN)):
        bad = engine.submit(ask(name, (3, bad_id), greedy()))
        assert list(bad) == []
        assert bad.finish is not None
        assert isinstance(bad.finish.failure, EngineFailed)
    assert list(good) == reference(model, (3, 4, 5), 12)


def test_a_step_that_raises_ends_only_the_row_to_blame(make_engine: MakeEngine) -> None:
    model, engine = refusing(make_engine)
    answers = {start: reference(model, (start, 4, 5), 12) for start in range(3, 40)}
    guilty = next(start for start, answer in answers.items() if len(answer) > 4)
    innocent = [s for s, answer in answers.items() if len(answer) > 4 and answers[guilty][2] not in answer][:2]
    Refusing.RAISES = answers[guilty][2]
    requests = {s: engine.submit(ask(f"{s}", (s, 4, 5), greedy(12))) for s in (innocent[0], guilty, innocent[1])}
    got = {s: list(request) for s, request in requests.items()}
    assert [got[s] for s in innocent] == [answers[s] for s in innocent]
    assert got[guilty] == answers[guilty][:3]
    finish = requests[guilty].finish
    assert finish is not None
    assert finish.reason is FinishReason.ERROR
    assert isinstance(finish.failure, EngineFailed)


def refusing(make_engine: MakeEngine) -> tuple[PreTrainedModel, BatchEngine]:
    model = make_model()
    model.set_input_embeddings(Refusing(model.get_input_embeddings()))
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


def test_a_deadline_ends_a_request_that_runs_or_waits(llama: PreTrainedModel, make_engine: MakeEngine) -> None:
    engine = make_engine(llama, 1)
    past = time.monotonic() - 1
    running = engine.submit(ask("long", (3, 4), greedy(100), stop_ids=frozenset()))
    late = engine.submit(ask("late", (3, 4), greedy(), deadline=past))
    assert list(late) == []
    assert late.finish is not None and isinstance(late.finish.failure, DeadlineExceeded)
    assert len(list(running)) == 100


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
