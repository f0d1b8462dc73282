"""Ways: how what is for a person gets to Discord: as their interaction's own, into the channel, or to them alone.

The first of them ends with the interaction's token. Knows which refusals leave another way; knows no answer.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import discord

from bots.discord.targets import Target
from bots.discord.wire import Refused, surely

T = TypeVar("T")

ORIGINAL: Any = "@original"  # discord.py asks for a number, and Discord takes this word as well
_OF_AN_INTERACTION = discord.WebhookType.application.value
_NO_WAY = frozenset({10003, 10008, 10015, 10062, 50001, 50013, 50027})
"""Unknown channel, message, webhook or interaction; no access, no permission, a token that ended: try the other way."""


class NoToken(Exception):
    """There is no interaction to complete."""


class Ways:
    """To one target."""

    def __init__(self, client: discord.Client, target: Target) -> None:
        self._client, self._target = client, target
        self.channel = client.get_partial_messageable(target.channel)

    def interaction(self) -> discord.Webhook:
        """The interaction's own way. Raises NoToken where there is none, or none any more."""
        if not self._target.token_lives or self._client.application_id is None:
            raise NoToken
        data: Any = {"id": self._client.application_id, "type": _OF_AN_INTERACTION, "token": self._target.token}
        state = self._client._connection  # noqa: SLF001 - as discord.py does it itself: `partial` knows no proxy
        return discord.Webhook.from_state(data, state=state)

    async def private(self) -> discord.DMChannel:
        """The asker's direct messages."""
        return await self._client.create_dm(discord.Object(self._target.asker or 0))

    def message(self, external_id: str) -> discord.PartialMessage:
        """The message that was kept as `external_id`: with its channel, where that is not the target's."""
        channel, _, message = external_id.rpartition(":")
        place = self._client.get_partial_messageable(int(channel)) if channel else self.channel
        return place.get_partial_message(int(message))

    def external_id(self, message: discord.Message) -> str:
        """How a message that was sent is kept."""
        elsewhere = message.channel.id != self._target.channel
        return f"{message.channel.id}:{message.id}" if elsewhere else str(message.id)

    async def first_of(self, what: str, *ways: Callable[[], Awaitable[T]] | None) -> T:
        """The result of the first way that Discord takes. Raises Refused with the last one's reason."""
        refused: Refused | None = None
        for way in ways:
            if way is None:
                continue
            try:
                return await surely(way, what=what)
            except NoToken:
                continue
            except Refused as error:
                refused = error
                if error.refusal not in _NO_WAY:
                    raise
        assert refused is not None  # a way that needs no token is always tried
        raise refused
