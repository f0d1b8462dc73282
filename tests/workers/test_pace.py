"""How many prompt tokens go along with a decode step, by what steps have cost."""

from __future__ import annotations

import random

import pytest
from hypothesis import given
from hypothesis import strategies as st

from workers.engine.pace import LEAST_TOKENS, MOST_TOKENS, Pace

counts = st.integers(1, 32)


def learnt(step_s: float, row_s: float, token_s: float, steps: int = 60) -> Pace:
    """From steps of all kinds, as an hour of work has them."""
    pace, chance = Pace(), random.Random(0)
    for number in range(steps):
        decoding, tokens = chance.randint(0, 32), chance.choice((0, chance.randint(16, 512))) if number else 64
        pace.note(decoding, tokens, step_s + decoding * row_s + tokens * token_s)
    return pace


@given(
    step_s=st.floats(1e-3, 0.1),
    row_share=st.floats(0, 0.1),
    token_share=st.floats(1e-3, 0.2),
    decoding=counts,
    newcomers=counts,
)
def test_a_step_is_stretched_by_no_more_than_newcomers_may(
    step_s: float, row_share: float, token_share: float, decoding: int, newcomers: int
) -> None:
    row_s, token_s = row_share * step_s, token_share * step_s
    tokens = learnt(step_s, row_s, token_s).allowance(decoding, newcomers)
    assert LEAST_TOKENS <= tokens <= MOST_TOKENS
    if newcomers > decoding:
        assert tokens == MOST_TOKENS, "who waits goes first"
    elif LEAST_TOKENS < tokens < MOST_TOKENS:
        alone_s = step_s + decoding * row_s
        assert (alone_s + tokens * token_s) / alone_s == pytest.approx(1.4, abs=0.1)


def test_one_newcomer_beside_many_is_not_held_up() -> None:
    """Many rows are not taken for an expensive prompt, also where they were never seen without one."""
    pace = Pace()
    for _ in range(50):
        pace.note(1, 0, 0.021)
        pace.note(16, 35, 0.020 + 16 * 0.001 + 35 * 0.0002)
        pace.note(4, 512, 0.020 + 4 * 0.001 + 512 * 0.0002)
    assert pace.allowance(16, 1) == pytest.approx(0.4 * 0.036 / 0.0002, rel=0.1)


def test_nobody_is_stalled_where_nobody_decodes() -> None:
    assert Pace().allowance(0, 1) == learnt(0.03, 0.001, 0.0002).allowance(0, 1) == MOST_TOKENS


def test_nothing_is_known_at_first() -> None:
    pace = Pace()
    assert pace.allowance(1, 1) == 64
    pace.note(1, 0, 0.03)
    pace.note(0, 3, 0.03)
    assert pace.allowance(1, 1) == 64


def test_one_slow_step_is_not_believed() -> None:
    pace = learnt(0.03, 0.001, 0.0002)
    before = pace.allowance(8, 1)
    pace.note(8, 0, 30.0)
    assert pace.allowance(8, 1) <= 1.3 * before


def test_what_a_prompt_costs_is_not_forgotten_while_none_comes() -> None:
    pace = learnt(0.03, 0.001, 0.0002)
    before = pace.allowance(8, 1)
    for _ in range(10_000):
        pace.note(8, 0, 0.038)
    assert pace.allowance(8, 1) == pytest.approx(before, rel=0.05)


def test_a_machine_that_becomes_slower_is_followed() -> None:
    pace = learnt(0.03, 0.001, 0.0002)
    for _ in range(300):
        pace.note(8, 64, 0.038 + 64 * 0.001)
        pace.note(8, 0, 0.038)
    assert pace.allowance(8, 1) == pytest.approx(0.4 * 0.038 / 0.001, rel=0.1)
