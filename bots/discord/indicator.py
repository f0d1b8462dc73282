"""TypingIndicators: "… is typing" in a channel for as long as an answer is waited for there.

A matter of courtesy: what goes wrong is noted and never holds up an answer, nor is it shown where the bot has so much to
say that an answer would have to wait for it.
"""

from __future__ import annotations

import asyncio
from collections import Counter
from collections.abc import Callable, Iterator
from contextlib import contextmanager

import aiohttp
import discord
import structlog

from bots.pacing import Allowance

log = structlog.get_logger(__name__)

_AGAIN_S = 8.0
"""Discord shows it for ten seconds."""


class TypingIndicators:
    """One loop a channel, however many answers are waited for in it."""

    def __init__(self, client: discord.Client, allowance: Allowance) -> None:
        self._client, self._allowance = client, allowance
        self._waiting: Counter[int] = Counter()
        self._loops: dict[int, asyncio.Task[None]] = {}

    @contextmanager
    def shown(self, channel: int) -> Iterator[Callable[[], None]]:
        """Type inside the block, until what it is given is called."""
        waited = [channel]
        self._begin(channel)

        def end() -> None:
            if waited:
                self._end(waited.pop())

        try:
            yield end
        finally:
            end()

    def _begin(self, channel: int) -> None:
        self._waiting[channel] += 1
        if self._waiting[channel] == 1:
            self._loops[channel] = asyncio.create_task(self._type(channel), name=f"typing-{channel}")

    def _end(self, channel: int) -> None:
        self._waiting[channel] -= 1
        if not self._waiting[channel]:
            del self._waiting[channel]
            self._loops.pop(channel).cancel()

    async def _type(self, channel: int) -> None:
        place = self._client.get_partial_messageable(channel)
        while True:
            try:
                if self._allowance.spare():
                    await place.typing()
            except (discord.DiscordException, aiohttp.ClientError, OSError) as error:
                log.info("Typing cannot be shown.", action="typing_failed", channel=channel, reason=str(error))
                if isinstance(error, discord.Forbidden | discord.NotFound):
                    return
            await asyncio.sleep(_AGAIN_S)
