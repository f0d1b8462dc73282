"""The Bolt app: which events go where. Knows no Turn.

Listeners run before the acknowledgement, so that whatever Slack believes to be taken is stored; one that fails is not
acknowledged, and Slack tells its event again.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.handlers import Handlers
from core.settings import Settings

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_ANY = re.compile(".*")


def web_client(settings: Settings, token: str | None = None) -> AsyncWebClient:
    """A client that retries nothing by itself: what was sent twice would be there twice."""
    return AsyncWebClient(token=token, base_url=settings.slack_api_base, retry_handlers=[])


def make_app(settings: Settings, client: AsyncWebClient, handlers: Handlers) -> AsyncApp:
    """The app, with everything that it listens to."""
    app = AsyncApp(
        client=client,
        signing_secret=settings.slack_signing_secret.get_secret_value() or "socket mode needs none",
        request_verification_enabled=settings.slack_mode == "http",
        process_before_response=True,
    )
    _listen_to_events(app, handlers)
    _listen_to_interactions(app, handlers)
    return app


def _listen_to_events(app: AsyncApp, handlers: Handlers) -> None:
    @app.event("app_mention")
    @app.event({"type": "message", "subtype": None})
    @app.event({"type": "message", "subtype": ["file_share", "thread_broadcast"]})
    async def said(body: Json, context: Any) -> None:
        await handlers.messages.said(body, str(context.bot_user_id))

    @app.event({"type": "message", "subtype": "message_changed"})
    async def edited(body: Json, context: Any) -> None:
        await handlers.messages.edited(body, str(context.bot_user_id))

    @app.event({"type": "message", "subtype": "message_deleted"})
    async def deleted(body: Json) -> None:
        await handlers.messages.deleted(body)

    @app.event("reaction_added")
    async def reacted(body: Json) -> None:
        await handlers.messages.reacted(body, added=True)

    @app.event("reaction_removed")
    async def reaction_taken_back(body: Json) -> None:
        await handlers.messages.reacted(body, added=False)

    @app.event("agent_session_stopped")
    async def stopped(body: Json) -> None:
        await handlers.interactions.stopped(body)

    @app.event("app_home_opened")
    async def opened(body: Json) -> None:
        await handlers.home.opened(body)

    @app.event("app_uninstalled")
    @app.event("tokens_revoked")
    async def removed(body: Json) -> None:
        handlers.removed(body)

    @app.event({"type": "message", "subtype": [_ANY]})
    @app.event(_ANY)
    async def other(body: Json) -> None:
        log.debug("An event is not for us.", action="event_ignored", event_type=body.get("event", {}).get("type"))


def _listen_to_interactions(app: AsyncApp, handlers: Handlers) -> None:
    @app.command(_ANY)
    async def command(body: Json, ack: Any) -> None:
        await ack()
        await handlers.interactions.command(body)

    @app.action(re.compile("pajama_.*"))
    async def pressed(body: Json, ack: Any) -> None:
        await ack()
        await handlers.interactions.pressed(body)

    @app.view("pajama_comment")
    async def commented(body: Json, ack: Any) -> None:
        await ack()
        await handlers.interactions.commented(body)

    @app.shortcut(re.compile("pajama_.*"))
    async def shortcut(body: Json, ack: Any) -> None:
        await ack()
        await handlers.interactions.shortcut(body)

    @app.action(_ANY)
    @app.shortcut(_ANY)
    @app.view(_ANY)
    @app.view_closed(_ANY)
    async def other(ack: Any) -> None:
        await ack()
