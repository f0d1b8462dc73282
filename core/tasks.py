"""Ending asyncio tasks for certain."""

from __future__ import annotations

import asyncio
from typing import Any

_CANCEL_AGAIN_S = 3.0
"""So long a task may take to close what it has open: another cancellation in the midst of that would leave it open."""


async def end(*tasks: asyncio.Future[Any] | None) -> None:
    """Cancel the tasks until each has ended, whatever it ended with.

    Once is not enough: until Python 3.12 `asyncio.wait_for`, which libraries wait in, swallows a cancellation that
    comes as what it waits for ends, and whoever then waits for the task waits for ever.
    """
    left = {task for task in tasks if task is not None}
    while left:
        for task in left:
            task.cancel()
        done, left = await asyncio.wait(left, timeout=_CANCEL_AGAIN_S)
        for task in done:
            if not task.cancelled():
                task.exception()  # taken notice of, so that asyncio does not complain of it
