"""Lines: what happens in one place is taken one after the other, in the order in which the platform told it.

Each event is handled in a task of its own: two messages of one moment would be stored in whichever order the database
answers. What was missed while nobody was connected comes before what is said now. Knows no platform.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Hashable
from contextlib import asynccontextmanager

HELD_S = 10.0
"""A hold ends when the first has waited so long for what was missed: a database that is away is to be told of."""


class Lines:
    """One line a place, named by whatever its platform calls it."""

    def __init__(self) -> None:
        self._locks: dict[Hashable, asyncio.Lock] = {}
        self._waiting: dict[Hashable, int] = {}
        self._open = asyncio.Event()
        self._open.set()
        self._ending: asyncio.TimerHandle | None = None  # the end of a hold, from when somebody waits for it

    def hold(self) -> None:
        """Let nothing new line up until `release`, or until that takes too long."""
        self._open.clear()

    def release(self) -> None:
        """Let those line up who were held, behind whoever has lined up meanwhile."""
        if self._ending is not None:
            self._ending.cancel()
            self._ending = None
        self._open.set()

    @asynccontextmanager
    async def turn(self, place: Hashable) -> AsyncIterator[None]:
        """Wait for everything before it; whatever comes later waits for the end of the block."""
        if not self._open.is_set() and self._ending is None:
            self._ending = asyncio.get_running_loop().call_later(HELD_S, self.release)
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
