"""Desks: for each workspace all that answers it, with the client that holds its token.

What a desk knows of people and files is of its workspace alone. The Courier is everybody's: it brings each answer to the
desk of its workspace.
"""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
from dataclasses import dataclass

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from bots.attachments import Attachments
from bots.courier import Courier
from bots.delivery import ReplySink
from bots.rooms import Rooms
from bots.slack.budget import SendBudget
from bots.slack.handoff import HandoffRooms
from bots.slack.history import History
from bots.slack.home import Home
from bots.slack.interactions import Interactions
from bots.slack.messages import Messages
from bots.slack.once import Once
from bots.slack.people import People
from bots.slack.places import PLATFORM, team_of
from bots.slack.questions import Questions
from bots.slack.reading import Reading
from bots.slack.sinks import Sinks
from bots.slack.slash import Slash
from bots.slack.speaking import Speaker
from bots.slack.targets import Target
from bots.slack.tokens import Tokens
from core.errors import ServiceUnavailable
from core.history import TurnView
from core.service import Service
from core.settings import Settings

log = structlog.get_logger(__name__)

_AGAIN_S = 2.0
_FILE_HOST = "files.slack.com"


@dataclass(frozen=True, slots=True)
class Desk:
    """One workspace's."""

    client: AsyncWebClient
    messages: Messages
    slash: Slash
    interactions: Interactions
    home: Home
    sinks: Sinks
    history: History
    handoffs: HandoffRooms
    speaker: Speaker


class Desks:
    """One per bot process; a desk is opened where it is first needed."""

    def __init__(self, settings: Settings, service: Service, session: aiohttp.ClientSession, tokens: Tokens) -> None:
        self._settings, self._service, self._session, self._tokens = settings, service, session, tokens
        self._rooms, self._once = Rooms(service, PLATFORM), Once(service)
        self._desks: dict[str, Desk] = {}
        self.courier = Courier(service, self._sink, self._waiting, self._tell_wait)

    async def of(self, workspace: str) -> Desk:
        """The workspace's desk, with the token of now, or none where the app is not there. Raises ServiceUnavailable."""
        bot = await self._tokens.of(workspace)
        desk = self._desks.get(workspace)
        if desk is None:
            desk = self._desks[workspace] = self._open(workspace)
        desk.client.token = bot.bot_token if bot is not None else None
        return desk

    async def bot_of(self, workspace: str) -> str:
        """The id of our bot's user there; empty where the app is not there. Raises ServiceUnavailable."""
        bot = await self._tokens.of(workspace)
        return bot.bot_user_id if bot is not None else ""

    async def handoffs_of(self, workspace: str) -> HandoffRooms:
        """Where the workspace's hand-offs are shown. Raises ServiceUnavailable."""
        return (await self.of(workspace)).handoffs

    def close(self, workspace: str) -> None:
        """The app is no longer there: what is still to be said is refused, and who was known is forgotten."""
        desk = self._desks.pop(workspace, None)
        if desk is not None:
            desk.client.token = None

    def _open(self, workspace: str) -> Desk:
        settings, service = self._settings, self._service
        client = web_client(settings, session=self._session)
        hosts = (_FILE_HOST, URL(settings.slack_api_base).authority)
        attachments = Attachments(
            self._session, hosts, headers=lambda: {"Authorization": f"Bearer {client.token}"}, proxy=client.proxy
        )
        send_budget = SendBudget(service, team_of(workspace))
        people, speaker = People(client, team_of(workspace)), Speaker(client, send_budget)
        questions = Questions(client, service, people, attachments)
        history = History(client)
        reading = Reading(history, service, people, settings.max_message_chars)
        handoffs = HandoffRooms(client, service, people, send_budget)
        talking = (client, service, self.courier, self._rooms, people, questions, reading, speaker, self._once)
        return Desk(
            client=client,
            messages=Messages(*talking, handoffs),
            slash=Slash(*talking),
            interactions=Interactions(client, service, self.courier, people, questions, speaker, handoffs),
            home=Home(client, service, people),
            sinks=Sinks(client, service),
            history=history,
            handoffs=handoffs,
            speaker=speaker,
        )

    @asynccontextmanager
    async def _sink(self, turn: TurnView) -> AsyncIterator[ReplySink]:
        desk = await self.surely_of(turn.place.workspace)
        async with desk.sinks.open(turn) as sink:
            yield sink

    def _waiting(self, turn: TurnView) -> AbstractContextManager[object]:
        """A status below the question; none where no desk is open yet, that is while nothing is said there."""
        desk = self._desks.get(turn.place.workspace)
        return desk.sinks.waiting(turn) if desk is not None else nullcontext()

    async def _tell_wait(self, turn: TurnView, sentence: str, _: str) -> None:
        target, desk = Target.model_validate(turn.target), await self.of(turn.place.workspace)
        await desk.speaker.only_to(target.channel, target.asker, sentence, target.thread)

    async def surely_of(self, workspace: str) -> Desk:
        """`of`, however long a service is away."""
        while True:
            try:
                return await self.of(workspace)
            except ServiceUnavailable as error:
                log.warning("A delivery waits for a token.", action="delivery_postponed", reason=str(error))
                await asyncio.sleep(_AGAIN_S)


def web_client(
    settings: Settings, token: str | None = None, session: aiohttp.ClientSession | None = None
) -> AsyncWebClient:
    """A client that retries nothing by itself: what was sent twice would be there twice."""
    return AsyncWebClient(token=token, base_url=settings.slack_api_base, retry_handlers=[], session=session)
