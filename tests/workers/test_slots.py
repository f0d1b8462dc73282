"""The engine on slots: every family as transformers itself would, whatever is shared, taken away or cancelled between."""

from __future__ import annotations

import copy
import random
import threading
import time
from collections.abc import Iterator, Sequence

import pytest
import torch
from hypothesis import HealthCheck, given, settings
from hypothesis import strategies as st
from structlog.testing import capture_logs
from torch import Tensor
from transformers import PreTrainedModel

from core.errors import ModelUnavailable, PromptTooLong
from core.values import FinishReason, SamplingParams
from tests.workers.asking import (
    FOREVER,
    SYSTEM,
    WAIT_S,
    Asked,
    Free,
    MakeSlots,
    answer,
    answered_as,
    answered_as_transformers_does,
    ask,
    greedy,
    reference,
)
from tests.workers.tiny import CONTEXT, make_counting_model, make_model
from workers.engine.attention import Piece
from workers.engine.batch import BatchEngine
from workers.engine.choice import make_engine
from workers.engine.lookup import Price
from workers.engine.request import KvScope, Request
from workers.engine.slot_forward import SlotForward
from workers.engine.slots import SlotEngine

FAMILIES = ("llama", "qwen2", "qwen3", "gemma", "gemma2", "mistral", "gpt_neox", "slimpajama")
ROOM_FOR_TWO = 112


@pytest.fixture(scope="module")
def families() -> Iterator[dict[str, tuple[PreTrainedModel, SlotEngine]]]:
    """Each family's model as it came, and an engine that guesses, whose pool is too small for four requests."""
    made = {}
    for kind in FAMILIES:
        model = make_model(kind)
        engine = SlotEngine(
            SlotForward(copy.deepcopy(model)),
            max_batch_size=4,
            context_tokens=CONTEXT,
            kv_tokens=ROOM_FOR_TWO,
            headroom_tokens=4,
            price=Free(),
        )
        made[kind] = (model, engine)
    yield made
    for _, engine in made.values():
        engine.close()


# Prompts are beginnings of one text, so that they share prefixes, with an end of their own.
prompts = st.tuples(
    st.integers(0, 40).map(lambda count: (*SYSTEM, *range(34, 90))[:count]),
    st.lists(st.integers(3, 250), min_size=1, max_size=12),
).map(lambda halves: (*halves[0], *halves[1]))
scopes = st.none() | st.builds(KvScope, st.integers(1, 2), st.integers(1, 4))
requests = st.lists(
    st.builds(Asked, prompts, st.integers(1, 40), st.integers(0, 3), st.none() | st.integers(0, 6), scopes),
    min_size=3,
    max_size=8,
)


@pytest.mark.parametrize("kind", FAMILIES)
@settings(max_examples=5, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=requests)
def test_greedy_equals_transformers_whatever_comes_goes_and_is_shared(
    families: dict[str, tuple[PreTrainedModel, SlotEngine]], kind: str, asked: list[Asked]
) -> None:
    model, engine = families[kind]
    answered_as_transformers_does(model, engine, asked)


def test_the_property_was_tried_under_preemption_reuse_and_guesses(
    families: dict[str, tuple[PreTrainedModel, SlotEngine]],
) -> None:
    model, engine = families["llama"]
    before = engine.stats()
    asked = [Asked((*SYSTEM, i), 60, scope=KvScope(1, i)) for i in range(5, 9)]
    answered_as_transformers_does(model, engine, asked)
    after = engine.stats()
    assert after.preemptions > before.preemptions
    assert after.cached_tokens > before.cached_tokens
    assert after.right_tokens > before.right_tokens


def test_the_model_still_answers_by_itself(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    for kind in ("llama", "gemma2"):
        model = make_model(kind)
        before = reference(model, tuple(range(5, 25)), 12)
        make_slots(model)
        assert reference(model, tuple(range(5, 25)), 12) == before


# Guesses

# A passage that is counted through, once or twice, then where to go on from. What comes after 258 is 0, and 2 is a stop.
copied = st.builds(
    lambda begin, length, times, at: tuple(
        i % 259 for i in (*range(begin, begin + length), *range(5, 10)) * times + (begin + at, begin + at + 1)
    ),
    st.integers(3, 258),
    st.integers(4, 30),
    st.integers(1, 2),
    st.integers(0, 8),
)
samplings = st.builds(
    SamplingParams,
    temperature=st.sampled_from([0.0, 2.0]),
    repetition_penalty=st.sampled_from([1.0, 1.3]),
    seed=st.integers(0, 9),
)
copies = st.lists(
    st.builds(Asked, copied, st.integers(1, 40), st.integers(0, 3), st.none() | st.integers(0, 6), scopes, samplings),
    min_size=2,
    max_size=6,
)


class Dear(Price):
    """Nothing is guessed."""

    def room(self, rows: int) -> int:
        return 0


@pytest.fixture(scope="module")
def counting() -> Iterator[dict[str, SlotEngine]]:
    """Two engines on a model that copies, with room for two of four requests: one guesses, the other does not."""
    engines = {
        name: SlotEngine(
            SlotForward(make_counting_model()),
            max_batch_size=4,
            context_tokens=CONTEXT,
            kv_tokens=ROOM_FOR_TWO,
            headroom_tokens=4,
            price=price,
        )
        for name, price in (("guessing", Free()), ("plain", Dear()))
    }
    yield engines
    for engine in engines.values():
        engine.close()


@settings(max_examples=40, deadline=None, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(asked=copies)
def test_guesses_change_no_token(counting: dict[str, SlotEngine], asked: list[Asked]) -> None:
    def alone(one: Asked) -> list[int]:
        return list(counting["plain"].submit(ask("alone", one.token_ids, one.params)))

    answered_as(alone, counting["guessing"], asked)


def test_most_of_a_copy_is_guessed(counting: dict[str, SlotEngine]) -> None:
    before = counting["guessing"].stats()
    answer = list(counting["guessing"].submit(ask("a", (*range(40, 90), 40, 41), greedy(48))))
    stats = counting["guessing"].stats()
    assert answer == list(range(42, 90))
    assert stats.completion_tokens - before.completion_tokens == 48
    assert stats.right_tokens - before.right_tokens > 35
    assert stats.steps - before.steps < 12
    assert counting["plain"].stats().guessed_tokens == 0


@pytest.mark.parametrize(("most", "reason"), [(50, FinishReason.STOP), (9, FinishReason.LENGTH)])
def test_an_answer_ends_inside_of_what_was_guessed(
    counting: dict[str, SlotEngine], most: int, reason: FinishReason
) -> None:
    passage = (*range(245, 259), 0, 1, 2, 3, 4, 5)
    request = counting["guessing"].submit(ask("a", (*passage, 9, 245, 246), greedy(most)))
    assert list(request) == [*range(247, 259), 0, 1][:most]
    assert request.finish is not None and request.finish.reason is reason


def test_what_was_guessed_is_kept_for_the_next_turn(counting: dict[str, SlotEngine]) -> None:
    said = (*range(40, 60), 40, 41)
    first = answer(counting["guessing"], said, KvScope(1, 7), 12)
    history = (*said, *first.got)  # type: ignore[attr-defined]
    second = answer(counting["guessing"], (*history, 9), KvScope(1, 7))
    assert second.cached_tokens >= len(history) - 1
    assert second.got == list(range(10, 18))  # type: ignore[attr-defined]


# Order and bounds


def test_a_prompt_beyond_the_pool_is_refused(make_slots: MakeSlots) -> None:
    engine = make_slots(kv_tokens=64)
    assert engine.context_tokens == 64
    with pytest.raises(PromptTooLong):
        engine.submit(ask("a", tuple(range(10, 70)), greedy(10)))
    assert len(answer(engine, range(10, 64), None, 10).got) == 10  # type: ignore[attr-defined]


def test_the_oldest_goes_on_when_there_is_no_room(make_slots: MakeSlots) -> None:
    engine = make_slots(kv_tokens=64, headroom_tokens=1)
    requests = [
        engine.submit(ask(f"{i}", tuple(range(10 + i, 20 + i)), greedy(50), stop_ids=FOREVER)) for i in range(4)
    ]
    ended: list[str] = []

    def read(request: Request) -> None:
        assert len(list(request)) == 50
        ended.append(request.asked.request_id)

    threads = [threading.Thread(target=read, args=(request,)) for request in requests]
    for thread in threads:
        thread.start()
    for thread in threads:
        thread.join(WAIT_S)
    assert ended == ["0", "1", "2", "3"]
    assert engine.stats().preemptions > 0


def test_a_preempted_request_can_be_cancelled(make_slots: MakeSlots) -> None:
    engine = make_slots(kv_tokens=64, headroom_tokens=1)
    old, young = (
        engine.submit(ask(name, tuple(range(10, 20)), greedy(50), stop_ids=FOREVER)) for name in ("old", "young")
    )
    give_up = time.monotonic() + WAIT_S
    while not engine.stats().preemptions:
        assert time.monotonic() < give_up
        time.sleep(0.001)
    engine.cancel("young")
    assert len(list(young)) < 50
    assert young.finish is not None and young.finish.reason is FinishReason.CANCELLED
    assert len(list(old)) == 50


def test_a_preempted_request_goes_on_with_its_random_stream(make_slots: MakeSlots) -> None:
    params = SamplingParams(temperature=1.0, seed=5, max_new_tokens=50)
    alone = list(make_slots().submit(ask("a", (5, 6, 7), params, stop_ids=FOREVER)))
    engine = make_slots(kv_tokens=64, headroom_tokens=1)
    others = engine.submit(ask("other", (8, 9), greedy(60), stop_ids=FOREVER))
    assert list(engine.submit(ask("a", (5, 6, 7), params, stop_ids=FOREVER))) == alone
    assert engine.stats().preemptions > 0
    assert len(list(others)) == 60


def test_many_that_come_and_go_leave_nothing_behind(make_slots: MakeSlots) -> None:
    engine, chance = make_slots(), random.Random(0)
    requests = []
    for i in range(200):
        token_ids = tuple(chance.randrange(3, 250) for _ in range(chance.randrange(1, 60)))
        scope = KvScope(1, chance.randrange(50))
        requests.append(engine.submit(ask(f"{i}", token_ids, greedy(chance.randrange(1, 8)), scope=scope)))
        if chance.random() < 0.3:
            engine.cancel(f"{i}")
    assert all(list(request) is not None for request in requests)
    engine.close()
    assert not (
        engine._open or engine._waiting or engine._rows or engine._parked or engine._unkept or engine._cancelled
    )
    assert engine._pool.free + engine._kept.tokens == engine._pool.tokens


class Watched(SlotForward):
    """A model that notes how many tokens of each request are run in a pass, and waits while it is held up."""

    def __init__(self, model: PreTrainedModel) -> None:
        super().__init__(model)
        self.passes: list[list[int]] = []
        self.may_go = threading.Event()
        self.may_go.set()

    def __call__(self, pieces: Sequence[Piece]) -> Tensor:
        assert self.may_go.wait(WAIT_S)
        self.passes.append([len(piece.token_ids) for piece in pieces])
        return super().__call__(pieces)


def test_a_long_prompt_goes_in_beside_the_others_tokens_in_chunks(
    llama: PreTrainedModel, make_slots: MakeSlots
) -> None:
    forward, prompt = Watched(llama), tuple(range(20, 120))
    engine = make_slots(forward=forward, price=Dear())
    first = engine.submit(ask("first", (3, 4, 5), greedy(60), stop_ids=FOREVER))
    reader = iter(first)
    next(reader)
    forward.may_go.clear()
    second = engine.submit(ask("second", prompt, greedy(8)))
    forward.may_go.set()
    assert list(second) == reference(llama, prompt, 8)
    assert len(list(reader)) == 59
    chunks = [rows[1] for rows in forward.passes if len(rows) == 2 and rows[1] > 1]
    assert sum(chunks) >= len(prompt) - 1 and len(chunks) > 1
    assert max(chunks) < len(prompt), "and each pass has the other's token"


# Precision


@pytest.mark.parametrize("kind", ["llama", "qwen3", "gemma2", "gpt_neox", "slimpajama"])
def test_in_bfloat16_answers_are_whole_and_each_token_is_as_likely_as_any(kind: str, make_slots: MakeSlots) -> None:
    model = make_model(kind).to(torch.bfloat16)
    plain = copy.deepcopy(model)
    engine = make_slots(model, kv_tokens=ROOM_FOR_TWO, headroom_tokens=4, price=Free())
    prompts = [(*SYSTEM, i, *range(40, 40 + i)) for i in range(5, 9)]
    requests = [
        engine.submit(ask(f"{i}", prompt, greedy(40), scope=KvScope(1, i), stop_ids=FOREVER))
        for i, prompt in enumerate(prompts)
    ]
    for prompt, request in zip(prompts, requests, strict=True):
        said = list(request)
        assert len(said) == 40
        assert request.finish is not None and request.finish.reason is FinishReason.LENGTH
        with torch.inference_mode():
            logits = plain(torch.tensor([[*prompt, *said[:-1]]])).logits[0, len(prompt) - 1 :].float()  # (40, V)
        behind = logits.amax(dim=-1) - logits.gather(1, torch.tensor(said).unsqueeze(1)).squeeze(1)
        assert (behind <= 0.05 * logits.abs().amax(dim=-1)).all(), "what differs is in the last bits"
    assert engine._pool.keys[0].dtype is torch.bfloat16


# Which engine


def test_a_model_without_the_attention_interface_runs_on_the_plain_engine() -> None:
    model = make_model("bloom")
    with capture_logs() as logs:
        engine = make_engine(model, max_batch_size=2, context_tokens=CONTEXT)
    try:
        assert isinstance(engine, BatchEngine)
        assert any(line.get("action") == "engine_plain" and "attention interface" in line["reason"] for line in logs)
        assert list(engine.submit(ask("a", (3, 4, 5), greedy()))) == reference(model, (3, 4, 5), 8)
    finally:
        engine.close()


class Leaning(torch.nn.Module):
    """A layer whose output depends on how many tokens stand beside each other, which slots must not show."""

    def __init__(self, layer: torch.nn.Module) -> None:
        super().__init__()
        self.layer = layer

    def forward(self, x: Tensor) -> Tensor:
        out: Tensor = self.layer(x)
        return out + x.mean(dim=1, keepdim=True)


def test_a_model_that_mixes_its_tokens_runs_on_the_plain_engine() -> None:
    model = make_model()
    before = model.config._attn_implementation
    model.model.layers[0].mlp = Leaning(model.model.layers[0].mlp)
    with capture_logs() as logs:
        engine = make_engine(model, max_batch_size=2, context_tokens=CONTEXT)
    engine.close()
    assert isinstance(engine, BatchEngine)
    assert any("differ" in line.get("reason", "") for line in logs)
    assert model.config._attn_implementation == before


def test_the_memory_given_bounds_the_pool(llama: PreTrainedModel) -> None:
    engine = make_engine(llama, max_batch_size=2, context_tokens=CONTEXT, kv_memory_mib=1)
    engine.close()
    assert engine.stats().kv_limit == (1 << 20) // 256  # 2 layers x (keys + values) x 2 heads x 8 x 4 bytes
    with pytest.raises(ModelUnavailable, match="256 bytes"):
        make_engine(llama, max_batch_size=1, context_tokens=16)
