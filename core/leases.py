"""Leases: which process does something, of all that could, until it says so no more. Kept in Redis.

A process that ends without giving them back keeps them for a few seconds. Lost with Redis, and then two may do the same:
what must not be done twice has to be found out where it is done.
"""

from __future__ import annotations

import secrets
from collections.abc import Awaitable, Sequence
from typing import cast

import redis.asyncio

from core.redis import lease_key, translated

_TAKE = """
local held = {}
for number, key in ipairs(KEYS) do
  local owner = redis.call('GET', key)
  held[number] = (not owner or owner == ARGV[1]) and 1 or 0
  if held[number] == 1 then redis.call('SET', key, ARGV[1], 'PX', ARGV[2]) end
end
return held
"""

_RELEASE = """
for _, key in ipairs(KEYS) do
  if redis.call('GET', key) == ARGV[1] then redis.call('DEL', key) end
end
return 0
"""


class Leases:
    """One per owner, of whom a process may hold several."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client, self._prefix = client, prefix
        self._owner = secrets.token_hex(8)

    async def take(self, names: Sequence[str], for_s: float) -> set[str]:
        """Take or renew them, for so long; those that no other process has. Raises QueueUnavailable."""
        if not names:
            return set()
        held = cast("list[int]", await self._call(_TAKE, names, str(int(1000 * for_s))))
        return {name for name, ours in zip(names, held, strict=True) if ours}

    async def release(self, names: Sequence[str]) -> None:
        """Give back those that this process has. Raises QueueUnavailable."""
        if names:
            await self._call(_RELEASE, names)

    async def _call(self, script: str, names: Sequence[str], *arguments: str) -> object:
        keys = [lease_key(self._prefix, name) for name in names]
        with translated():
            return await cast("Awaitable[object]", self._client.eval(script, len(keys), *keys, self._owner, *arguments))
