"""Backfill: what was said while the bot was not connected, where it is asked and where it might have been.

A connection that ends takes its events with it; the channels still have the messages. Which of them are answered
already is decided in SQL: a message that was taken before is the same Turn. Of channels, threads and posts in which
nobody has asked anything yet Discord tells, as it connects, when something was last said there.
"""

from __future__ import annotations

import asyncio
from collections.abc import Iterable, Mapping
from datetime import UTC, datetime, timedelta

import discord
import structlog

from bots.discord.listening import Listening
from bots.discord.messages import Messages
from bots.discord.places import PLATFORM, channel_of
from bots.discord.wire import Refused, surely
from core.backfill import BackfillPoint
from core.errors import ServiceUnavailable
from core.handoffs.views import HandoffView
from core.service import Service

log = structlog.get_logger(__name__)

SPOKEN_WITHIN = timedelta(days=7)
"""Channels in which nobody has asked for longer are read like those in which nobody has ever."""

MISSED_WITHIN = timedelta(hours=24)
"""Older questions would be answered to people who have gone."""

OVERLAP = timedelta(minutes=2)
"""Read again from before the newest message that is known: one from just before it may not have been stored."""

MOST_OTHERS = 100
"""Channels in which nobody has asked are read so many at a time, those with the newest messages."""

MOST_MESSAGES = 200
"""Of a channel, the oldest first."""

READ_FOR_S = 60.0
"""What is said in a channel now waits no longer for what was missed there, where Discord does not tell it."""

_AT_ONCE = 4


class Backfill:
    """Looks once a connection."""

    def __init__(self, client: discord.Client, service: Service, messages: Messages, listening: Listening) -> None:
        self._client, self._service, self._messages, self._listening = client, service, messages, listening
        self._turns = asyncio.Semaphore(_AT_ONCE)

    async def run(self) -> int:
        """Take what was missed. Returns how many messages were looked at.

        Raises ServiceUnavailable where that was not all: some channels could not be read, or a service is away.
        """
        with self._listening.catching_up():
            points = await self._service.backfill_points(PLATFORM, datetime.now(UTC) - SPOKEN_WITHIN)
            known = _of_handoffs(await self._service.handoffs.open_handoffs(PLATFORM)) | _newest(points)
            after = {**known, **await self._others(known)}
            looks = [asyncio.create_task(self._channel(channel, since)) for channel, since in after.items()]
            self._messages.lines.release()
            seen = [count for count in await asyncio.gather(*looks) if count is not None]
            if len(seen) < len(looks):
                raise ServiceUnavailable(f"{len(looks) - len(seen)} channels could not be read.")
        log.info("Missed messages were looked for.", action="backfilled", channels=len(looks), messages=sum(seen))
        await self._listening.note()
        return sum(seen)

    async def _others(self, known: Mapping[int, datetime]) -> dict[int, datetime]:
        """From when on to read where nobody has asked yet, and something was said while the bot was away."""
        heard = await self._listening.since()
        if heard is None:
            return {}
        since = max(heard - OVERLAP, datetime.now(UTC) - MISSED_WITHIN)
        newest: dict[int, int] = {}
        for guild in self._client.guilds:
            newest |= _spoken_in(guild, discord.utils.time_snowflake(since))
            await asyncio.sleep(0)  # of thousands of guilds, so that what is said now is heard as well
        others = sorted(newest.keys() - known.keys(), key=lambda channel: -newest[channel])
        if len(others) > MOST_OTHERS:
            log.warning("Some channels are not read.", action="backfill_bounded", left_out=len(others) - MOST_OTHERS)
        return dict.fromkeys(others[:MOST_OTHERS], since)

    async def _channel(self, channel_id: int, after: datetime) -> int | None:
        """How many messages of a channel were looked at; None where it may be read another time."""
        async with self._messages.lines.turn_of_before(channel_id), self._turns:
            try:
                async with asyncio.timeout(READ_FOR_S):
                    missed = await surely(lambda: self._missed(channel_id, after), what="missed")
                for message in missed:
                    await (await self._messages.take(message, again=True))()
            except (Refused, discord.InvalidData) as error:
                log.warning("A channel is not read.", action="backfill_refused", channel=channel_id, reason=str(error))
                return 0
            except (TimeoutError, ServiceUnavailable) as error:
                reason = str(error) or repr(error)
                log.warning("A channel cannot be read.", action="backfill_failed", channel=channel_id, reason=reason)
                return None
        if len(missed) == MOST_MESSAGES:
            log.warning("Newer messages are not read.", action="backfill_cut", channel=channel_id, read=len(missed))
        return len(missed)

    async def _missed(self, channel_id: int, after: datetime) -> list[discord.Message]:
        """What was said in a channel since then. Raises what discord.py raises."""
        channel = self._client.get_channel(channel_id) or await self._client.fetch_channel(channel_id)
        if not isinstance(channel, discord.abc.Messageable):
            return []
        history = channel.history(limit=MOST_MESSAGES, after=after, oldest_first=True)
        return [message async for message in history]


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


def _spoken_in(guild: discord.Guild, since: int) -> dict[int, int]:
    """The newest message of each channel, thread and post that the bot may read and something was said in since then."""
    newest: dict[int, int] = {}
    for channel in (*guild.channels, *guild.threads):
        if isinstance(channel, discord.abc.Messageable):
            opened = channel.id if isinstance(channel, discord.Thread) else 0  # which its first message may count as
            said = max(getattr(channel, "last_message_id", None) or 0, opened)
            if said > since and _may_read(channel):
                newest[channel.id] = said
    return newest


def _may_read(channel: discord.abc.GuildChannel | discord.Thread) -> bool:
    if isinstance(channel, discord.Thread) and channel.parent is None:
        return False  # nobody knows
    granted = channel.permissions_for(channel.guild.me)
    return granted.view_channel and granted.read_message_history
