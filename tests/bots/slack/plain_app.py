"""A plain AsyncApp, in Socket Mode or behind a request URL, against the stand-in."""

from __future__ import annotations

import re
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from typing import Any

from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team

Json = dict[str, Any]

ANY = re.compile(".*")
PATH = "/slack/events"


class PlainApp:
    """Notes everything that it is told, and acknowledges it; answers nothing by itself."""

    def __init__(self, slack: StandInSlack, team: Team) -> None:
        self.slack = slack
        self.client = AsyncWebClient(token=team.bot_token, base_url=slack.api_base)
        self.bolt = AsyncApp(
            client=self.client,
            signing_secret=slack.signing_secret,
            request_verification_enabled=True,
            raise_error_for_unhandled_request=True,
        )
        self.told: list[tuple[str, Json]] = []
        self.response: Any = None
        """What an interaction is acknowledged with."""
        self._listen()

    def _listen(self) -> None:
        app = self.bolt

        @app.event(ANY)
        @app.event({"type": "message", "subtype": ANY})
        async def event(body: Json) -> None:
            self._note(body["event"]["type"], body)

        @app.command(ANY)
        async def command(body: Json, ack: Any) -> None:
            self._note(body["command"], body)
            await self._acknowledge(ack)

        @app.action(ANY)
        @app.shortcut(ANY)
        @app.view(ANY)
        @app.view_closed(ANY)
        async def interaction(body: Json, ack: Any) -> None:
            self._note(body["type"], body)
            await self._acknowledge(ack)

    async def _acknowledge(self, ack: Any) -> None:
        if isinstance(self.response, dict):
            await ack(**self.response)
        else:
            await ack(self.response) if self.response else await ack()

    def _note(self, name: str, body: Json) -> None:
        self.told.append((name, body))
        self.slack.changes.happened()

    def seen(self, name: str) -> list[Json]:
        """What came under a name."""
        return [body for one, body in self.told if one == name]

    async def until_told(self, *names: str) -> None:
        """Wait until just these have come, in this order."""
        await self.slack.until(lambda: len(self.told) >= len(names))
        assert [name for name, _ in self.told] == list(names)


@asynccontextmanager
async def in_socket_mode(slack: StandInSlack, team: Team) -> AsyncIterator[PlainApp]:
    """An app that is connected."""
    app = PlainApp(slack, team)
    own = AsyncWebClient(base_url=slack.api_base)
    handler = AsyncSocketModeHandler(app.bolt, slack.app_token, web_client=own, ping_interval=0.05)
    await handler.connect_async()
    await slack.until_connected()
    try:
        yield app
    finally:
        await handler.close_async()


@asynccontextmanager
async def behind_url(slack: StandInSlack, team: Team) -> AsyncIterator[PlainApp]:
    """An app that waits for POSTs."""
    app = PlainApp(slack, team)
    runner = web.AppRunner(app.bolt.server(port=0, path=PATH).web_app, access_log=None, shutdown_timeout=1)
    await runner.setup()
    await web.TCPSite(runner, "127.0.0.1", 0).start()
    slack.request_url = f"http://127.0.0.1:{runner.addresses[0][1]}{PATH}"
    try:
        yield app
    finally:
        slack.request_url = None
        await runner.cleanup()
