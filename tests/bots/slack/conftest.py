"""The Slack bot against the stand-in servers: real SQLite, Valkey, streams and a scripted worker behind it."""

from __future__ import annotations

import asyncio
from collections.abc import AsyncIterator
from dataclasses import dataclass

import aiohttp
import pytest

from bots.slack.manifest import EVENTS, EVENTS_PATH, SCOPES
from bots.slack.server import talk
from bots.slack.slash import COMMAND, SHORTCUT_CALLS
from core.service import Service
from core.settings import Settings
from core.tasks import end
from pajama.ports import free_port
from tests.bots.looking import eventually
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.server import StandInSlack
from tests.bots.slack.standin.team import Team


@pytest.fixture
async def slack() -> AsyncIterator[StandInSlack]:
    """The servers, with the app as its manifest makes it. Whatever the bot did, it kept to the rules of the platform."""
    async with StandInSlack() as slack:
        slack.scopes, slack.subscriptions = set(SCOPES), set(EVENTS)
        slack.commands, slack.shortcuts = {COMMAND}, set(SHORTCUT_CALLS)
        yield slack
    assert slack.violations == []


@pytest.fixture
def acme(slack: StandInSlack) -> Team:
    return slack.add_team("Acme", users=["Ann", "Bob"])


@pytest.fixture
def ann(acme: Team) -> User:
    return acme.user("Ann")


@pytest.fixture
def bob(acme: Team) -> User:
    return acme.user("Bob")


@pytest.fixture
def general(acme: Team) -> Channel:
    return acme.add_channel("general")


@pytest.fixture
def settings(settings: Settings, slack: StandInSlack, acme: Team, request: pytest.FixtureRequest) -> Settings:
    secret = type(settings.slack_bot_token)
    by_http = {"slack_mode": "http", "slack_http_port": free_port()} if "by_http" in request.fixturenames else {}
    return settings.model_copy(
        update={
            **by_http,
            "slack_bot_token": secret(acme.bot_token if acme.installed else ""),
            "slack_app_token": secret(slack.app_token),
            "slack_signing_secret": secret(slack.signing_secret),
            "slack_api_base": slack.api_base,
            "max_queued_turns_per_person": 5,
        }
    )


def by_oauth(settings: Settings, slack: StandInSlack) -> Settings:
    """For an app that many install on its page."""
    port, secret = free_port(), type(settings.slack_bot_token)
    return settings.model_copy(
        update={
            "slack_bot_token": secret(""),
            "slack_client_id": slack.client_id,
            "slack_client_secret": secret(slack.client_secret),
            "slack_http_port": port,
            "slack_public_url": f"http://127.0.0.1:{port}",
        }
    )


@dataclass
class Bot:
    """The adapter, running in the test's own loop."""

    settings: Settings
    service: Service
    slack: StandInSlack
    task: asyncio.Task[None] | None = None

    async def start(self, connections: int = 1) -> None:
        """Connect, and wait until the servers see the bot, with those that are connected already."""
        self.task = asyncio.create_task(self._run())
        connected = asyncio.create_task(self.slack.until_connected(connections))
        await asyncio.wait({self.task, connected}, return_when=asyncio.FIRST_COMPLETED)
        if self.task.done():
            connected.cancel()
            self.task.result()

    async def settled(self) -> None:
        """Wait until everything that the servers told is handled, and every answer delivered, or the bot is gone."""
        task = self.task
        await eventually(lambda: task is None or task.done() or _has_begun())
        while self.task is not None and not self.task.done():
            busy = _busy()
            told = {asyncio.ensure_future(self.slack.deliveries.until_over())}
            await asyncio.wait({self.task, *(busy or told)}, return_when=asyncio.FIRST_COMPLETED)
            over = all(task.done() for task in told)
            for task in told:
                task.cancel()
            if over and not busy and not _busy():
                return

    async def stop(self) -> None:
        """End where it is."""
        if self.task is not None:
            others = max(0, len(self.slack.sockets.open) - (not self.task.done()))
            await end(self.task)
            if not others:
                await _end_what_is_left()
            await self.slack.until(lambda: len(self.slack.sockets.open) <= others)

    async def _run(self) -> None:
        async with aiohttp.ClientSession() as session:
            await talk(self.settings, self.service, session)


async def _end_what_is_left() -> None:
    """What Bolt began for events that are not acknowledged would end with the process."""
    await end(*filter(_is_of_the_bot, asyncio.all_tasks()))


def _is_of_the_bot(task: asyncio.Task[object]) -> bool:
    code = getattr(task.get_coro(), "cr_code", None)
    file = code.co_filename if code is not None else ""
    return "/slack_sdk/" in file or "/slack_bolt/" in file or ("/bots/" in file and "/tests/" not in file)


def _has_begun() -> bool:
    """Whether the bot has taken up what was left, so that nothing more comes of that."""
    return any(task.get_name() == "slack-beat" for task in asyncio.all_tasks())


def _busy() -> set[asyncio.Task[object]]:
    """What the bot does of itself: deliver, and what is left to do about events."""
    return {task for task in asyncio.all_tasks() if task.get_name().startswith(("deliver-", "errand-"))}


@pytest.fixture
async def idle_bot(settings: Settings, service: Service, slack: StandInSlack) -> AsyncIterator[Bot]:
    """The bot, not started."""
    bot = Bot(settings, service, slack)
    yield bot
    await bot.stop()


@pytest.fixture
async def bot(idle_bot: Bot) -> Bot:
    """The bot, connected."""
    await idle_bot.start()
    return idle_bot


@pytest.fixture
async def second_bot(settings: Settings, service: Service, slack: StandInSlack, bot: Bot) -> AsyncIterator[Bot]:
    """Another process on the same database and Redis."""
    second = Bot(settings, service, slack)
    await second.start(connections=2)
    yield second
    await second.stop()


@pytest.fixture
async def by_http(idle_bot: Bot, settings: Settings, slack: StandInSlack) -> AsyncIterator[Bot]:
    """The bot behind a request URL."""
    idle_bot.task = asyncio.create_task(idle_bot._run())
    slack.request_url = f"http://127.0.0.1:{settings.slack_http_port}{EVENTS_PATH}"
    while not await _reached(slack):
        assert not idle_bot.task.done()
    yield idle_bot
    slack.request_url = None


async def _reached(slack: StandInSlack) -> bool:
    try:
        return await slack.poster.verify_url()
    except OSError:
        await asyncio.sleep(0.01)  # nobody listens yet, which nothing tells
        return False
