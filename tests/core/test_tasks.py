"""Tasks are ended for certain."""

from __future__ import annotations

import asyncio

from core.tasks import end


async def test_a_task_that_swallows_a_cancellation_ends_too() -> None:
    async def stubborn() -> str:
        try:
            await asyncio.sleep(3600)
        except asyncio.CancelledError:
            await asyncio.sleep(3600)
        return "never"

    task = asyncio.create_task(stubborn())
    await asyncio.sleep(0)
    await end(task)
    assert task.cancelled()


async def test_a_task_has_time_to_close_what_it_has_open() -> None:
    closed, closing = asyncio.Event(), asyncio.Event()

    async def slow_to_close() -> None:
        try:
            await asyncio.sleep(3600)
        finally:
            closing.set()
            await asyncio.sleep(0.3)
            closed.set()

    task = asyncio.create_task(slow_to_close())
    await asyncio.sleep(0)
    await end(task)
    assert closing.is_set() and closed.is_set()


async def test_what_it_ended_with_is_nobodys_concern() -> None:
    async def failing() -> None:
        raise ValueError

    task = asyncio.create_task(failing())
    await asyncio.wait({task})
    await end(task, None)
