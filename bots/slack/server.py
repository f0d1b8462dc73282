"""The process of the Slack bot: listen in Socket Mode or behind a request URL, stop within a moment.

With a bot token it answers one workspace; with a client id, all that install the app on its page.
"""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import AsyncExitStack, asynccontextmanager

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp

from bots.slack.app import make_app
from bots.slack.desks import web_client
from bots.slack.handlers import Handlers
from bots.slack.installations import Installations, States
from bots.slack.installing import Installing
from bots.slack.manifest import EVENTS_PATH, INSTALL_PATH
from bots.slack.pages import make_web_app
from bots.slack.tokens import InstalledTokens, OneToken, Tokens
from bots.slack.wire import Refused
from core.errors import SettingsError
from core.service import Service, open_service
from core.settings import Settings, variable
from core.tasks import end

log = structlog.get_logger(__name__)

_PING_S = 3
"""slack_sdk looks so often whether a connection broke, and takes it for broken after four pings without an answer."""


async def serve(settings: Settings) -> None:
    """Talk on Slack until SIGTERM or SIGINT. Raises SettingsError where a token is missing or refused."""
    check(settings)
    connections = aiohttp.TCPConnector(limit=0)  # calls that hang in one workspace are in nobody's way
    async with open_service(settings) as service, aiohttp.ClientSession(connector=connections) as session:
        talking = asyncio.ensure_future(talk(settings, service, session))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, talking.cancel)
        try:
            await talking
        except asyncio.CancelledError:
            log.info("The Slack bot ends.", action="slack_stopped")


async def talk(settings: Settings, service: Service, session: aiohttp.ClientSession) -> None:
    """Listen until cancelled. Raises SettingsError where the bot's token is refused."""
    client = web_client(settings, session=session)
    installing: Installing | None = None
    tokens: Tokens
    if settings.slack_by_oauth:
        installations = Installations(service.database, settings.slack_client_id)
        tokens = InstalledTokens(client, service, installations, settings)
        installing = Installing(settings, client, installations, States(service.database), tokens.forget)
    else:
        tokens = await _one_token(settings, session)
    handlers = Handlers(service, settings, session, tokens)
    app = make_app(settings, client, tokens, handlers)
    try:
        await handlers.prepare()
        async with _listening(settings, app, installing):
            log.info("Slack is connected.", action="slack_ready", mode=settings.slack_mode)
            await handlers.resume()
            beating = asyncio.create_task(handlers.beat(), name="slack-beat")
            try:
                await asyncio.wait({beating})  # not itself: a call to Redis may swallow that this task is cancelled
                beating.result()
            finally:
                await end(beating)
    finally:
        await handlers.close()


async def _one_token(settings: Settings, session: aiohttp.ClientSession) -> OneToken:
    tokens = OneToken(web_client(settings, settings.slack_bot_token.get_secret_value(), session))
    try:
        team = await tokens.open()
    except Refused as error:
        raise SettingsError(f"{variable('slack_bot_token')} is not a bot's token: {error.refusal}.") from error
    if team is None:
        log.error("The app was removed from its workspace.", action="slack_nowhere")
    return tokens


def check(settings: Settings) -> None:
    """Raises SettingsError where something is missing that the mode needs."""
    needed = ["slack_app_token" if settings.slack_mode == "socket" else "slack_signing_secret"]
    needed += ["slack_client_secret"] if settings.slack_by_oauth else ["slack_bot_token"]
    for name in sorted(needed):
        if not getattr(settings, name).get_secret_value():
            raise SettingsError(
                f"{variable(name)} is empty: it is on your app's page at api.slack.com (docs/slack.md)."
            )
    if settings.slack_by_oauth and settings.slack_bot_token.get_secret_value():
        raise SettingsError(
            f"{variable('slack_bot_token')} is for one workspace and {variable('slack_client_id')} for many: set one."
        )


@asynccontextmanager
async def _listening(settings: Settings, app: AsyncApp, installing: Installing | None) -> AsyncIterator[None]:
    """Socket Mode or events by HTTP; the install page by HTTP in both."""
    by_http = settings.slack_mode == "http"
    async with AsyncExitStack() as stack:
        if by_http or installing is not None:
            await stack.enter_async_context(_pages(settings, app if by_http else None, installing))
        if not by_http:
            await stack.enter_async_context(_socket(settings, app))
        yield


@asynccontextmanager
async def _socket(settings: Settings, app: AsyncApp) -> AsyncIterator[None]:
    token, client = settings.slack_app_token.get_secret_value(), web_client(settings)
    handler = AsyncSocketModeHandler(app, token, web_client=client, ping_interval=_PING_S)
    try:
        await handler.connect_async()  # type: ignore[no-untyped-call]
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def _pages(settings: Settings, app: AsyncApp | None, installing: Installing | None) -> AsyncIterator[None]:
    runner = web.AppRunner(make_web_app(app, installing), access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, settings.slack_http_host, settings.slack_http_port).start()
    paths = [*([EVENTS_PATH] if app is not None else []), *([INSTALL_PATH] if installing is not None else [])]
    log.info("Slack's pages are served.", action="slack_listens", address=str(runner.addresses[0]), paths=paths)
    try:
        yield
    finally:
        await runner.cleanup()
