"""Bell: tells bot processes at once that something is to be relayed. SQL knows what; where Redis is down, a look is late.

Whoever waits looks into SQL, then waits for the next ring from where it was before it looked: no ring is missed between.
"""

from __future__ import annotations

import asyncio
import contextlib

import redis
import redis.asyncio
import structlog
from redis.exceptions import RedisError

from core.redis import bell_channel
from core.tasks import end

log = structlog.get_logger(__name__)

_AGAIN_S = 1.0
_QUIET_S = 5.0


def ring(client: redis.Redis, prefix: str) -> None:
    """Call everybody who waits, from a process that waits for nothing itself. Where Redis is down, they look later."""
    try:
        client.publish(bell_channel(prefix), "1")
    except (RedisError, OSError) as error:
        log.warning("Bots look for themselves.", action="bell_lost", reason=str(error))


class Bell:
    """One per process; it listens to the others once somebody waits."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client, self._channel = client, bell_channel(prefix)
        self._rung = 0
        self._next = asyncio.Event()
        self._listening: asyncio.Task[None] | None = None

    @property
    def rung(self) -> int:
        """How often it has rung, to be given to `after`."""
        return self._rung

    async def ring(self) -> None:
        """Call everybody who waits, here and in other processes."""
        self.ring_here()
        try:
            await self._client.publish(self._channel, "1")
        except (RedisError, OSError) as error:
            log.warning("Other bots look for themselves.", action="bell_lost", reason=str(error))

    async def after(self, rung: int, timeout_s: float) -> None:
        """Return once it has rung more often than `rung`, or after so long."""
        if self._listening is None:
            self._listening = asyncio.create_task(self._listen(), name="bell")
        with contextlib.suppress(TimeoutError):
            async with asyncio.timeout(timeout_s):
                while self._rung <= rung:
                    await self._next.wait()

    async def close(self) -> None:
        """Stop listening."""
        await end(self._listening)

    def ring_here(self) -> None:
        """Call everybody who waits in this process."""
        self._rung += 1
        self._next.set()
        self._next = asyncio.Event()

    async def _listen(self) -> None:
        while True:
            try:
                async with self._client.pubsub(ignore_subscribe_messages=True) as subscriber:
                    await subscriber.subscribe(self._channel)
                    self.ring_here()  # what rang before nobody heard
                    while True:
                        if await subscriber.get_message(timeout=_QUIET_S) is not None:
                            self.ring_here()
            except (RedisError, OSError) as error:
                log.warning("The bell is not heard.", action="bell_unheard", reason=str(error))
            await asyncio.sleep(_AGAIN_S)
