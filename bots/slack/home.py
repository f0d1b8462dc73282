"""The App Home and the beginning of a chat: help, privacy, and what one may ask."""

from __future__ import annotations

from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots import commands
from bots.commands import Asker, Told
from bots.slack.people import People
from bots.slack.places import place_of, workspace_of
from bots.slack.wire import Refused, surely
from bots.slack.wording import escaped
from bots.splitting import split
from bots.texts import text
from core.service import Service

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_SECTION_CHARS = 1_000
"""Escaped it is at most five times as long, and what is told here has few letters that are."""

PROMPTS = ("prompt_write", "prompt_translate", "prompt_summarise")


class Home:
    """Shows both when the app is opened."""

    def __init__(self, client: AsyncWebClient, service: Service, people: People) -> None:
        self._client, self._service, self._people = client, service, people

    async def opened(self, body: Json) -> None:
        """Somebody opened the app, at its home or at the chat with it. A courtesy: what fails is noted."""
        event = body["event"]
        language = await self._people.language(event["user"])
        try:
            if event.get("tab") == "messages":
                await self._offer_prompts(workspace_of(body), event["channel"], language)
            else:
                await self._show(body, language)
        except Refused as error:
            log.info("The home cannot be shown.", action="home_refused", reason=str(error))

    async def _offer_prompts(self, workspace: str, channel: str, language: str) -> None:
        settings = await self._service.workspace_settings(place_of(workspace, channel, None))
        offered = settings.offered_prompts or [text(key, language) for key in PROMPTS]
        prompts = [{"title": words, "message": words} for words in offered]

        async def call() -> Any:
            return await self._client.api_call(  # without a thread: an agent that names one shows nothing
                "assistant.threads.setSuggestedPrompts", json={"channel_id": channel, "prompts": prompts}
            )

        await surely(call, what="prompts", tries=2)

    async def _show(self, body: Json, language: str) -> None:
        event = body["event"]
        profile = await self._people.profile(event["user"])
        asker = Asker(
            place=place_of(workspace_of(body), event.get("channel") or event["user"], None),
            person=await self._people.person(event["user"]),
            event_id=event["event_ts"],
            language=language,
            admin=profile.admin,
        )
        names = ("help", "privacy", "settings") if profile.admin else ("help", "privacy")
        blocks: list[Json] = []
        for name in names:
            told = await commands.run(self._service, commands.Call(name), asker)
            assert isinstance(told, Told)
            words = f"{told.text}\n\n{text('slack_how', language)}" if name == "help" else told.text
            blocks += [{"type": "divider"}] if blocks else []
            blocks += [
                {"type": "section", "text": {"type": "mrkdwn", "text": escaped(piece), "verbatim": True}}
                for piece in split(words, _SECTION_CHARS)
            ]
        view = {"type": "home", "blocks": blocks[:100]}
        await surely(lambda: self._client.views_publish(user_id=event["user"], view=view), what="home", tries=2)
