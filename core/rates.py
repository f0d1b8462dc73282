"""Rates: how often something may be done, of all processes together. Kept in Redis, by its clock.

Whoever asks is given a place in line, so that of many who wait nobody is overtaken, and no stretch of `per_s` seconds,
wherever it begins, has more than `most` in it. A platform that says when to come again is obeyed by all. Lost with Redis,
without harm: a platform refuses what is too much.
"""

from __future__ import annotations

import asyncio
import secrets
from collections.abc import Awaitable
from dataclasses import dataclass
from typing import cast

import redis.asyncio

from core.redis import rate_key, translated

# Places are kept as the moments that they are for, some of them still to come, in milliseconds of Redis' own clock.
_TAKE = """
local clock = redis.call('TIME')
local now = clock[1] * 1000 + math.floor(clock[2] / 1000)
local most, window, longest = tonumber(ARGV[1]), tonumber(ARGV[2]), tonumber(ARGV[3])
redis.call('ZREM', KEYS[1], ARGV[4])
redis.call('ZREMRANGEBYSCORE', KEYS[1], '-inf', now - window)
local place = math.max(now, tonumber(redis.call('GET', KEYS[2]) or 0))
local last = redis.call('ZRANGE', KEYS[1], -most, -most, 'WITHSCORES')
if last[2] then place = math.max(place, last[2] + window) end
if place - now > longest then return -1 end
redis.call('ZADD', KEYS[1], place, ARGV[4])
redis.call('PEXPIRE', KEYS[1], place - now + window)
return place - now
"""

_HOLD = """
local clock = redis.call('TIME')
local until_ms = clock[1] * 1000 + math.floor(clock[2] / 1000) + tonumber(ARGV[1])
if until_ms > tonumber(redis.call('GET', KEYS[1]) or 0) then
  redis.call('SET', KEYS[1], string.format('%d', until_ms), 'PX', ARGV[1])
end
return 0
"""

LONGEST_HOLD_S = 3600.0
_NEVER_MS = 10**12


@dataclass(frozen=True, slots=True)
class Rate:
    """At most so often in so many seconds."""

    most: int
    per_s: float


class Rates:
    """One per process."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    async def take(
        self, name: str, rate: Rate, longest_wait_s: float | None = None, *, place: str = ""
    ) -> float | None:
        """Take a place in line: seconds until it is due. None, and no place, where that is longer than `longest_wait_s`.

        `place` names it, so that it can be given back; whoever has it already gives it up for another. Raises
        QueueUnavailable.
        """
        keys = rate_key(self._prefix, name), self._held(name)
        longest_ms = _NEVER_MS if longest_wait_s is None else int(1000 * longest_wait_s)
        arguments = rate.most, int(1000 * rate.per_s), longest_ms, place or new_place()
        with translated():
            wait_ms = await cast("Awaitable[int]", self._client.eval(_TAKE, len(keys), *keys, *map(str, arguments)))
        return None if wait_ms < 0 else wait_ms / 1000

    async def within(self, name: str, rate: Rate) -> bool:
        """Whether something is within its rate, and counts. Raises QueueUnavailable."""
        return await self.take(name, rate, 0.0) is not None

    async def wait(self, name: str, rate: Rate) -> None:
        """Stand in line until a place is due; one that falls into a hold is given up for another after it.

        Raises QueueUnavailable.
        """
        place = new_place()
        while wait_s := await self.take(name, rate, place=place):
            await asyncio.sleep(wait_s)
            with translated():
                if not await self._client.exists(self._held(name)):
                    return

    async def give_back(self, name: str, place: str) -> None:
        """Leave a place to others that is not needed. Raises QueueUnavailable."""
        with translated():
            await self._client.zrem(rate_key(self._prefix, name), place)

    async def hold(self, name: str, for_s: float) -> None:
        """Give nobody a place that is due within so many seconds from now. Raises QueueUnavailable."""
        key = self._held(name)
        with translated():
            await cast("Awaitable[int]", self._client.eval(_HOLD, 1, key, str(int(1000 * min(for_s, LONGEST_HOLD_S)))))

    def _held(self, name: str) -> str:
        return rate_key(self._prefix, f"{name}-held")


def new_place() -> str:
    """A name for a place in line that no other has."""
    return secrets.token_hex(8)
