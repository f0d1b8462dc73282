"""Hearing: what is read beside a question: what led to it, and where that is set, what was said to others before it.

Keeps the latter in memory until somebody asks. Knows no Turn.
"""

from __future__ import annotations

from collections import OrderedDict

import discord

from bots.discord.chains import Chain
from bots.discord.inbound import ANSWERED_TYPES, person_of, words_of
from core.values import ContextMessage
from core.workspaces import ChannelSettings

_MOST_BESIDE = 20
"""Messages that core takes beside one; a chain is never longer than half of it."""

_MOST_CHANNELS = 1024


class Hearing:
    """One per client."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client
        self._heard: OrderedDict[int, OrderedDict[str, ContextMessage]] = OrderedDict()

    def hear(self, message: discord.Message, settings: ChannelSettings) -> None:
        """Remember what is said to others as it reads now, where that is to be read, until the bot is next asked."""
        user, channel = self._client.user, message.channel
        ours = user is not None and isinstance(channel, discord.Thread) and channel.owner_id == user.id
        reads = ours if settings.read_context is None else settings.read_context
        words = words_of(message, user.id if user is not None else 0) if reads else ""
        if not words or message.type not in ANSWERED_TYPES:
            self.unhear(channel.id, message.id)
            return
        heard, event_id = self._heard.setdefault(channel.id, OrderedDict()), str(message.id)
        heard[event_id] = ContextMessage(event_id=event_id, person=person_of(message.author), text=words)
        self._heard.move_to_end(channel.id)
        if len(heard) > _MOST_BESIDE:
            heard.popitem(last=False)
        if len(self._heard) > _MOST_CHANNELS:
            self._heard.popitem(last=False)

    def unhear(self, channel_id: int, message_id: int) -> None:
        """It was deleted."""
        if channel_id in self._heard:
            self._heard[channel_id].pop(str(message_id), None)

    def beside(self, message: discord.Message, chain: Chain) -> tuple[ContextMessage, ...]:
        """What is read beside `message`, the oldest first; what leads to it before anything else."""
        leading = {said.event_id: said for said in chain.context}
        heard = self._heard.get(message.channel.id, OrderedDict[str, ContextMessage]())
        others = [said for said in heard.values() if said.event_id not in leading]
        others = others[-(_MOST_BESIDE - len(leading)) :]
        return tuple(sorted([*others, *leading.values()], key=lambda said: int(said.event_id)))

    def forget(self, channel_id: int) -> None:
        """It has been told."""
        self._heard.pop(channel_id, None)
