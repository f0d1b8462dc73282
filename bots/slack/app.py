"""The Bolt app: which events go where. Knows no Turn.

Listeners run before the acknowledgement, so that whatever Slack believes to be taken is stored; one that fails is not
acknowledged, and Slack tells its event again.
"""

from __future__ import annotations

import re
from typing import Any

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.authorization.async_authorize import AsyncAuthorize
from slack_bolt.context.async_context import AsyncBoltContext
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.handlers import Handlers
from bots.slack.places import named
from bots.slack.tokens import Tokens
from core.settings import Settings

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_ANY = re.compile(".*")


class Authorize(AsyncAuthorize):
    """Whose bot an event is for. What is needed is known from the installation: nobody is asked of each event anew."""

    def __init__(self, tokens: Tokens) -> None:
        self._tokens = tokens

    async def __call__(
        self,
        *,
        context: AsyncBoltContext,
        enterprise_id: str | None,
        team_id: str | None,
        user_id: str | None,
        **actor: str | None,
    ) -> AuthorizeResult | None:
        """None where the app is not installed. Raises ServiceUnavailable, so that Slack tells the event again."""
        bot = await self._tokens.of(named(enterprise_id, team_id))
        if bot is None:
            return None
        return AuthorizeResult(
            enterprise_id=enterprise_id,
            team_id=team_id,
            bot_id=bot.bot_id,
            bot_user_id=bot.bot_user_id,
            bot_token=bot.bot_token,
            user_id=user_id,
        )


def make_app(settings: Settings, client: AsyncWebClient, tokens: Tokens, handlers: Handlers) -> AsyncApp:
    """The app, with everything that it listens to. `client` has no token of its own."""
    app = AsyncApp(
        client=client,
        authorize=Authorize(tokens),  # type: ignore[arg-type]  # Bolt takes one of its own kind as well
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
        await (await handlers.desk(body)).messages.said(body, str(context.bot_user_id))

    @app.event({"type": "message", "subtype": "message_changed"})
    async def edited(body: Json, context: Any) -> None:
        await (await handlers.desk(body)).messages.edited(body, str(context.bot_user_id))

    @app.event({"type": "message", "subtype": "message_deleted"})
    async def deleted(body: Json) -> None:
        await (await handlers.desk(body)).messages.deleted(body)

    @app.event("reaction_added")
    async def reacted(body: Json) -> None:
        await (await handlers.desk(body)).messages.reacted(body, added=True)

    @app.event("reaction_removed")
    async def reaction_taken_back(body: Json) -> None:
        await (await handlers.desk(body)).messages.reacted(body, added=False)

    @app.event("agent_session_stopped")
    async def stopped(body: Json) -> None:
        await (await handlers.desk(body)).interactions.stopped(body)

    @app.event("app_home_opened")
    async def opened(body: Json) -> None:
        await (await handlers.desk(body)).home.opened(body)

    @app.event("app_uninstalled")
    @app.event("tokens_revoked")
    async def removed(body: Json, context: Any) -> None:
        await handlers.removed(body, org=bool(context.is_enterprise_install))

    @app.event({"type": "message", "subtype": [_ANY]})
    @app.event(_ANY)
    async def other(body: Json) -> None:
        log.debug("An event is not for us.", action="event_ignored", event_type=body.get("event", {}).get("type"))


def _listen_to_interactions(app: AsyncApp, handlers: Handlers) -> None:
    @app.command(_ANY)
    async def command(body: Json, ack: Any) -> None:
        await ack()
        await (await handlers.desk(body)).interactions.command(body)

    @app.action(re.compile("pajama_.*"))
    async def pressed(body: Json, ack: Any) -> None:
        await ack()
        await (await handlers.desk(body)).interactions.pressed(body)

    @app.view("pajama_comment")
    async def commented(body: Json, ack: Any) -> None:
        await ack()
        await (await handlers.desk(body)).interactions.commented(body)

    @app.shortcut(re.compile("pajama_.*"))
    async def shortcut(body: Json, ack: Any) -> None:
        await ack()
        await (await handlers.desk(body)).interactions.shortcut(body)

    @app.action(_ANY)
    @app.shortcut(_ANY)
    @app.view(_ANY)
    @app.view_closed(_ANY)
    async def other(ack: Any) -> None:
        await ack()
