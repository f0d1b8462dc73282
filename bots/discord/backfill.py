"""Backfill: what was said while the bot was not connected, in the channels where it has spoken.

A connection that ends takes its events with it; the channels still have the messages. Which of them are answered
already is decided in SQL: a message that was taken before is the same Turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable
from datetime import UTC, datetime, timedelta

import aiohttp
import discord
import structlog

from bots.discord.messages import Messages
from bots.discord.places import PLATFORM, channel_of
from core.backfill import BackfillPoint
from core.errors import ServiceUnavailable
from core.handoffs.views import HandoffView
from core.service import Service

log = structlog.get_logger(__name__)

SPOKEN_WITHIN = timedelta(days=7)
"""Channels in which nobody has asked for longer are left alone."""

MISSED_WITHIN = timedelta(hours=24)
"""Older questions would be answered to people who have gone."""

OVERLAP = timedelta(minutes=2)
"""Read again from before the newest message that is known: one from just before it may not have been stored."""

_MOST_MESSAGES = 200
_AT_ONCE = 4


class Backfill:
    """Looks once a connection."""

    def __init__(self, client: discord.Client, service: Service, messages: Messages) -> None:
        self._client, self._service, self._messages = client, service, messages
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> int:
        """Take what was missed. Returns how many messages were looked at."""
        points = await self._service.backfill_points(PLATFORM, datetime.now(UTC) - SPOKEN_WITHIN)
        channels = _of_handoffs(await self._service.desk.open_handoffs(PLATFORM)) | _newest(points)
        looks = [asyncio.create_task(self._channel(channel, after)) for channel, after in channels.items()]
        self._messages.lines.release()
        seen = sum(await asyncio.gather(*looks))
        log.info("Missed messages were looked for.", action="backfilled", channels=len(looks), messages=seen)
        return seen

    async def _channel(self, channel_id: int, after: datetime) -> int:
        async with self._messages.lines.turn_of_before(channel_id), self._turns:
            seen = 0
            try:
                channel = self._client.get_channel(channel_id) or await self._client.fetch_channel(channel_id)
                if not isinstance(channel, discord.abc.Messageable):
                    return 0
                missed = channel.history(limit=_MOST_MESSAGES, after=after, oldest_first=True)
                async for message in missed:
                    seen += 1
                    await (await self._messages.take(message, again=True))()
            except (discord.HTTPException, aiohttp.ClientError, OSError, ServiceUnavailable) as error:
                log.warning(
                    "A channel cannot be read.", action="backfill_failed", channel=channel_id, reason=str(error)
                )
            return seen


def _of_handoffs(views: Iterable[HandoffView]) -> dict[int, datetime]:
    """From when on both sides of each open hand-off are read: what is said there is brought once."""
    oldest = datetime.now(UTC) - MISSED_WITHIN
    found: dict[int, datetime] = {}
    for view in views:
        threads = [int(view.notice_id)] if view.notice_id is not None else []
        found |= {channel: max(view.requested_at, oldest) for channel in (channel_of(view.place), *threads)}
    return found


def _newest(points: Iterable[BackfillPoint]) -> dict[int, datetime]:
    """From when on each channel is read: just before the newest message that is known there."""
    oldest = datetime.now(UTC) - MISSED_WITHIN
    found: dict[int, datetime] = {}
    for point in points:
        if point.newest_event_id.isdigit():
            known = discord.utils.snowflake_time(int(point.newest_event_id)) - OVERLAP
            channel = channel_of(point.place)
            found[channel] = max(known, oldest, found.get(channel, oldest))
    return found
