"""Slots never overlap, keep what they hold when they are moved, and their prefixes are found again."""

from __future__ import annotations

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st

from workers.engine.pace import LEAST_TOKENS, MOST_TOKENS, Pace
from workers.engine.pool import KvPool, KvShape, Slot
from workers.engine.prefixes import KeptPrefixes, KvReuse, common
from workers.engine.request import KvScope

TOKENS = 160
steps = st.lists(
    st.tuples(st.sampled_from(["take", "give", "resize", "compact", "copy"]), st.integers(0, 20), st.integers(1, 90)),
    max_size=40,
)


def make_pool(tokens: int = TOKENS) -> KvPool:
    return KvPool([KvShape(2, 3, 1)], tokens, torch.float32, torch.device("cpu"))


def write(pool: KvPool, slot: Slot, value: int, tokens: int) -> None:
    slot.length = tokens
    for kv in (*pool.keys, *pool.values):
        kv[:, slot.start : slot.start + tokens] = value


def holds(pool: KvPool, slot: Slot, value: int) -> bool:
    return all((kv[:, slot.start : slot.start + slot.length] == value).all() for kv in (*pool.keys, *pool.values))


@settings(max_examples=60, deadline=None)
@given(steps=steps)
def test_slots_keep_what_they_hold_whatever_is_done_to_others(steps: list[tuple[str, int, int]]) -> None:
    pool, written = make_pool(), dict[Slot, int]()
    for number, (step, which, tokens) in enumerate(steps):
        slots = list(written)
        chosen = slots[which % len(slots)] if slots else None
        if step == "take" and (taken := pool.take(tokens)) is not None:
            written[taken] = number
            write(pool, taken, number, tokens)
        elif step == "compact":
            pool.compact()
            rest = pool.take(pool.free) if pool.free else None
            assert pool.free == 0, "what is free is in one piece"
            if rest is not None:
                pool.give(rest)
        elif chosen is not None and step == "give":
            del written[chosen]
            pool.give(chosen)
        elif chosen is not None and step == "resize":
            chosen.length = min(chosen.length, tokens)
            assert not pool.resize(chosen, tokens) or chosen.capacity >= tokens
        elif chosen is not None and step == "copy" and (taken := pool.take(chosen.length)) is not None:
            pool.copy(chosen, taken, chosen.length)
            written[taken] = written[chosen]
        assert all(holds(pool, slot, value) for slot, value in written.items())
        assert pool.free == TOKENS - sum(slot.capacity for slot in pool._slots) >= 0


def test_the_pool_takes_what_the_formula_says() -> None:
    shapes = [KvShape(2, 3, 1), KvShape(4, 8, 8)]
    pool = KvPool(shapes, 100, torch.bfloat16, torch.device("cpu"))
    held = sum(kv.numel() * kv.element_size() for kv in (*pool.keys, *pool.values))
    assert pool.tokens == 96
    assert held == 96 * KvPool.token_bytes(shapes, torch.bfloat16) == 96 * 2 * (2 * 4 + 4 * 16)


def test_the_least_recently_used_is_evicted_first() -> None:
    pool = make_pool()
    kept = KeptPrefixes(pool, KvReuse.WORKSPACE)
    texts = [np.arange(start, start + 32) for start in (0, 100, 200)]
    for i, text in enumerate(texts):
        slot = pool.take(32)
        assert slot is not None
        slot.length = 32
        kept.keep(slot, text, KvScope(1, i))
    assert kept.best(texts[0], KvScope(1, 9)) is not None
    assert kept.evict()
    assert kept.best(texts[1], KvScope(1, 9)) is None
    assert kept.best(texts[0], KvScope(1, 9)) is not None
    assert kept.tokens == TOKENS - pool.free == 64


def test_what_two_texts_begin_with_is_counted() -> None:
    first = np.array([1, 2, 3, 4])
    assert [common(first, np.array(second)) for second in ([1, 2, 9, 4], [1, 2, 3, 4, 5], [], [7])] == [2, 4, 0, 0]


def test_the_pace_gives_newcomers_more_when_they_are_more() -> None:
    pace = Pace()
    assert pace.allowance(0, 5) == MOST_TOKENS
    for _ in range(50):
        pace.note(4, 0, 0.02)
        pace.note(0, 100, 0.1)
    few, many = pace.allowance(8, 1), pace.allowance(1, 8)
    assert LEAST_TOKENS <= few < many <= MOST_TOKENS
    assert pace.allowance(2, 2) == int(0.8 * 0.02 / 0.0008)


def test_one_stalled_step_does_not_throw_the_pace() -> None:
    pace = Pace()
    for _ in range(20):
        pace.note(4, 0, 0.02)
        pace.note(0, 100, 0.1)
    before = pace.allowance(1, 1)
    pace.note(4, 0, 60.0)
    assert pace.allowance(1, 1) <= 1.3 * before
