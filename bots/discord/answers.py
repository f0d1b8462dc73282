"""Answers: the bot's messages as they stand on Discord: whose answer one is, and taking an answer away.

A person can be faster than the ledger: the message stands before its row does. Knows ids; knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import discord
import structlog

from bots.discord.places import PLATFORM, channel_of
from bots.discord.targets import Target
from bots.discord.ways import Ways
from bots.discord.wire import Refused, surely
from core.history import TurnView
from core.service import Service
from core.values import Place

log = structlog.get_logger(__name__)

_YOUNG = timedelta(seconds=10)
"""The row of an older message has been written, or there is none: the bot says more than answers."""

_AGAIN_S = (0.05, 0.1, 0.2, 0.4, 0.8)


class Answers:
    """One per client."""

    def __init__(self, client: discord.Client, service: Service) -> None:
        self._client, self._service = client, service

    async def turn_of(self, workspace: str, message_id: int) -> TurnView | None:
        """The Turn that a message of the bot's belongs to; one that was just sent is waited for. None for any other."""
        for wait_s in _AGAIN_S if datetime.now(UTC) - discord.utils.snowflake_time(message_id) < _YOUNG else ():
            if (turn := await self._service.turn_of_message(PLATFORM, workspace, str(message_id))) is not None:
                return turn
            await asyncio.sleep(wait_s)
        return await self._service.turn_of_message(PLATFORM, workspace, str(message_id))

    async def standing(self, places: Iterable[Place], message_id: int) -> list[discord.PartialMessage]:
        """Every message that ever was an answer to this one, for `take_away`; asked before it is edited or deleted."""
        return [
            Ways(self._client, Target(channel=channel_of(place))).message(external_id)
            for place in places
            for external_id in await self._service.standing(place, str(message_id))
        ]

    async def take_away(self, stale: Iterable[discord.PartialMessage]) -> None:
        """Remove messages of answers that no longer belong to a question."""
        for message in stale:
            try:
                await surely(message.delete, what="remove")
            except Refused as error:
                log.info("An answer cannot be taken away.", action="remove_refused", reason=str(error))
