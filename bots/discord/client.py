"""The discord.py client: which events it asks for, and where each of them goes. Knows no Turn.

A small memory: no message cache and no member cache, since whatever an answer needs comes with its event or is in SQL.
"""

from __future__ import annotations

import sys
from collections.abc import Callable
from functools import partial
from typing import Any

import aiohttp
import discord
import structlog
from discord.http import Route

from bots.discord.handlers import Handlers, once_there
from bots.discord.wire import surely

log = structlog.get_logger(__name__)

MENTIONS = discord.AllowedMentions(everyone=False, users=False, roles=False, replied_user=True)
"""Whatever the model writes pings nobody; a reply pings who asked."""


def intents(*, message_content: bool) -> discord.Intents:
    """The least that is needed: messages and reactions, in guilds and DMs."""
    return discord.Intents(
        guilds=True,
        guild_messages=True,
        dm_messages=True,
        guild_reactions=True,
        dm_reactions=True,
        message_content=message_content,
    )


discord.VoiceClient.warn_nacl = discord.VoiceClient.warn_dave = False  # nobody here speaks


class PajamaClient(discord.AutoShardedClient):
    """Hands every event on, and lets none end the process."""

    def __init__(
        self,
        *,
        message_content: bool,
        proxy: str | None,
        gateway_url: str = "",
        http_trace: aiohttp.TraceConfig | None = None,
    ) -> None:
        super().__init__(
            intents=intents(message_content=message_content),
            allowed_mentions=MENTIONS,
            chunk_guilds_at_startup=False,
            member_cache_flags=discord.MemberCacheFlags.none(),
            max_messages=None,
            proxy=proxy,
            http_trace=http_trace or aiohttp.TraceConfig(),
        )
        self.reads_content = message_content
        self.handlers: Handlers | None = None
        self._gateway_url = gateway_url
        self._guard_parsers()

    async def connect(self, *, reconnect: bool = True) -> None:
        """Connect, however long Discord does not say where to. Raises Refused."""
        self.http.get_bot_gateway = self._find_gateway  # type: ignore[method-assign] # asked once, without a second try
        await super().connect(reconnect=reconnect)

    async def on_shard_connect(self, shard_id: int) -> None:
        """A new session, which tells nothing of before."""
        if self.handlers is not None:
            self.handlers.connected(shard_id)

    async def on_shard_disconnect(self, shard_id: int) -> None:
        """Nothing is heard."""
        if self.handlers is not None:
            self.handlers.listening.lost(shard_id)

    async def on_shard_resumed(self, shard_id: int) -> None:
        """Everything that was not heard has been told."""
        if self.handlers is not None:
            self.handlers.listening.resumed(shard_id)

    async def on_ready(self) -> None:
        """Connected: whatever was missed is made up for."""
        if self.handlers is not None:
            await self.handlers.ready()

    async def on_shard_ready(self, shard_id: int) -> None:
        """A shard knows its guilds, for the first time or anew."""
        if self.handlers is not None:
            await self.handlers.ready_again(shard_id)

    async def on_message(self, message: discord.Message) -> None:
        """Something was said."""
        if self.handlers is not None:
            await self.handlers.messages.said(message)

    async def on_raw_message_edit(self, event: discord.RawMessageUpdateEvent) -> None:
        """Something was reworded, or Discord added a preview."""
        if (handlers := self.handlers) is not None:
            await once_there(lambda: handlers.messages.edited(event.message))

    async def on_raw_message_delete(self, event: discord.RawMessageDeleteEvent) -> None:
        """Something was taken back. Discord tells it once, so it waits for a database that is away."""
        if (handlers := self.handlers) is not None:
            await once_there(lambda: handlers.messages.deleted(event.guild_id, event.channel_id, event.message_id))

    async def on_raw_bulk_message_delete(self, event: discord.RawBulkMessageDeleteEvent) -> None:
        """Many messages were taken away."""
        if (handlers := self.handlers) is not None:
            for message_id in event.message_ids:
                take = partial(handlers.messages.deleted, event.guild_id, event.channel_id, message_id)
                await once_there(take)

    async def on_guild_channel_delete(self, channel: discord.abc.GuildChannel) -> None:
        """A channel was taken away, with its threads."""
        if (handlers := self.handlers) is not None:
            await once_there(lambda: handlers.messages.channel_deleted(channel.guild.id, channel.id))

    async def on_raw_thread_delete(self, event: discord.RawThreadDeleteEvent) -> None:
        """A thread or post was taken away."""
        if (handlers := self.handlers) is not None:
            await once_there(lambda: handlers.messages.channel_deleted(event.guild_id, event.thread_id))

    async def on_raw_reaction_add(self, event: discord.RawReactionActionEvent) -> None:
        """Somebody reacted."""
        if self.handlers is not None:
            await self.handlers.messages.reacted(event, added=True)

    async def on_raw_reaction_remove(self, event: discord.RawReactionActionEvent) -> None:
        """Somebody took a reaction back."""
        if self.handlers is not None:
            await self.handlers.messages.reacted(event, added=False)

    async def on_interaction(self, interaction: discord.Interaction) -> None:
        """Somebody used a command, a button or a form."""
        if self.handlers is not None:
            await self.handlers.interactions.handle(interaction)

    async def on_error(self, event_method: str, /, *args: Any, **kwargs: Any) -> None:
        """The edge: an event that cannot be handled ends nothing else."""
        if self.is_closed():  # whoever said something is heard after the next start
            log.info("An event was left as the bot ended.", action="event_left", event_name=event_method)
            return
        error = sys.exception()
        log.error("An event could not be handled.", action="event_failed", event_name=event_method, exc_info=error)

    async def _find_gateway(self) -> tuple[int, str, Any]:
        """How many shards to connect, to where, and the limits of that. Raises Refused."""
        told = await surely(lambda: self.http.request(Route("GET", "/gateway/bot")), what="gateway")
        return told["shards"], self._gateway_url or told["url"], told["session_start_limit"]

    def _guard_parsers(self) -> None:
        """Let an event that discord.py cannot read end nothing: an error in its parser would end the shard."""
        parsers = self._connection.parsers  # discord.py has no other place for it
        for name, parse in list(parsers.items()):
            parsers[name] = _guarded(name, parse)


def _guarded(name: str, parse: Callable[[Any], Any]) -> Callable[[Any], Any]:
    def guarded(data: Any) -> None:
        try:
            parse(data)
        except Exception:  # the edge: Discord sent something that discord.py does not know
            log.exception("An event could not be read.", action="event_unreadable", event_name=name)

    return guarded
