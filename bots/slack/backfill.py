"""Backfill: what was said while no bot listened, beyond what Slack tells again by itself (three times in six minutes).

Looks where the bot has spoken lately: in channels and DMs for new questions, in threads for what followed. Which of it is
answered already is decided in SQL: a message that was taken before is the same Turn. Asks no more often than Slack takes.
"""

from __future__ import annotations

import asyncio
import time
from collections import defaultdict
from collections.abc import Iterable
from dataclasses import dataclass
from datetime import UTC, datetime, timedelta
from typing import Any

import structlog

from bots.slack.desks import Desk, Desks
from bots.slack.inbound import mentioned
from bots.slack.places import PLATFORM, channel_of, enterprise_of, message_id, team_of
from bots.slack.wire import Refused, Unanswered
from core.backfill import BackfillPoint
from core.errors import ServiceUnavailable
from core.service import Service

log = structlog.get_logger(__name__)

Json = dict[str, Any]

SPOKEN_WITHIN = timedelta(days=7)
"""Places in which nobody has asked for longer are left alone."""

MISSED_WITHIN_S = 86_400.0
"""Older questions would be answered to people who have gone."""

OVERLAP_S = 120.0
"""Read again from before the newest message that is known: one from just before it may not have been stored."""

MOST_LOOKS = 50
LOOKING_FOR_S = 600.0
"""Where Slack takes one question a minute, this is how far it goes: the newest places first."""

_MOST_PAGES = 3
_AT_ONCE = 4


@dataclass(frozen=True, slots=True)
class Look:
    """One place to look at, from where on. Without a `thread`: a channel or DM, but for what stands in its threads."""

    channel: str
    thread: str | None
    oldest: float
    newest_known: float = 0.0


class Backfill:
    """Looks once a start."""

    def __init__(self, service: Service, desks: Desks) -> None:
        self._service, self._desks = service, desks
        self._looks: dict[str, list[Look]] = {}
        self._asking = asyncio.Semaphore(_AT_ONCE)

    async def prepare(self) -> None:
        """Find where to look, and let what is said there now wait until it is known what was missed."""
        points = await self._service.backfill_points(PLATFORM, datetime.now(UTC) - SPOKEN_WITHIN)
        self._looks = looks(points, time.time())
        for workspace in self._looks:
            (await self._desks.of(workspace)).messages.lines.hold()

    async def run(self) -> int:
        """Take what was missed. Returns how many messages were looked at."""
        seen = sum(await asyncio.gather(*(self._workspace(each, found) for each, found in self._looks.items())))
        if self._looks:
            log.info("Missed messages were looked for.", action="backfilled", messages=seen)
        return seen

    async def _workspace(self, workspace: str, found: list[Look]) -> int:
        seen, left = 0, list(found[:MOST_LOOKS])
        desk = await self._desks.surely_of(workspace)
        try:
            async with asyncio.timeout(LOOKING_FOR_S):
                while left:
                    messages = await self._read(desk, left[0])
                    begun = await self._take(desk, workspace, messages)
                    known = {(look.channel, look.thread) for look in [*found, *left]}
                    left = [*left[1:], *(look for look in begun if (look.channel, look.thread) not in known)]
                    seen += len(messages)
        except (Refused, ServiceUnavailable, TimeoutError) as error:
            log.warning("What was missed cannot be had.", action="backfill_failed", reason=str(error) or "too long")
        finally:
            desk.messages.lines.release()
        if left:
            log.warning("Some places were not looked at.", action="backfill_cut", workspace=workspace, places=len(left))
        return seen

    async def _read(self, desk: Desk, look: Look) -> list[Json]:
        """What stands there, the oldest first; nothing where the bot may not look. However long Slack takes no question."""
        try:
            found = await self._found(desk, look)
        except Refused as error:
            log.info("A place cannot be read.", action="backfill_refused", channel=look.channel, reason=str(error))
            return []
        return sorted(
            ({**message, "channel": look.channel} for message in found if float(message["ts"]) > look.oldest),
            key=lambda message: float(message["ts"]),
        )

    async def _found(self, desk: Desk, look: Look) -> list[Json]:
        """Raises Refused where the bot may not look. Who has to wait for Slack keeps no other workspace from asking."""
        try:
            async with self._asking:
                return await self._pages(desk, look, patient=False)
        except Unanswered as error:
            if error.limited:
                desk.messages.lines.release()  # what is said now does not wait for so long
            return await self._pages(desk, look, patient=True)

    async def _pages(self, desk: Desk, look: Look, *, patient: bool) -> list[Json]:
        oldest, most = f"{look.oldest:.6f}", _MOST_PAGES
        if look.thread is None:
            pages = desk.history.channel(look.channel, oldest=oldest, most_pages=most, patient=patient)
        else:
            pages = desk.history.thread(look.channel, look.thread, oldest=oldest, most_pages=most, patient=patient)
        return [message async for page in pages for message in page["messages"]]

    async def _take(self, desk: Desk, workspace: str, messages: list[Json]) -> list[Look]:
        """Hand them over as if they came now. Returns the threads that began with a question and went on."""
        begun = []
        bot = await self._desks.bot_of(workspace)
        event_ids = [message_id(message["channel"], message["ts"]) for message in messages]
        taken = await self._service.asked_events(PLATFORM, workspace, event_ids)  # most of them
        for message in messages:
            kind = "im" if message["channel"].startswith("D") else "channel"
            if message_id(message["channel"], message["ts"]) not in taken:
                event = {**message, "channel_type": kind}
                body = {"team_id": team_of(workspace), "enterprise_id": enterprise_of(workspace), "event": event}
                later = await desk.messages.said(body, bot, again=True, missed=True)
                await later()
            others = set(message.get("reply_users") or ()) - {bot}
            if others and (kind == "im" or bot in mentioned(message)):
                begun.append(Look(message["channel"], message["ts"], float(message["ts"])))
        return begun


def looks(points: Iterable[BackfillPoint], now: float) -> dict[str, list[Look]]:
    """Where to look in each workspace, the places first in which something was said last."""
    oldest = now - MISSED_WITHIN_S
    found: dict[str, dict[tuple[str, str | None], float]] = defaultdict(dict)
    for point in points:
        channel, thread = channel_of(point.place), point.place.conversation.partition(":")[2] or None
        known = _moment(point.newest_event_id.removeprefix(f"{channel}:")) or _moment(thread or "")
        if not known:
            continue
        of_workspace = found[point.place.workspace]
        for key in {(channel, thread), (channel, None)}:
            of_workspace[key] = max(known, of_workspace.get(key, 0.0))
    return {
        workspace: [
            Look(channel, thread, max(known - OVERLAP_S, oldest), known)
            for (channel, thread), known in sorted(of_workspace.items(), key=lambda each: -each[1])
            if thread is None or known > oldest
        ]
        for workspace, of_workspace in found.items()
    }


def _moment(ts: str) -> float:
    """When a message was written; 0 where this is the id of no message."""
    seconds, _, count = ts.partition(".")
    return float(ts) if seconds.isdigit() and count.isdigit() and len(ts) < 20 else 0.0
