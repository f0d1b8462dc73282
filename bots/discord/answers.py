"""Answers: the bot's messages as they stand on Discord, and whose answer one is.

A person can be faster than the ledger: the message stands before its row does. Knows ids; knows nothing of what is asked.
"""

from __future__ import annotations

import asyncio
from datetime import UTC, datetime, timedelta

import discord

from bots.discord.places import PLATFORM
from core.history import TurnView
from core.service import Service

_YOUNG = timedelta(seconds=10)
"""The row of an older message has been written, or there is none: the bot says more than answers."""

_AGAIN_S = (0.05, 0.1, 0.2, 0.4, 0.8)


class Answers:
    """One per client."""

    def __init__(self, service: Service) -> None:
        self._service = service

    async def turn_of(self, workspace: str, message_id: int) -> TurnView | None:
        """The Turn that a message of the bot's belongs to; one that was just sent is waited for. None for any other."""
        for wait_s in _AGAIN_S if datetime.now(UTC) - discord.utils.snowflake_time(message_id) < _YOUNG else ():
            if (turn := await self._service.turn_of_message(PLATFORM, workspace, str(message_id))) is not None:
                return turn
            await asyncio.sleep(wait_s)
        return await self._service.turn_of_message(PLATFORM, workspace, str(message_id))
