"""The Discord bot against the stand-in servers: real SQLite, Valkey, streams and a scripted worker behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator, Callable
from dataclasses import dataclass
from typing import Any

import aiohttp
import pytest
from discord.gateway import DiscordWebSocket
from discord.http import Route

from bots.discord import server
from bots.discord.client import PajamaClient
from bots.discord.server import talk, use_addresses
from core.service import Service
from core.settings import Settings
from core.tasks import end
from core.values import Place
from tests.bots.discord.standin.channel import Channel
from tests.bots.discord.standin.guild import Guild
from tests.bots.discord.standin.message import Message
from tests.bots.discord.standin.people import User
from tests.bots.discord.standin.server import StandInDiscord
from tests.bots.scripted_worker import ScriptedWorker

GUILDS_S = 0.1
"""So long discord.py waits for one more guild before it is ready: here they all come at once."""


@pytest.fixture
async def discord() -> AsyncIterator[StandInDiscord]:
    """The servers. Whatever the bot did, it kept to the rules of the platform."""
    async with StandInDiscord() as discord:
        yield discord
    assert discord.violations == []


@pytest.fixture
def settings(settings: Settings, discord: StandInDiscord) -> Settings:
    return settings.model_copy(
        update={
            "discord_token": type(settings.discord_token)(discord.token),
            "discord_api_base": discord.api_base,
            "discord_gateway_url": discord.gateway_url,
            "max_queued_turns_per_person": 5,
        }
    )


class WatchedClient(PajamaClient):
    """The adapter's client, so that a test can tell when it has handled everything."""

    newest: WatchedClient | None = None

    def __init__(self, **options: Any) -> None:
        super().__init__(**options)
        self._connection.guild_ready_timeout = GUILDS_S
        WatchedClient.newest = self

    async def before_identify_hook(self, shard_id: int | None, *, initial: bool = False) -> None:
        """Do not wait 5 seconds between shards and sessions."""


@dataclass
class Bot:
    """The adapter, running in the test's own loop."""

    settings: Settings
    service: Service
    discord: StandInDiscord
    task: asyncio.Task[None] | None = None
    client: WatchedClient | None = None

    @property
    def is_delivering(self) -> bool:
        """Whether an answer is on its way by this bot, and by no other."""
        assert self.client is not None and self.client.handlers is not None
        return bool(self.client.handlers.courier._leased)

    async def settled(self) -> None:
        """Wait until everything that the servers told is handled, and every answer delivered, or the bot is gone."""
        while self.task is not None and not self.task.done():
            busy = {task for task in asyncio.all_tasks() if task.get_name().startswith(("discord.py: on_", "deliver-"))}
            if busy:
                await asyncio.wait({self.task, *busy}, return_when=asyncio.FIRST_COMPLETED)
            elif self._has_heard_everything():
                return
            else:
                await asyncio.sleep(0.01)

    def _has_heard_everything(self) -> bool:
        client = WatchedClient.newest
        assert client is not None
        if not client.is_ready():
            return False
        heard = [shard._parent.ws.sequence for shard in client.shards.values()]
        return heard == [self.discord.session.sequence]

    async def start(self) -> None:
        """Connect, and wait until the servers see the bot and its commands are there."""
        self.task = asyncio.create_task(self._run())
        connected = asyncio.create_task(self._connected())
        await asyncio.wait({self.task, connected}, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            connected.cancel()
            self.task.result()
        self.client = WatchedClient.newest

    async def stop(self) -> None:
        """End where it is."""
        if self.task is not None:
            await end(self.task)
            await self.discord.until_disconnected()

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            await talk(self.settings, self.service, session)

    async def _connected(self) -> None:
        await self.discord.until_connected()
        await self.discord.until_commands("ask")


@pytest.fixture
async def idle_bot(
    settings: Settings, service: Service, discord: StandInDiscord, monkeypatch: pytest.MonkeyPatch
) -> AsyncIterator[Bot]:
    """The bot, not started."""
    monkeypatch.setattr(Route, "BASE", Route.BASE)
    monkeypatch.setattr(DiscordWebSocket, "DEFAULT_GATEWAY", DiscordWebSocket.DEFAULT_GATEWAY)
    monkeypatch.setattr(server, "PajamaClient", WatchedClient)
    use_addresses(settings)
    bot = Bot(settings, service, discord)
    yield bot
    await bot.stop()


@pytest.fixture
async def bot(idle_bot: Bot) -> Bot:
    """The bot, connected."""
    await idle_bot.start()
    return idle_bot


@pytest.fixture
async def asked(bot: Bot, worker: ScriptedWorker, general: Channel) -> Channel:
    """A channel with the bot and a worker in it."""
    return general


@pytest.fixture
def ann(discord: StandInDiscord) -> User:
    return discord.add_user("Ann")


@pytest.fixture
def bob(discord: StandInDiscord) -> User:
    return discord.add_user("Bob")


@pytest.fixture
def shop(discord: StandInDiscord, ann: User, bob: User) -> Guild:
    return discord.add_guild("Shop", members=[ann, bob])


@pytest.fixture
def general(shop: Guild) -> Channel:
    return shop.add_text_channel("general")


def buttons(message: Message) -> list[str]:
    """The custom ids of a message's buttons."""
    return [button["custom_id"] for row in message.components for button in row["components"]]


async def answered(channel: Channel, words: str) -> Message:
    """Wait for `words` to be the end of an answer that is complete, and noted as such by the bot."""

    def complete() -> Message | None:
        shown = (answer for answer in channel.answers if answer.content.endswith(words))
        return next((answer for answer in shown if len(buttons(answer)) > 1), None)

    await channel.until(complete)
    found = complete()
    assert found is not None
    return found


async def eventually(condition: Callable[[], object]) -> None:
    """Look again until `condition` holds; for what only SQL knows. The test's own timeout judges how long."""
    while not condition():  # noqa: ASYNC110 - nothing tells of a change in SQL
        await asyncio.sleep(0.01)


def anywhere(guild: Guild) -> Place:
    """A place in the guild, to find its Workspace by."""
    return Place(platform="discord", workspace=str(guild.id), conversation="any")
