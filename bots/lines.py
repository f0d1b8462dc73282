"""Lines: what happens in one place is taken one after the other, in the order in which the platform told it.

Each event is handled in a task of its own: two messages of one moment would be stored in whichever order the database
answers. What was missed while nobody was connected comes before what is said now. Knows no platform.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager, suppress

HELD_S = 10.0
"""Nobody waits for longer until it is known what was missed: a database that is away is to be told of."""


class Lines:
    """One line a place, named by whatever its platform calls it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, asyncio.Lock] = {}
        self._waiting: dict[Hashable, int] = {}
        self._open = asyncio.Event()
        self._open.set()

    def hold(self) -> None:
        """Let nothing new line up until `release`."""
        self._open.clear()

    def release(self) -> None:
        """Let those line up who were held, behind whoever has lined up meanwhile."""
        self._open.set()

    @asynccontextmanager
    async def turn(self, place: Hashable) -> AsyncIterator[None]:
        """Wait for everything before it; whatever comes later waits for the end of the block."""
        with suppress(TimeoutError):
            async with asyncio.timeout(HELD_S):
                await self._open.wait()
        async with self.turn_of_before(place):
            yield

    @asynccontextmanager
    async def turn_of_before(self, place: Hashable) -> AsyncIterator[None]:
        """`turn`, for what comes before everything that is held."""
        lock = self._locks.setdefault(place, asyncio.Lock())  # whose waiters are woken in order
        self._waiting[place] = self._waiting.get(place, 0) + 1
        try:
            async with lock:
                yield
        finally:
            self._waiting[place] -= 1
            if not self._waiting[place]:
                del self._waiting[place], self._locks[place]
