"""Reply chains: what led to a message, each the message that the one below it replies to.

Discord tells one step with every message, so that a chain costs one request for two steps. Its bounds are of courtesy:
whoever asks waits for it. Knows discord.py's objects; knows no settings and no Turn.
"""

from __future__ import annotations

import asyncio
from collections import deque
from dataclasses import dataclass

import aiohttp
import discord
import structlog

from bots.discord.inbound import person_of, words_of
from core.values import ContextMessage

log = structlog.get_logger(__name__)

MAX_STEPS = 10
MAX_CHARS = 8_000
"""Of all its messages together."""

MAX_S = 3.0


@dataclass(frozen=True, slots=True)
class Chain:
    """What people said, the oldest first. `answer` is the message of the bot at which it ends: its own Conversation
    knows what was before.
    """

    context: tuple[ContextMessage, ...] = ()
    answer: int | None = None


class ReplyChains:
    """Reads them, as the client may."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def above(self, message: discord.Message) -> Chain:
        """What `message` replies to, step by step, up to what is deleted, not to be read or too much.

        Other bots are passed over.
        """
        context: deque[ContextMessage] = deque()
        try:
            async with asyncio.timeout(MAX_S):
                return Chain(answer=await self._climb(message, context), context=tuple(context))
        except (discord.DiscordException, aiohttp.ClientError, OSError) as error:  # OSError: also out of time
            reason = str(error) or repr(error)
            log.info("A reply chain is read in part.", action="chain_cut", event_id=str(message.id), reason=reason)
            return Chain(tuple(context))

    async def _climb(self, message: discord.Message, context: deque[ContextMessage]) -> int | None:
        """Put what is said above `message` in front of `context`; the bot's own message where it comes to one."""
        bot_id = self._client.user.id if self._client.user is not None else 0
        said, room = message, MAX_CHARS
        for _ in range(MAX_STEPS):
            above = await _replied_to(said)
            if above is None or above.author.id == bot_id:
                return above.id if above is not None else None
            said = above
            if not said.content and not self._client.intents.message_content:
                return None  # nor would anything above it be shown
            words = "" if said.author.bot else words_of(said, bot_id)
            room -= len(words)
            if room < 0:
                return None
            if words:
                context.appendleft(ContextMessage(event_id=str(said.id), person=person_of(said.author), text=words))
        return None


async def _replied_to(message: discord.Message) -> discord.Message | None:
    """The message that this one replies to; None where it replies to none, or that one is deleted.

    Raises what discord.py raises.
    """
    reference = message.reference
    if message.type is not discord.MessageType.reply or reference is None or reference.message_id is None:
        return None
    if isinstance(reference.resolved, discord.Message):
        return reference.resolved
    if isinstance(reference.resolved, discord.DeletedReferencedMessage) or reference.channel_id != message.channel.id:
        return None
    return await discord.PartialMessage(channel=message.channel, id=reference.message_id).fetch()
