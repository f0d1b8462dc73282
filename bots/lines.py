"""Lines: what happens in one channel is taken one after the other, in the order in which Discord told it.

discord.py handles each event in a task of its own: two messages of one moment would be stored in whichever order the
database answers. What was missed while nobody was connected comes before what is said now.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager, suppress

HELD_S = 10.0
"""Nobody waits for longer until it is known what was missed: a database that is away is to be told of."""


class Lines:
    """One line a channel."""

    def __init__(self) -> None:
        self._locks: dict[int, asyncio.Lock] = {}
        self._waiting: dict[int, int] = {}
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        """Let nothing new line up until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Let those line up who were held, behind whoever has lined up meanwhile."""
        self._open.set()

    @asynccontextmanager
    async def turn(self, channel_id: int) -> AsyncIterator[None]:
        """Wait for everything before it; whatever comes later waits for the end of the block."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_S):
                await self._open.wait()
        async with self.turn_of_before(channel_id):
            yield

    @asynccontextmanager
    async def turn_of_before(self, channel_id: int) -> AsyncIterator[None]:
        """`turn`, for what comes before everything that is held."""
        lock = self._locks.setdefault(channel_id, asyncio.Lock())  # whose waiters are woken in order
        self._waiting[channel_id] = self._waiting.get(channel_id, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[channel_id] -= 1
            if not self._waiting[channel_id]:
                del self._waiting[channel_id], self._locks[channel_id]
