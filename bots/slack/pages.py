"""What is reached over HTTP: where Slack POSTs, and the pages on which people install the app."""

from __future__ import annotations

from collections.abc import Awaitable, Callable

import aiohttp
import structlog
from aiohttp import web
from slack_bolt.adapter.aiohttp import to_aiohttp_response, to_bolt_request
from slack_bolt.async_app import AsyncApp
from slack_bolt.request.async_request import AsyncBoltRequest
from slack_bolt.response import BoltResponse
from slack_sdk.errors import SlackClientError

from bots.slack.installing import Installing
from bots.slack.manifest import EVENTS_PATH, INSTALL_PATH, REDIRECT_PATH
from core.errors import ServiceUnavailable

log = structlog.get_logger(__name__)

Page = Callable[[AsyncBoltRequest], Awaitable[BoltResponse]]

_MAX_BODY_BYTES = 4_000_000


def make_web_app(app: AsyncApp | None, installing: Installing | None) -> web.Application:
    """Both, each where it is given."""
    pages = web.Application(client_max_size=_MAX_BODY_BYTES)
    if app is not None:
        _add_events(pages, app)
    if installing is not None:
        _add_installing(pages, installing)
    return pages


def _add_events(pages: web.Application, app: AsyncApp) -> None:
    async def take(request: web.Request) -> web.Response:
        told_at = request.headers.get("X-Slack-Request-Timestamp", "")
        if not (told_at.isascii() and told_at.isdigit() and len(told_at) < 12):  # Bolt would answer 500
            return web.Response(status=401, text="no timestamp")
        answer = await app.async_dispatch(await to_bolt_request(request))
        return await to_aiohttp_response(answer)

    pages.router.add_post(EVENTS_PATH, take)


def _add_installing(pages: web.Application, installing: Installing) -> None:
    async def show(request: web.Request, page: Page) -> web.Response:
        asked = await to_bolt_request(request)
        try:
            answer = await page(asked)
        except (ServiceUnavailable, SlackClientError, aiohttp.ClientError, OSError, TimeoutError) as error:
            log.warning("A service is away.", action="slack_install_failed", reason=str(error) or repr(error))
            answer = installing.failed(asked, 503, "unavailable")
        return await to_aiohttp_response(answer)

    async def install(request: web.Request) -> web.Response:
        return await show(request, installing.handle_installation)

    async def come_back(request: web.Request) -> web.Response:
        return await show(request, installing.handle_callback)

    pages.router.add_get(INSTALL_PATH, install)
    pages.router.add_get(REDIRECT_PATH, come_back)
