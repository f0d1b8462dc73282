"""transformers' manager as an Engine: what it does badly is made good, and what it cannot do is said."""

from __future__ import annotations

from collections.abc import Callable, Iterator

import pytest
from transformers import PreTrainedModel

from core.errors import EngineFailed, ModelUnavailable
from core.settings import Settings
from core.values import FinishReason, SamplingParams
from tests.workers.asking import WAIT_S, ask, greedy, reference
from tests.workers.conftest import build_engine
from tests.workers.test_engine import Refusing
from tests.workers.tiny import CONTEXT, VOCABULARY, make_model
from workers.engine.loop import EngineLoop
from workers.engine.managed import ManagedEngine
from workers.loading import load_generator


@pytest.fixture
def engines() -> Iterator[list[EngineLoop]]:
    made: list[EngineLoop] = []
    yield made
    for engine in made:
        engine.close()


@pytest.fixture
def make(engines: list[EngineLoop]) -> Callable[..., EngineLoop]:
    def make(model: PreTrainedModel, max_batch_size: int = 4, **options: int) -> EngineLoop:
        options = {"context_tokens": CONTEXT} | options
        engines.append(ManagedEngine(model, max_batch_size=max_batch_size, **options))
        return engines[-1]

    return make


def refusing() -> PreTrainedModel:
    model = make_model()
    model.set_input_embeddings(Refusing(model.get_input_embeddings()))
    return model


def failure_of(request: object) -> Exception | None:
    finish = request.finish  # type: ignore[attr-defined]
    assert finish is not None
    return finish.failure  # type: ignore[no-any-return]


@pytest.mark.parametrize("bad_id", [Refusing.RAISES, Refusing.NAN])
def test_where_its_thread_dies_all_that_it_runs_fail_and_the_others_are_answered(
    make: Callable[..., EngineLoop], bad_id: int
) -> None:
    engine = make(refusing(), 2)
    running = engine.submit(ask("running", (3, 4, 5), greedy(120), stop_ids=frozenset()))
    reader = iter(running)
    next(reader)
    bad = engine.submit(ask("bad", (3, bad_id), SamplingParams(max_new_tokens=3)))
    waiting = engine.submit(ask("waiting", (3, 4, 5), greedy(12)))
    assert len(list(reader)) < 119
    assert list(bad) == []
    assert isinstance(failure_of(running), EngineFailed) and isinstance(failure_of(bad), EngineFailed)
    expected = reference(make_model(), (3, 4, 5), 12)
    assert list(waiting) == expected
    assert list(engine.submit(ask("running", (3, 4, 5), greedy(12)))) == expected


def test_where_no_other_manager_can_be_begun_who_waits_is_told_and_the_next_one_tries_again(
    make: Callable[..., EngineLoop],
) -> None:
    model = refusing()
    engine = make(model, 1)
    model.get_input_embeddings().raises = 3  # which the probes say too
    bad, waiting = (engine.submit(ask(name, (3, 4), greedy())) for name in ("bad", "waiting"))
    assert list(bad) == list(waiting) == []
    assert isinstance(failure_of(bad), EngineFailed) and isinstance(failure_of(waiting), EngineFailed)
    model.get_input_embeddings().raises = Refusing.RAISES
    assert list(engine.submit(ask("later", (3, 4, 5), greedy(12)))) == reference(make_model(), (3, 4, 5), 12)
    assert engine.drain(WAIT_S)


def test_what_it_cannot_do_is_refused_at_the_beginning(make: Callable[..., EngineLoop], model_folder: object) -> None:
    engine = make(make_model())
    with pytest.raises(EngineFailed, match="the penalty has to be 1"):
        engine.submit(ask("a", (3, 4), SamplingParams(repetition_penalty=1.1, max_new_tokens=8)))
    with pytest.raises(ModelUnavailable, match="set PAJAMA_REPETITION_PENALTY=1"):
        load_generator(Settings(model=str(model_folder), engine="transformers", device="cpu"))


@pytest.mark.parametrize("wrong", [{"temperature": 1e-30}, {"temperature": 1}, {"top_k": 10**6}, {"top_p": 1e-9}])
def test_whatever_the_settings_allow_is_sampled(make: Callable[..., EngineLoop], wrong: dict[str, float]) -> None:
    engine = make(make_model())
    beside = engine.submit(ask("beside", (3, 4, 5), greedy(20)))
    params = SamplingParams(max_new_tokens=20, temperature=1.0).model_copy(update=wrong)
    sampled = list(engine.submit(ask("sampled", (3, 4, 5), params)))
    assert all(0 <= i < VOCABULARY for i in sampled)
    greediest = reference(make_model(), (3, 4, 5), 20)
    assert list(beside) == greediest
    assert (sampled == greediest) is (params.temperature < 1 or params.top_p < 0.1)


def test_more_than_its_memory_holds_is_answered_all_the_same(
    make: Callable[..., EngineLoop], llama: PreTrainedModel
) -> None:
    engine = make(make_model(), 64, kv_memory_mib=1)  # 4096 tokens; the requests become more
    prompts = [tuple(range(3 + i, 23 + i)) for i in range(48)]
    requests = [engine.submit(ask(f"{i}", p, greedy(100), stop_ids=frozenset())) for i, p in enumerate(prompts)]
    first = list(requests[0])
    assert [len(list(request)) for request in requests[1:]] == [100] * 47
    assert {r.finish.reason for r in requests if r.finish} == {FinishReason.LENGTH}
    known = reference(llama, prompts[0], 100)
    assert first[: len(known)] == known


def test_a_request_is_never_longer_than_its_memory(make: Callable[..., EngineLoop]) -> None:
    engine = make(make_model(), 2, context_tokens=100_000, kv_memory_mib=1)
    assert engine.context_tokens == 4096


def test_models_without_the_attention_interface_are_refused() -> None:
    with pytest.raises(ModelUnavailable, match="transformers' manager"):
        build_engine("managed", make_model("bloom"), 2)


@pytest.mark.parametrize("kind", ["gemma", "mistral", "qwen2", "qwen3"])
def test_other_models_say_what_transformers_says(kind: str, engines: list[EngineLoop]) -> None:
    model = make_model(kind)
    engines.append(build_engine("managed", model, 4))
    prompts = [tuple(range(3, 3 + length)) for length in (1, 9, 30)]
    requests = [engines[0].submit(ask(str(len(p)), p, greedy(12))) for p in prompts]
    assert [list(request) for request in requests] == [reference(model, p, 12) for p in prompts]
