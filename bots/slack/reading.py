"""Reading: what others say around a question, where that is to be read, and whole threads that are to be summed up.

What is said while the bot listens is remembered until it is next asked, and kept in the database from then on. What was
said in a thread before is asked of Slack, once a thread and in bounds: of some apps Slack tells one page a minute.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Mapping
from contextlib import aclosing
from typing import Any

import structlog

from bots.slack.history import History
from bots.slack.inbound import is_written, words_of
from bots.slack.people import People
from bots.slack.places import PLATFORM, channel_of, message_id
from bots.slack.wire import Refused
from core.service import Service
from core.values import ContextMessage, Place
from core.workspaces import ChannelSettings

log = structlog.get_logger(__name__)

Json = dict[str, Any]

MOST_CONTEXT = 20
_MOST_PLACES = 1024
_PAGES = 3
_LONGEST_LOOK_S = 1.5
"""A question does not wait longer for what was said before it."""


class Reading:
    """One per workspace. `limit` is how many characters a message may have."""

    def __init__(self, history: History, service: Service, people: People, limit: int) -> None:
        self._history, self._service, self._people, self._limit = history, service, people, limit
        self._heard: OrderedDict[str, OrderedDict[str, ContextMessage]] = OrderedDict()
        self._known: OrderedDict[str, None] = OrderedDict()
        """Threads of which all is heard or was asked for."""

    async def hear(self, event: Json, settings: ChannelSettings, bot: str) -> None:
        """Remember what is said to others, where that is to be read, until the bot is next asked."""
        if not is_written(event) or not _reads(event, settings, bot):
            return
        heard = self._heard.setdefault(_place(event), OrderedDict())
        self._heard.move_to_end(_place(event))
        _trim(self._heard, _MOST_PLACES)
        if (message := await self._message(event, event["channel"], bot)) is not None:
            heard[message.event_id] = message
            _trim(heard, MOST_CONTEXT)

    def unhear(self, channel: str, ts: str) -> None:
        """A message was deleted."""
        for heard in self._heard.values():
            heard.pop(message_id(channel, ts), None)

    async def context(self, event: Json, settings: ChannelSettings, bot: str) -> tuple[ContextMessage, ...]:
        """What was said before this message beside it, the oldest first."""
        if not _reads(event, settings, bot):
            return ()
        place, found = _place(event), dict[str, ContextMessage]()
        if event.get("thread_ts") not in {None, event["ts"]} and place not in self._known:
            found = await self._before(event, bot, place)
        found |= self._heard.get(place, {})
        found.pop(message_id(event["channel"], event["ts"]), None)
        return tuple(sorted(found.values(), key=lambda each: each.event_id))[-MOST_CONTEXT:]

    async def thread(self, place: Place, message: Json, bot: str) -> tuple[str, bool]:
        """What is said in a thread, a paragraph each, and whether that is all. Of who opted out nothing is read.

        Where Slack does not let it be read, what the database has of it. Empty where nothing can be had.
        """
        channel, ts = channel_of(place), message.get("thread_ts") or message["ts"]
        said, whole = list[Json](), True
        try:
            async for page in self._history.thread(channel, ts, most_pages=_PAGES):
                said += page["messages"]
                whole = not page.get("has_more")
        except Refused as error:
            log.info("A thread cannot be read.", action="thread_unread", reason=str(error))
            whole = False
        if not said:
            return await self._known_of(place), False
        unread = await self._service.privacy.opted_out(PLATFORM, {str(each.get("user")) for each in said})
        lines = [await self._line(each, bot) for each in said if each.get("user") not in unread]
        return self._fitting([line for line in lines if line], whole=whole and not unread)

    def _fitting(self, lines: list[str], *, whole: bool) -> tuple[str, bool]:
        """As many lines as a message may hold, the newest."""
        size = 0
        for index in range(len(lines) - 1, -1, -1):
            size += len(lines[index]) + 2
            if size > self._limit:
                return "\n\n".join(lines[index + 1 :]), False
        return "\n\n".join(lines), whole

    async def _known_of(self, place: Place) -> str:
        turns = await self._service.history(place)
        said = [words for turn in turns for words in (turn.text, turn.answer.text if turn.answer else "") if words]
        return self._fitting(said, whole=False)[0]

    async def _before(self, event: Json, bot: str, place: str) -> dict[str, ContextMessage]:
        """What the thread holds already; asked for once, where Slack tells it."""
        found: dict[str, ContextMessage] = {}
        try:
            async with asyncio.timeout(_LONGEST_LOOK_S):
                async with aclosing(self._history.thread(event["channel"], event["thread_ts"])) as pages:
                    page = await anext(pages)
                for each in page["messages"][-MOST_CONTEXT:]:
                    if is_written(each) and (message := await self._message(each, event["channel"], bot)) is not None:
                        found[message.event_id] = message
        except (Refused, TimeoutError) as error:
            log.info("A thread cannot be read.", action="thread_unread", reason=str(error) or "it takes too long")
        else:
            self._known[place] = None
            _trim(self._known, _MOST_PLACES)
        return found

    async def _message(self, event: Mapping[str, Any], channel: str, bot: str) -> ContextMessage | None:
        words = words_of(event, bot, self._people.name_of)
        if not words:
            return None
        person = await self._people.person(event["user"])
        return ContextMessage(event_id=message_id(channel, event["ts"]), person=person, text=words)

    async def _line(self, message: Json, bot: str) -> str:
        words = words_of(message, bot, self._people.name_of)
        if not words or not message.get("user"):
            return words
        name = (await self._people.person(message["user"])).display_name
        return f"{name}: {words}" if name else words


def _reads(event: Json, settings: ChannelSettings, bot: str) -> bool:
    """Whether others are read here; where nobody has said, in threads that the bot began."""
    return event.get("parent_user_id") == bot if settings.read_context is None else settings.read_context


def _place(event: Json) -> str:
    return f"{event['channel']}:{event.get('thread_ts') or ''}"


def _trim(kept: OrderedDict[str, Any], most: int) -> None:
    while len(kept) > most:
        kept.popitem(last=False)
