"""Slots never overlap, keep what they hold when they are moved, and their prefixes are found again."""

from __future__ import annotations

from itertools import pairwise

import numpy as np
import torch
from hypothesis import given, settings
from hypothesis import strategies as st
from numpy.typing import NDArray

from tests.workers.asking import left_over
from workers.engine.pool import KvPool, KvShape, Slot, rounded
from workers.engine.prefixes import KeptPrefixes, KvReuse, common
from workers.engine.request import KvScope

TOKENS = 160
steps = st.lists(
    st.tuples(st.sampled_from(["take", "give", "resize", "copy", "reset"]), st.integers(0, 20), st.integers(1, 90)),
    max_size=40,
)


def make_pool(tokens: int = TOKENS) -> KvPool:
    pool = KvPool([KvShape(2, 3, 1)], tokens, torch.float32, torch.device("cpu"))
    for kv in (*pool.keys, *pool.values):
        kv.zero_()  # what it begins with is anything
    return pool


def write(pool: KvPool, slot: Slot, value: int, tokens: int) -> None:
    slot.length = tokens
    for kv in (*pool.keys, *pool.values):
        kv[:, slot.start : slot.start + tokens] = value


def holds(pool: KvPool, slot: Slot, value: int) -> bool:
    return all((kv[:, slot.start : slot.start + slot.length] == value).all() for kv in (*pool.keys, *pool.values))


@settings(max_examples=100, deadline=None)
@given(steps=steps)
def test_slots_keep_what_they_hold_whatever_is_done_to_others_and_leave_nothing(
    steps: list[tuple[str, int, int]],
) -> None:
    pool, written = make_pool(), dict[Slot, int]()
    for number, (step, which, tokens) in enumerate(steps, 1):
        slots, free = list(written), pool.free
        chosen = slots[which % len(slots)] if slots else None
        if step == "take":
            taken = pool.take(tokens)
            assert (taken is not None) == (free >= rounded(tokens))
            if taken is not None:
                written[taken] = number
                write(pool, taken, number, tokens)
        elif step == "reset" and which == 0:
            pool.reset()
            written.clear()
        elif chosen is not None and step == "give":
            del written[chosen]
            pool.give(chosen)
        elif chosen is not None and step == "resize":
            chosen.length = min(chosen.length, tokens)
            fits = free + chosen.capacity >= rounded(tokens)
            assert pool.resize(chosen, tokens) == fits
            assert not fits or chosen.capacity == rounded(tokens)
        elif chosen is not None and step == "copy" and (taken := pool.take(chosen.length)) is not None:
            pool.copy(chosen, taken, chosen.length)
            written[taken] = written[chosen]
        assert all(holds(pool, slot, value) for slot, value in written.items())
        assert sorted(written, key=lambda slot: slot.start) == pool._slots
        assert pool.free == TOKENS - sum(slot.capacity for slot in pool._slots) >= 0
        assert all(first.end <= then.start for first, then in pairwise([*pool._slots, Slot(TOKENS, 0)]))
        assert left_over(pool) == 0


def test_as_little_is_moved_as_can_be() -> None:
    pool = make_pool()
    slots = [pool.take(32) for _ in range(5)]
    for number, slot in enumerate(slots, 1):
        assert slot is not None
        write(pool, slot, number, 16 if number == 3 else 32)
    first, second, third, fourth, fifth = slots
    pool.give(second)
    pool.give(fourth)
    assert pool.moved_for(48) == 16
    assert pool.moved_for(48, first) == 0
    assert pool.moved_for(64, fifth) == 32
    taken = pool.take(64)
    assert taken is not None and (taken.start, third.start) == (64, 32)
    assert holds(pool, third, 3)


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


def test_those_behind_a_slot_make_way_for_it() -> None:
    pool = make_pool()
    slots = [slot for tokens in (80, 16, 32) if (slot := pool.take(tokens))]
    for number, slot in enumerate(slots, 1):
        write(pool, slot, number, slot.capacity)
    assert pool.resize(slots[0], 96)
    assert [slot.start for slot in slots] == [0, 112, 128] and pool._slots == slots
    assert all(holds(pool, slot, number) for number, slot in enumerate(slots, 1))
    assert left_over(pool) == 0
    assert pool.resize(slots[0], 112)
    assert not pool.resize(slots[0], 128)


def test_nothing_is_freed_for_what_does_not_fit() -> None:
    pool = make_pool()
    kept = KeptPrefixes(pool, KvReuse.WORKSPACE)
    running, ended = pool.take(96), pool.take(64)
    assert running is not None and ended is not None
    write(pool, running, 1, 96)
    write(pool, ended, 2, 64)
    text = np.arange(64)
    kept.keep(ended, text, KvScope(1, 1))
    assert not kept.widen(running, 176)
    assert kept.take(80) is None
    for scope in (KvScope(1, 1), KvScope(1, 2)):
        found = kept.best(np.append(text[:40], 7), scope)
        assert found is not None and kept.slot_from(*found, 80, scope) is None
    assert kept.tokens == 64 and holds(pool, ended, 2) and ended.length == 64


kept_steps = st.lists(
    st.tuples(st.sampled_from(["take", "take", "end", "widen", "from"]), st.integers(0, 20), st.integers(16, 90)),
    min_size=8,
    max_size=40,
)


@settings(max_examples=150, deadline=None)
@given(steps=kept_steps)
def test_a_slot_is_had_wherever_what_is_free_and_kept_suffices(steps: list[tuple[str, int, int]]) -> None:
    pool = make_pool()
    kept, running, texts = KeptPrefixes(pool, KvReuse.WORKSPACE), dict[Slot, int](), dict[int, NDArray[np.int64]]()
    for number, (step, which, tokens) in enumerate(steps, 1):
        slots, room = list(running), pool.free + kept.tokens
        chosen = slots[which % len(slots)] if slots else None
        before = (pool.free, kept.tokens)
        had: Slot | None = None
        fits = room >= rounded(tokens)
        if step == "take":
            had = kept.take(tokens)
        elif step == "from" and (best := kept.best(texts.get(which, np.arange(0)), KvScope(1, 0))):
            found, common_tokens = best
            value = int(found.token_ids[0]) // 1000
            wanted = common_tokens + tokens
            fits = room >= rounded(wanted)
            had = kept.slot_from(found, common_tokens, wanted, KvScope(1, 1 + which % 2))
            if had is not None:
                assert had.length == common_tokens and holds(pool, had, value)
        elif step == "widen" and chosen is not None:
            fits = room + chosen.capacity >= rounded(chosen.length + tokens)
            assert kept.widen(chosen, chosen.length + tokens) == fits
            had = chosen if fits else None
        elif step == "end" and chosen is not None:
            value = running.pop(chosen)
            texts[value] = np.arange(chosen.length) + 1000 * value
            kept.keep(chosen, texts[value], KvScope(1, value))
            fits = False
        else:
            continue
        assert step == "end" or (had is not None) == fits
        if step != "end" and not fits:
            assert (pool.free, kept.tokens) == before, "nothing is freed for what does not fit"
        if had is not None:
            running.setdefault(had, number)
            write(pool, had, running[had], min(had.capacity, had.length + tokens))
        assert all(holds(pool, slot, value) for slot, value in running.items())
        assert all(holds(pool, one.slot, int(one.token_ids[0]) // 1000) for one in kept._kept)
        assert left_over(pool) == 0


def test_no_more_is_evicted_than_has_to_be() -> None:
    pool = make_pool(256)
    kept = KeptPrefixes(pool, KvReuse.WORKSPACE)
    old, young = pool.take(80), pool.take(80)
    assert old is not None and young is not None
    write(pool, old, 1, 80)
    write(pool, young, 2, 80)
    for i in range(3):
        slot = pool.take(32)
        assert slot is not None
        write(pool, slot, 3 + i, 32)
        kept.keep(slot, np.arange(32) + 1000 * i, KvScope(1, i))
    assert kept.widen(old, 112), "though another slot is right behind it"
    assert holds(pool, old, 1) and holds(pool, young, 2)
    assert (kept.tokens, pool.free) == (64, 0)
    assert kept.best(np.arange(32) + 1000, KvScope(1, 9)) is not None


def test_what_two_texts_begin_with_is_counted() -> None:
    first = np.array([1, 2, 3, 4])
    assert [common(first, np.array(second)) for second in ([1, 2, 9, 4], [1, 2, 3, 4, 5], [], [7])] == [2, 4, 0, 0]
