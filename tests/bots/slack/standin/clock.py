"""The servers' time, and what they count up: message timestamps and ids.

Time is the machine's, and tests move it forward: a stream of 5 minutes ago needs no 5 minutes. Whoever sleeps here wakes
when it moves.
"""

from __future__ import annotations

import asyncio
import string
import time
from typing import Any

DIGITS = string.digits + string.ascii_uppercase


class Clock:
    """What time it is on the servers."""

    def __init__(self) -> None:
        self._ahead_s = 0.0
        self._sleeping: set[asyncio.Future[None]] = set()

    def now(self) -> float:
        """Seconds since 1970."""
        return time.time() + self._ahead_s

    def advance(self, seconds: float) -> None:
        """Let `seconds` pass at once."""
        self._ahead_s += seconds
        for future in list(self._sleeping):
            _wake(future)

    async def sleep(self, seconds: float) -> None:
        """Return when `seconds` have passed, by themselves or by `advance`."""
        await self.until(self.now() + seconds)

    async def until(self, moment: float) -> None:
        """Return when it is that time; at once if it has passed."""
        loop = asyncio.get_running_loop()
        while (left_s := moment - self.now()) > 0:
            future: asyncio.Future[None] = loop.create_future()
            self._sleeping.add(future)
            timer = loop.call_later(left_s, _wake, future)
            try:
                await future
            finally:
                timer.cancel()
                self._sleeping.discard(future)

    async def wait(self, awaited: asyncio.Future[Any], timeout_s: float) -> bool:
        """Wait for a future at most so long; whether it is done. It goes on if it is not."""
        sleeping: asyncio.Future[Any] = asyncio.ensure_future(self.sleep(timeout_s))
        try:
            await asyncio.wait({awaited, sleeping}, return_when=asyncio.FIRST_COMPLETED)
        finally:
            sleeping.cancel()
            await asyncio.gather(sleeping, return_exceptions=True)
        return awaited.done()


def _wake(future: asyncio.Future[None]) -> None:
    if not future.done():
        future.set_result(None)


class Timestamps:
    """The `ts` of messages and events: they grow with time, each only once."""

    def __init__(self, clock: Clock) -> None:
        self._clock, self._newest = clock, 0

    def next(self) -> str:
        """The `ts` of what is written now."""
        self._newest = max(self._newest + 1, int(self._clock.now() * 1_000_000))
        return f"{self._newest // 1_000_000}.{self._newest % 1_000_000:06d}"


class Ids:
    """Ids such as `C0000000A1`: a letter or two for the kind, then a number that nothing else has."""

    def __init__(self) -> None:
        self._newest = 36**8

    def next(self, kind: str) -> str:
        """The id of something new."""
        self._newest += 7
        number, text = self._newest, ""
        while number:
            number, digit = divmod(number, 36)
            text = DIGITS[digit] + text
        return f"{kind}{text:0>10}"
