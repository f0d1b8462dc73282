"""Answers that stream in one channel share its edits."""

from __future__ import annotations

import asyncio

from hypothesis import given
from hypothesis import strategies as st

from bots.pacing import Allowance, EditBudget, EditBudgets


def test_streams_of_one_channel_share_its_budget_and_others_do_not() -> None:
    budgets = EditBudgets(per_s=0.5)
    with budgets.streaming("a") as first:
        assert first.interval_s() == 2
        with budgets.streaming("a") as second, budgets.streaming("b") as other:
            assert first is second
            assert (first.interval_s(), other.interval_s()) == (4, 2)
        assert first.interval_s() == 2


def test_streams_of_many_channels_share_what_all_may_have() -> None:
    budgets = EditBudgets(per_s=1, together_per_s=0.5)
    with budgets.streaming("a") as budget:
        assert budget.interval_s() == 2
        with budgets.streaming("b"):
            assert budget.interval_s() == 4
        assert budget.interval_s() == 2


def test_a_channel_in_which_nothing_streams_is_forgotten() -> None:
    budgets = EditBudgets(per_s=1)
    with budgets.streaming("a") as budget:
        budget.note(took_s=60)
        assert budget.interval_s() == 2
    with budgets.streaming("a") as budget:
        assert budget.interval_s() == 1


def test_an_edit_that_was_held_up_slows_down_and_quick_ones_recover() -> None:
    budget = EditBudget(per_s=1)
    budget.note(took_s=5)
    assert budget.interval_s() == 2
    for _ in range(20):
        budget.note(took_s=0.1)
    assert budget.interval_s() == 1


@given(st.lists(st.floats(0, 100), max_size=200))
def test_the_budget_stays_within_its_bounds(took: list[float]) -> None:
    budget = EditBudget(per_s=1)
    for took_s in took:
        budget.note(took_s)
        assert 1 <= budget.interval_s() <= 10


async def test_a_few_calls_pass_at_once_and_the_others_in_line() -> None:
    allowance, loop = Allowance(per_s=50, at_once=4), asyncio.get_running_loop()
    began, passed = loop.time(), []

    async def call() -> None:
        await allowance.take()
        passed.append(loop.time() - began)

    await asyncio.gather(*(call() for _ in range(10)))
    assert all(at >= (number - 4 + 1) / 50 - 1e-6 for number, at in enumerate(passed))
    assert passed[-1] >= 0.12


async def test_there_is_nothing_to_spare_while_someone_waits() -> None:
    allowance = Allowance(per_s=0.1, at_once=2)
    assert allowance.spare()
    await allowance.take()
    assert allowance.spare()
    await allowance.take()
    assert not allowance.spare()
