"""Answers: the bot's messages as they stand on Discord: whose answer one is, and taking an answer away.

A person can be faster than the ledger: the message stands before its row does. Knows ids; knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import discord
import structlog

from bots.discord.places import PLATFORM, channel_of
from bots.discord.wire import Refused, surely
from core.history import TurnView
from core.service import Service

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

    async def take_away(self, turn: TurnView) -> None:
        """Remove the messages of an answer that no longer belongs to a question."""
        if turn.answer is None:
            return
        channel = self._client.get_partial_messageable(channel_of(turn.place))
        for row in await self._service.deliveries(turn.answer.generation_id):
            if row.external_id is None:
                continue
            stale = channel.get_partial_message(int(row.external_id))
            try:
                await surely(stale.delete, what="remove")
            except Refused as error:
                log.info("An answer cannot be taken away.", action="remove_refused", reason=str(error))
