"""A plain discord.py client, and a bare REST and gateway client, against the stand-in."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

import aiohttp
import discord
import pytest
import yarl
from discord import app_commands
from discord.gateway import DiscordWebSocket
from discord.http import Route

from tests.bots.changes import Changes
from tests.bots.discord.standin.server import StandInDiscord


class PlainClient(discord.AutoShardedClient):
    """Notes every event, and answers nothing by itself."""

    def __init__(self, **options: Any) -> None:
        intents = options.pop("intents", None) or discord.Intents(
            guilds=True, messages=True, message_content=True, reactions=True, typing=True
        )
        options = {"allowed_mentions": discord.AllowedMentions.none(), "guild_ready_timeout": 0.05} | options
        super().__init__(intents=intents, **options)
        self.tree = app_commands.CommandTree(self)
        self.events: list[tuple[str, Any]] = []
        self._changes = Changes()

    def dispatch(self, event: str, /, *args: Any, **kwargs: Any) -> None:
        """Note an event."""
        self.events.append((event, args[0] if args else None))
        super().dispatch(event, *args, **kwargs)
        self._changes.happened()

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait 5 seconds between shards."""

    def seen(self, event: str) -> list[Any]:
        """What came with every event of a name."""
        return [value for name, value in self.events if name == event]

    async def until(self, event: str, times: int = 1) -> list[Any]:
        """Wait for an event, so many times; what came with them."""
        await self._changes.until(lambda: len(self.seen(event)) >= times)
        return self.seen(event)

    async def until_available(self) -> None:
        """Wait for every guild; a slow machine is ready before the last one came."""
        await self._changes.until(lambda: not any(guild.unavailable for guild in self.guilds))

    async def until_read(self, *texts: str) -> None:
        """Wait for as many messages; they are these, in this order."""
        await self.until("message", len(texts))
        assert self.read() == list(texts)

    def read(self) -> list[str]:
        """The texts of the messages that came."""
        return [message.content for message in self.seen("message")]


@asynccontextmanager
async def connected(
    standin: StandInDiscord, patch: pytest.MonkeyPatch, client: PlainClient | None = None
) -> AsyncIterator[PlainClient]:
    """A client that is ready."""
    client = client or PlainClient()
    patch.setattr(Route, "BASE", standin.api_base)
    patch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", yarl.URL(standin.gateway_url))
    running = asyncio.create_task(client.start(standin.token))
    ready = asyncio.create_task(client.wait_until_ready())
    await asyncio.wait([running, ready], return_when=asyncio.FIRST_COMPLETED)
    if running.done():
        ready.cancel()
        await client.close()
        running.result()
    try:
        await client.until_available()
        yield client
    finally:
        await client.close()
        await asyncio.gather(running, return_exceptions=True)


class Rest:
    """Bare requests, without retries and without any care for limits."""

    def __init__(self, standin: StandInDiscord, session: aiohttp.ClientSession) -> None:
        self._standin, self._session = standin, session

    async def __call__(self, route: str, body: Any = None, **parameters: Any) -> tuple[int, Any, dict[str, str]]:
        """Status, JSON and headers of an answer."""
        method, template = route.split(" ")
        url = self._standin.api_base + template.format(**parameters)
        headers = {"Authorization": f"Bot {self._standin.token}"}
        async with self._session.request(method, url, json=body, headers=headers) as answer:
            document = await answer.json() if answer.content_type == "application/json" else await answer.text()
            return answer.status, document, {**answer.headers}


@asynccontextmanager
async def bare(standin: StandInDiscord) -> AsyncIterator[Rest]:
    """A bare REST client."""
    async with aiohttp.ClientSession() as session:
        yield Rest(standin, session)
