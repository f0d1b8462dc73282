"""Notes: what bots leave in Redis for one another and for their next start.

Which platform is connected, what an adapter has seen, which process does something now. Knows names and how long each
stays; lost with Redis, without harm.
"""

from __future__ import annotations

import redis.asyncio

from core.redis import adapter_key, note_key, translated


class Notes:
    """One per process. Every method raises QueueUnavailable where Redis cannot be used."""

    def __init__(self, client: redis.asyncio.Redis, prefix: str) -> None:
        self._client, self._prefix = client, prefix

    async def say_connected(self, platform: str, for_s: float) -> None:
        """Say that the platform's bot is connected, for so long."""
        with translated():
            await self._client.set(adapter_key(self._prefix, platform), "1", px=int(1000 * for_s))

    async def say_disconnected(self, platform: str) -> None:
        """Say at once that it is not."""
        with translated():
            await self._client.delete(adapter_key(self._prefix, platform))

    async def remember(self, name: str, value: str) -> None:
        """Keep a note of an adapter."""
        with translated():
            await self._client.set(note_key(self._prefix, name), value)

    async def recall(self, name: str) -> str | None:
        """The note of an adapter, if it is still there."""
        with translated():
            found = await self._client.get(note_key(self._prefix, name))
        return str(found) if found is not None else None

    async def claim(self, name: str, for_s: float) -> bool:
        """Take something for oneself, of all processes, for so long; False where another has it."""
        with translated():
            return bool(await self._client.set(self._claim(name), "1", nx=True, px=int(1000 * for_s)))

    async def release(self, name: str) -> None:
        """Give back what was claimed."""
        with translated():
            await self._client.delete(self._claim(name))

    async def only_once(self, name: str, within_s: int) -> bool:
        """Whether nobody asked this under that name within the time, of all processes."""
        with translated():
            return bool(await self._client.set(note_key(self._prefix, name), "1", nx=True, ex=within_s))

    def _claim(self, name: str) -> str:
        return note_key(self._prefix, f"claim-{name}")
