"""Handlers: everything that one client's events need, put together on an opened Service."""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable
from typing import TypeVar

import aiohttp
import discord
import structlog
from yarl import URL

from bots.attachments import Attachments
from bots.courier import Courier
from bots.discord.backfill import Backfill
from bots.discord.handoff import HandoffRooms
from bots.discord.indicator import TypingIndicators
from bots.discord.interactions import Interactions
from bots.discord.listening import Listening
from bots.discord.locales import Locales
from bots.discord.messages import Messages
from bots.discord.places import PLATFORM
from bots.discord.registration import register_commands
from bots.discord.sinks import Sinks
from bots.pacing import Allowance
from bots.relaying import Relayer
from bots.rooms import Rooms
from core.errors import ServiceUnavailable
from core.service import Service
from core.settings import Settings
from core.tasks import end

log = structlog.get_logger(__name__)

T = TypeVar("T")

BEAT_S = 10.0
_AGAIN_S = 2.0
CDN_HOSTS = ("cdn.discordapp.com", "media.discordapp.net")


class Handlers:
    """One per client."""

    def __init__(
        self,
        client: discord.Client,
        service: Service,
        settings: Settings,
        session: aiohttp.ClientSession,
        allowance: Allowance,
    ) -> None:
        self._client, self._service, self._settings = client, service, settings
        rooms = Rooms(service, PLATFORM)
        hosts = (*CDN_HOSTS, URL(settings.discord_api_base).authority)
        attachments = Attachments(session, hosts, proxy=settings.discord_proxy or None)
        self.typing, locales = TypingIndicators(client, allowance), Locales(service)
        sinks = Sinks(client, allowance, self.typing)
        self.courier = Courier(service, sinks.open, sinks.waiting, sinks.tell_wait)
        handoffs = HandoffRooms(client, service, rooms)
        self.messages = Messages(client, service, self.courier, rooms, attachments, self.typing, locales, handoffs)
        self.interactions = Interactions(client, service, self.courier, rooms, attachments, locales, handoffs)
        self._relayer = Relayer(service, PLATFORM, handoffs)
        self._working: list[asyncio.Task[None]] = []
        self.listening = Listening(client, service)
        self._backfill = Backfill(client, service, self.messages, self.listening)
        self._started = False

    def connected(self, shard: int) -> None:
        """Something may have been missed: what is said now waits until that is known."""
        self.listening.connected(shard)
        self.messages.lines.hold()

    async def ready(self) -> None:
        """Make up for what happened while nobody listened: answers to deliver, messages to take, commands to register.

        Once a process: Discord tells of it again for a client of one shard only.
        """
        if self._started:
            return
        self._started = True
        log.info(
            "Discord is connected.",
            action="discord_ready",
            bot=str(self._client.user),
            guilds=len(self._client.guilds),
        )
        await self._say_connected()
        waiting = await once_there(lambda: self.courier.resume(PLATFORM))
        log.info("Answers of before are delivered.", action="discord_resumed", turns=waiting)
        self._working = [
            asyncio.create_task(self.courier.keep(PLATFORM), name="discord-keeping"),
            asyncio.create_task(self._relayer.run(), name="discord-relaying"),
        ]
        await once_there(self._backfill.run)
        await register_commands(self._client, self._service)

    async def ready_again(self, shard: int) -> None:
        """Make up for what a shard missed that has a new session, the first one apart."""
        if self._started:
            log.info("A shard is connected again.", action="shard_ready", shard=shard)
            await once_there(self._backfill.run)

    async def beat(self) -> None:
        """Say again and again that the bot is connected, while it is; without end."""
        while True:
            if self._client.is_ready() and not self._client.is_closed():
                await self._say_connected()
                await self.listening.note()
            await asyncio.sleep(BEAT_S)

    async def close(self) -> None:
        """Let go of everything; the next start brings it."""
        await end(*self._working)
        await self.courier.close()

    async def _say_connected(self) -> None:
        try:
            await self._service.notes.say_connected(PLATFORM, 3 * BEAT_S)
        except ServiceUnavailable as error:
            log.warning("Nobody hears that Discord is connected.", action="beat_failed", reason=str(error))


async def once_there(work: Callable[[], Awaitable[T]]) -> T:
    """The result of `work`, tried again while a service is away."""
    while True:
        try:
            return await work()
        except ServiceUnavailable as error:
            log.warning("Work waits for a service.", action="discord_waits", reason=str(error))
            await asyncio.sleep(_AGAIN_S)
