"""What all processes together may do, on a real Valkey, by its clock."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from time import monotonic

import pytest
from hypothesis import HealthCheck, given
from hypothesis import settings as trying
from hypothesis import strategies as st

from core.errors import QueueUnavailable
from core.rates import Rate, Rates, new_place
from core.redis import connect_async

MINUTE = Rate(3, 60.0)


@pytest.fixture
async def rates(redis_url: str, redis_prefix: str) -> AsyncIterator[Rates]:
    client = connect_async(redis_url)
    yield Rates(client, redis_prefix)
    await client.aclose()


async def test_so_many_may_pass_and_the_next_waits_for_the_first_to_be_long_ago(rates: Rates) -> None:
    assert [await rates.take("posts", MINUTE) for _ in range(3)] == [0.0, 0.0, 0.0]
    wait_s = await rates.take("posts", MINUTE)
    assert wait_s is not None and 59.0 < wait_s <= 60.0


async def test_those_who_wait_are_a_line_that_moves_at_the_rate(rates: Rates) -> None:
    waits = [await rates.take("posts", MINUTE) or 0.0 for _ in range(9)]
    assert [round(wait / 60) for wait in waits] == [0, 0, 0, 1, 1, 1, 2, 2, 2]


async def test_whoever_will_not_wait_takes_no_place(rates: Rates) -> None:
    for _ in range(3):
        await rates.take("posts", MINUTE)
    assert [await rates.take("posts", MINUTE, 0.0) for _ in range(5)] == [None] * 5
    assert round(await rates.take("posts", MINUTE) or 0.0) == 60


async def test_other_names_are_other_lines(rates: Rates) -> None:
    for _ in range(10):
        await rates.take("acme", MINUTE)
    assert await rates.take("umbrella", MINUTE) == 0.0


async def test_every_process_is_in_the_same_line(rates: Rates, redis_url: str, redis_prefix: str) -> None:
    client = connect_async(redis_url)
    other = Rates(client, redis_prefix)
    waits = await asyncio.gather(*(each.take("posts", MINUTE) for each in [rates, other] * 4))
    assert sorted(round((wait or 0.0) / 60) for wait in waits) == [0, 0, 0, 1, 1, 1, 2, 2]
    await client.aclose()


async def test_what_was_refused_is_held_for_everybody_and_never_shortened(rates: Rates) -> None:
    await rates.hold("posts", 30.0)
    await rates.hold("posts", 5.0)
    wait_s = await rates.take("posts", MINUTE)
    assert wait_s is not None and 29.0 < wait_s <= 30.0
    assert await rates.take("updates", MINUTE) == 0.0


async def test_a_place_comes_back_by_itself(rates: Rates) -> None:
    quick = Rate(1, 0.05)
    assert await rates.take("posts", quick) == 0.0
    await asyncio.sleep(await rates.take("posts", quick) or 0.0)
    await asyncio.sleep(0.06)
    assert await rates.take("posts", quick) == 0.0


@trying(max_examples=20, suppress_health_check=[HealthCheck.function_scoped_fixture])
@given(st.integers(1, 4), st.lists(st.sampled_from(["take", "spare", "hold"]), max_size=24), st.uuids())
async def test_no_stretch_of_time_has_too_many(rates: Rates, most: int, asked: list[str], name: object) -> None:
    """Places are for moments as far apart as they must be; the test takes less time than what is left over."""
    window_s, due = 10.0, list[float]()
    for one in asked:
        if one == "hold":
            await rates.hold(str(name), 3.0)
        elif (wait_s := await rates.take(str(name), Rate(most, window_s), None if one == "take" else 0.0)) is not None:
            due.append(asyncio.get_running_loop().time() + wait_s)
    due.sort()
    assert all(later - earlier > window_s - 2.0 for earlier, later in zip(due, due[most:], strict=False))


async def test_without_redis_it_says_so(redis_prefix: str) -> None:
    client = connect_async("redis://127.0.0.1:1/0")
    with pytest.raises(QueueUnavailable):
        await Rates(client, redis_prefix).take("posts", MINUTE)
    await client.aclose()


async def test_a_place_that_falls_into_a_hold_is_given_up_for_one_after_it(rates: Rates) -> None:
    quick, held_s = Rate(1, 0.1), 1.0
    began, due, first = monotonic(), list[float](), asyncio.Event()

    async def one() -> None:
        await rates.wait("posts", quick)
        due.append(monotonic() - began)
        first.set()

    waiting = [asyncio.create_task(one()) for _ in range(4)]
    await first.wait()
    held_at = monotonic() - began
    await rates.hold("posts", held_s)
    await asyncio.gather(*waiting)
    places = [held_at + held_s + number * quick.per_s for number in range(3)]
    assert all(place - 0.01 <= at for place, at in zip(places, due[1:], strict=True)), "the line moves at its rate then"


async def test_a_place_that_is_given_back_is_anothers(rates: Rates) -> None:
    place = new_place()
    await rates.take("posts", Rate(1, 60.0), place=place)
    assert await rates.take("posts", Rate(1, 60.0), 0.0) is None
    await rates.give_back("posts", place)
    assert await rates.take("posts", Rate(1, 60.0), 0.0) == 0.0
