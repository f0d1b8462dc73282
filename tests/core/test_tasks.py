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


async def test_what_it_ended_with_is_nobodys_concern() -> None:
    async def failing() -> None:
        raise ValueError

    task = asyncio.create_task(failing())
    await asyncio.wait({task})
    await end(task, None)
