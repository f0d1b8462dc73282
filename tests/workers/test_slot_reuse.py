"""Whose keys and values a request goes on from, and what forgetting leaves of them."""

from __future__ import annotations

import pytest
import torch
from transformers import PreTrainedModel

from tests.workers.asking import FOREVER, SYSTEM, MakeSlots, answer, ask, greedy, left_over
from workers.engine.prefixes import KvReuse
from workers.engine.request import KvScope
from workers.engine.slots import SlotEngine


def test_the_next_turn_goes_on_from_the_whole_last_one(make_slots: MakeSlots) -> None:
    engine = make_slots()
    first = answer(engine, range(20, 50), KvScope(1, 1))
    history = [*range(20, 50), *first.got]  # type: ignore[attr-defined]
    second = answer(engine, [*history, 7, 8, 9], KvScope(1, 1))
    assert first.cached_tokens == 0
    assert second.cached_tokens == len(history) - 1  # the last token was never run
    assert engine.stats().hit_rate == pytest.approx((len(history) - 1) / (30 + len(history) + 3))


def test_an_answer_on_reused_kv_is_the_same(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    engine, prompt = make_slots(), (*range(20, 60), 5)
    expected = answer(engine, prompt, None).got  # type: ignore[attr-defined]
    answer(engine, range(20, 60), KvScope(1, 1))
    again = answer(engine, prompt, KvScope(1, 2))
    assert again.cached_tokens >= 39
    assert again.got == expected  # type: ignore[attr-defined]


by_setting = pytest.mark.parametrize(
    ("reuse", "shared_with"),
    [
        (KvReuse.OFF, set()),
        (KvReuse.CONVERSATION, {"conversation"}),
        (KvReuse.WORKSPACE, {"conversation", "workspace"}),
        (KvReuse.ALL, {"conversation", "workspace", "stranger"}),
    ],
)
SCOPES = {"conversation": KvScope(1, 1), "workspace": KvScope(1, 2), "stranger": KvScope(2, 3), "nobody": None}


@by_setting
def test_a_setting_says_whose_kv_is_reused(make_slots: MakeSlots, reuse: KvReuse, shared_with: set[str]) -> None:
    engine = make_slots(reuse=reuse)
    reused = set()
    for name, scope in SCOPES.items():
        answer(engine, range(20, 50), KvScope(1, 1))
        if answer(engine, range(20, 50), scope).cached_tokens:
            reused.add(name)
        engine.forget(frozenset({1, 2, 3}))
    assert reused == shared_with


@by_setting
def test_a_running_request_shares_with_whom_the_setting_says(
    make_slots: MakeSlots, reuse: KvReuse, shared_with: set[str]
) -> None:
    engine = make_slots(reuse=reuse, context_tokens=1024, kv_tokens=2048)
    first = engine.submit(ask("first", (*SYSTEM, 5), greedy(900), scope=KvScope(1, 1), stop_ids=FOREVER))
    reader = iter(first)
    next(reader)
    shared = {name for name, scope in SCOPES.items() if answer(engine, (*SYSTEM, 6), scope, 1).cached_tokens}
    assert engine.stats().running == 1, "or it would be what is kept that was shared"
    assert shared == shared_with
    engine.cancel("first")
    assert list(reader) is not None


def test_a_running_request_shares_what_it_has_run(make_slots: MakeSlots) -> None:
    engine = make_slots()
    first = engine.submit(ask("first", (*SYSTEM, 5), greedy(90), scope=KvScope(1, 1), stop_ids=FOREVER))
    reader = iter(first)
    next(reader)
    second = answer(engine, (*SYSTEM, 6), KvScope(1, 2))
    assert second.cached_tokens == len(SYSTEM)
    engine.cancel("first")
    assert list(reader) is not None


def emptied(engine: SlotEngine) -> SlotEngine:
    """The same, with nothing in its memory: what that begins with is anything."""
    for kv in (*engine._pool.keys, *engine._pool.values):
        kv.zero_()
    return engine


def held(engine: SlotEngine) -> int:
    """The positions of its memory that hold something, in a slot or not."""
    return int(torch.stack([kv.ne(0).any(dim=2).any(dim=0) for kv in engine._pool.keys]).any(dim=0).sum())


def test_what_is_forgotten_is_not_reused_and_overwritten(make_slots: MakeSlots) -> None:
    engine = emptied(make_slots())
    answer(engine, range(20, 50), KvScope(1, 1))
    answer(engine, range(60, 90), KvScope(1, 2))
    before = held(engine)
    engine.forget(frozenset({1}))
    assert answer(engine, range(60, 90), KvScope(1, 2)).cached_tokens == 29, "others' is still there"
    assert before == 2 * held(engine)
    engine.forget(frozenset({2}))
    assert answer(engine, range(20, 50), None).cached_tokens == 0
    assert held(engine) == 0


def test_a_request_that_is_open_when_it_is_forgotten_leaves_nothing(make_slots: MakeSlots) -> None:
    engine = emptied(make_slots())
    request = engine.submit(ask("a", tuple(range(20, 50)), greedy(60), scope=KvScope(1, 1), stop_ids=FOREVER))
    reader = iter(request)
    next(reader)
    engine.forget(frozenset({1}))
    assert answer(engine, range(20, 50), KvScope(1, 2)).cached_tokens == 0, "nor is it shared while it runs"
    assert len(list(reader)) == 59
    engine.forget(frozenset({2}))
    assert answer(engine, range(20, 50), None).cached_tokens == 0
    assert held(engine) == 0


def test_what_is_evicted_moved_or_taken_away_leaves_nothing(make_slots: MakeSlots) -> None:
    engine = emptied(make_slots(kv_tokens=160, headroom_tokens=1))
    for i in range(4):
        answer(engine, range(20 + i, 50 + i), KvScope(1, i))
    requests = [
        engine.submit(ask(f"{i}", tuple(range(i, i + 20)), greedy(60), scope=KvScope(1, 9 + i), stop_ids=FOREVER))
        for i in range(3)
    ]
    assert [len(list(request)) for request in requests] == [60] * 3
    assert engine.stats().preemptions > 0
    assert left_over(engine._pool) == 0
    engine.forget(frozenset(range(12)))
    answer(engine, (5, 6), None)
    assert held(engine) == 0


def test_nobody_gives_up_a_slot_while_there_is_room(make_slots: MakeSlots) -> None:
    engine = make_slots(max_batch_size=2, kv_tokens=288, headroom_tokens=16)
    for i in range(2):
        answer(engine, range(20 + 100 * i, 80 + 100 * i), KvScope(1, 100 + i), 2)
    requests = [
        engine.submit(ask(f"{i}", tuple(range(3 + 100 * i, 40 + 100 * i)), greedy(most), stop_ids=FOREVER))
        for i, most in enumerate((80, 30))
    ]
    assert [len(list(request)) for request in requests] == [80, 30]
    assert engine.stats().preemptions == 0, "both fit, if one is moved"
    assert engine.stats().kept_tokens > 0, "and what is kept need not all go"


def test_kept_kv_gives_way_to_requests(llama: PreTrainedModel, make_slots: MakeSlots) -> None:
    engine = make_slots(kv_tokens=128)
    for i in range(8):
        answer(engine, range(20 + i, 60 + i), KvScope(1, i))
    stats = engine.stats()
    assert 0 < stats.kept_tokens <= stats.kv_limit == 128
    longest = tuple(range(5, 105))
    assert answer(engine, longest, KvScope(1, 50), 20).got == full(llama, longest, 20)  # type: ignore[attr-defined]


def full(model: PreTrainedModel, token_ids: tuple[int, ...], tokens: int) -> list[int]:
    ids = torch.tensor([token_ids])
    out = model.generate(
        ids,
        attention_mask=torch.ones_like(ids),
        min_new_tokens=0,
        max_new_tokens=tokens,
        do_sample=False,
        eos_token_id=None,
    )
    return list(out[0, len(token_ids) :].tolist())
