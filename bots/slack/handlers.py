"""Handlers: everything that one app's events need, put together on an opened Service."""

from __future__ import annotations

import asyncio
from typing import Any

import aiohttp
import structlog
from slack_sdk.web.async_client import AsyncWebClient
from yarl import URL

from bots.attachments import Attachments
from bots.courier import Courier
from bots.rooms import Rooms
from bots.slack.home import Home
from bots.slack.interactions import Interactions
from bots.slack.messages import Messages
from bots.slack.people import People
from bots.slack.places import PLATFORM
from bots.slack.sink import Sinks
from bots.slack.speaking import Speaker
from core.errors import ServiceUnavailable
from core.service import Service
from core.settings import Settings

log = structlog.get_logger(__name__)

BEAT_S = 10.0
_AGAIN_S = 2.0
_FILE_HOST = "files.slack.com"


class Handlers:
    """One per bot process."""

    def __init__(
        self, client: AsyncWebClient, service: Service, settings: Settings, session: aiohttp.ClientSession
    ) -> None:
        self._service = service
        rooms, people, speaker = Rooms(service, PLATFORM), People(client), Speaker(client)
        hosts = (_FILE_HOST, URL(settings.slack_api_base).authority)
        headers = {"Authorization": f"Bearer {settings.slack_bot_token.get_secret_value()}"}
        attachments = Attachments(session, hosts, headers=headers)
        self.courier = Courier(service, Sinks(client, service).open)
        self.messages = Messages(client, service, self.courier, rooms, people, attachments, speaker)
        self.home = Home(client, service, people)
        self.gone = asyncio.Event()
        self.interactions = Interactions(client, service, self.courier, rooms, people, speaker)

    def removed(self, body: dict[str, Any]) -> None:
        """The app is no longer in a workspace: nothing can be said there, and nobody is asked again."""
        event = body["event"]
        if event["type"] == "tokens_revoked" and not event.get("tokens", {}).get("bot"):
            return
        log.warning("Slack took the app away.", action="slack_removed", team=body.get("team_id"))
        self.gone.set()

    async def resume(self) -> None:
        """Deliver what a bot that ended has left."""
        while True:
            try:
                waiting = await self.courier.resume(PLATFORM)
            except ServiceUnavailable as error:
                log.warning("A start waits for a service.", action="slack_waits", reason=str(error))
                await asyncio.sleep(_AGAIN_S)
            else:
                log.info("Answers of before are delivered.", action="slack_resumed", turns=waiting)
                return

    async def beat(self) -> None:
        """Say again and again that the bot listens; without end."""
        while True:
            try:
                await self._service.say_connected(PLATFORM, 3 * BEAT_S)
            except ServiceUnavailable as error:
                log.warning("Nobody hears that Slack is connected.", action="beat_failed", reason=str(error))
            await asyncio.sleep(BEAT_S)
