"""How many prompt tokens go along with a decode step, by what steps have cost."""

from __future__ import annotations

from hypothesis import given
from hypothesis import strategies as st

from workers.engine.pace import LEAST_TOKENS, MOST_TOKENS, Pace

seconds = st.floats(1e-4, 1.0)
counts = st.integers(1, 64)


def learnt(decode_s: float, token_s: float) -> Pace:
    pace = Pace()
    for _ in range(3):
        pace.note(8, 0, decode_s)
        pace.note(8, 100, decode_s + 100 * token_s)
    return pace


@given(decode_s=seconds, token_s=seconds, decoding=counts, newcomers=counts)
def test_a_step_is_stretched_by_no_more_than_newcomers_may(
    decode_s: float, token_s: float, decoding: int, newcomers: int
) -> None:
    tokens = learnt(decode_s, token_s).allowance(decoding, newcomers)
    assert LEAST_TOKENS <= tokens <= MOST_TOKENS
    if tokens > LEAST_TOKENS and newcomers <= decoding:
        assert decode_s + tokens * token_s <= 1.71 * decode_s


@given(decode_s=seconds, token_s=seconds, decoding=counts, newcomers=counts)
def test_where_more_wait_than_run_they_go_first(decode_s: float, token_s: float, decoding: int, newcomers: int) -> None:
    assert learnt(decode_s, token_s).allowance(decoding, decoding + newcomers) == MOST_TOKENS


def test_one_newcomer_beside_many_is_not_held_up() -> None:
    pace = learnt(0.03, 0.0002)
    assert pace.allowance(31, 1) == pace.allowance(1, 1) == 104


def test_nobody_is_stalled_where_nobody_decodes() -> None:
    assert Pace().allowance(0, 1) == learnt(0.03, 0.0002).allowance(0, 1) == MOST_TOKENS


def test_one_slow_step_is_not_believed() -> None:
    pace = learnt(0.03, 0.0002)
    pace.note(8, 0, 30.0)
    assert pace.allowance(8, 1) <= 130
