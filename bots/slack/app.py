"""The Bolt app: which events go where. Knows no Turn.

What people say is stored before it is acknowledged, so that nothing is lost that Slack believes to be taken; an event
that cannot be stored is not acknowledged, and Slack tells it again. What they do with commands and buttons is done before:
where that fails, Slack says so. All the rest comes after the acknowledgement.
"""

from __future__ import annotations

import re
from collections.abc import Awaitable, Callable
from typing import Any, TypeVar

import structlog
from slack_bolt.async_app import AsyncApp
from slack_bolt.authorization import AuthorizeResult
from slack_bolt.authorization.async_authorize import AsyncAuthorize
from slack_bolt.context.async_context import AsyncBoltContext
from slack_sdk.web.async_client import AsyncWebClient

from bots.slack.desks import Desk
from bots.slack.handlers import Handlers
from bots.slack.places import named
from bots.slack.tokens import Tokens
from core.settings import Settings

log = structlog.get_logger(__name__)

Json = dict[str, Any]
T = TypeVar("T")

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
    """What is stored before it is acknowledged."""
    stored, done, start = handlers.errands.stored, handlers.errands.done, handlers.errands.start

    @app.event("app_mention")
    @app.event({"type": "message", "subtype": None})
    @app.event({"type": "message", "subtype": ["file_share", "thread_broadcast"]})
    async def said(body: Json, context: Any) -> None:
        await stored(_at_desk(handlers, body, lambda desk: desk.messages.said(body, str(context.bot_user_id))))

    @app.event({"type": "message", "subtype": "message_changed"})
    async def edited(body: Json, context: Any) -> None:
        await stored(_at_desk(handlers, body, lambda desk: desk.messages.edited(body, str(context.bot_user_id))))

    @app.event({"type": "message", "subtype": "message_deleted"})
    async def deleted(body: Json) -> None:
        await stored(_at_desk(handlers, body, lambda desk: desk.messages.deleted(body)))

    @app.event("reaction_added")
    async def reacted(body: Json) -> None:
        await stored(_at_desk(handlers, body, lambda desk: desk.messages.reacted(body, added=True)))

    @app.event("reaction_removed")
    async def reaction_taken_back(body: Json) -> None:
        await stored(_at_desk(handlers, body, lambda desk: desk.messages.reacted(body, added=False)))

    @app.event("app_uninstalled")
    @app.event("tokens_revoked")
    async def removed(body: Json, context: Any) -> None:
        await stored(lambda: handlers.removed(body, org=bool(context.is_enterprise_install)))

    @app.event("agent_session_stopped")
    async def stopped(body: Json) -> None:
        await done(_at_desk(handlers, body, lambda desk: desk.interactions.stopped(body)))

    @app.event("app_home_opened")
    async def opened(body: Json) -> None:
        start(_at_desk(handlers, body, lambda desk: desk.home.opened(body)))

    @app.event({"type": "message", "subtype": [_ANY]})
    @app.event(_ANY)
    async def other(body: Json) -> None:
        log.debug("An event is not for us.", action="event_ignored", event_type=body.get("event", {}).get("type"))


def _listen_to_interactions(app: AsyncApp, handlers: Handlers) -> None:
    """What is done before it is acknowledged."""
    done = handlers.errands.done

    @app.command(_ANY)
    async def command(body: Json, ack: Any, context: Any) -> None:
        await done(_at_desk(handlers, body, lambda desk: desk.slash.command(body, str(context.bot_user_id))))
        await ack()

    @app.shortcut(re.compile("pajama_.*"))
    async def shortcut(body: Json, ack: Any, context: Any) -> None:
        await done(_at_desk(handlers, body, lambda desk: desk.slash.shortcut(body, str(context.bot_user_id))))
        await ack()

    @app.action(re.compile("pajama_.*"))
    async def pressed(body: Json, ack: Any) -> None:
        await done(_at_desk(handlers, body, lambda desk: desk.interactions.pressed(body)))
        await ack()

    @app.view("pajama_comment")
    async def commented(body: Json, ack: Any) -> None:
        await done(_at_desk(handlers, body, lambda desk: desk.interactions.commented(body)))
        await ack()

    @app.action(_ANY)
    @app.shortcut(_ANY)
    @app.view(_ANY)
    @app.view_closed(_ANY)
    async def other(ack: Any) -> None:
        await ack()


def _at_desk(handlers: Handlers, body: Json, work: Callable[[Desk], Awaitable[T]]) -> Callable[[], Awaitable[T]]:
    """The work, at the desk of the event's workspace."""

    async def there() -> T:
        return await work(await handlers.desk(body))

    return there
