"""The process of the Slack bot: listen in Socket Mode or behind a request URL, stop within a moment."""

from __future__ import annotations

import asyncio
import signal
from collections.abc import AsyncIterator
from contextlib import asynccontextmanager

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.adapter.socket_mode.aiohttp import AsyncSocketModeHandler
from slack_bolt.async_app import AsyncApp

from bots.slack.app import make_app, web_client
from bots.slack.handlers import Handlers
from bots.slack.wire import Refused, surely
from core.errors import SettingsError
from core.service import Service, open_service
from core.settings import Settings, variable

log = structlog.get_logger(__name__)

PATH = "/slack/events"
_PING_S = 10
_MAX_BODY_BYTES = 4_000_000


async def serve(settings: Settings) -> None:
    """Talk on Slack until SIGTERM or SIGINT. Raises SettingsError where a token is missing or refused."""
    _check(settings)
    async with open_service(settings) as service, aiohttp.ClientSession() as session:
        talking = asyncio.ensure_future(talk(settings, service, session))
        for number in (signal.SIGINT, signal.SIGTERM):
            asyncio.get_running_loop().add_signal_handler(number, talking.cancel)
        try:
            await talking
        except asyncio.CancelledError:
            log.info("The Slack bot ends.", action="slack_stopped")


async def talk(settings: Settings, service: Service, session: aiohttp.ClientSession) -> None:
    """Listen until cancelled. Raises SettingsError where the bot's token is refused."""
    client = web_client(settings, settings.slack_bot_token.get_secret_value())
    client.session = session
    try:
        known = await surely(client.auth_test, what="start")
    except Refused as error:
        raise SettingsError(f"{variable('slack_bot_token')} is not a bot's token: {error.refusal}.") from error
    handlers = Handlers(client, service, settings, session)
    app = make_app(settings, client, handlers)
    listening = _in_socket_mode if settings.slack_mode == "socket" else _behind_url
    try:
        async with listening(settings, app):
            log.info("Slack is connected.", action="slack_ready", team=known.get("team"), mode=settings.slack_mode)
            await handlers.resume()
            beating = asyncio.create_task(handlers.beat(), name="slack-beat")
            try:
                await handlers.gone.wait()
                raise SettingsError(
                    f"The app was removed from Slack: install it again and set {variable('slack_bot_token')}."
                )
            finally:
                beating.cancel()
    finally:
        await handlers.courier.close()


def _check(settings: Settings) -> None:
    needed = ["slack_bot_token", "slack_app_token" if settings.slack_mode == "socket" else "slack_signing_secret"]
    for name in needed:
        if not getattr(settings, name).get_secret_value():
            raise SettingsError(
                f"{variable(name)} is empty: it is on your app's page at api.slack.com (docs/slack.md)."
            )


@asynccontextmanager
async def _in_socket_mode(settings: Settings, app: AsyncApp) -> AsyncIterator[None]:
    token = settings.slack_app_token.get_secret_value()
    handler = AsyncSocketModeHandler(app, token, web_client=web_client(settings), ping_interval=_PING_S)
    await handler.connect_async()  # type: ignore[no-untyped-call]
    try:
        yield
    finally:
        await handler.close_async()  # type: ignore[no-untyped-call]


@asynccontextmanager
async def _behind_url(settings: Settings, app: AsyncApp) -> AsyncIterator[None]:
    runner = web.AppRunner(make_web_app(app), access_log=None, shutdown_timeout=2)
    await runner.setup()
    await web.TCPSite(runner, settings.slack_http_host, settings.slack_http_port).start()
    log.info("Slack's request URL is served.", action="slack_listens", address=str(runner.addresses[0]), path=PATH)
    try:
        yield
    finally:
        await runner.cleanup()


def make_web_app(app: AsyncApp) -> web.Application:
    """What Slack POSTs to."""

    async def take(request: web.Request) -> web.Response:
        told_at = request.headers.get("X-Slack-Request-Timestamp", "")
        if not (told_at.isascii() and told_at.isdigit() and len(told_at) < 12):  # Bolt would answer 500
            return web.Response(status=401, text="no timestamp")
        answer = await app.async_dispatch(await to_bolt_request(request))
        return await to_aiohttp_response(answer)

    pages = web.Application(client_max_size=_MAX_BODY_BYTES)
    pages.router.add_post(PATH, take)
    return pages
