"""Questions: who asks, where, with which words and files; as a message on Slack tells it, in core's terms.

Knows nothing of when a message is said to the bot, and answers nobody.
"""

from __future__ import annotations

import asyncio
from dataclasses import replace
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.attachments import MAX_FILES, Attachment, Attachments
from bots.commands import Asker
from bots.slack.inbound import is_direct, words_of
from bots.slack.people import People
from bots.slack.places import message_id, team_of
from bots.slack.targets import Target
from bots.slack.threads import conversation_of, root_of
from bots.slack.wire import Refused, surely
from core.history import TurnView, Which
from core.service import Service
from core.values import ContextMessage, Place

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_ASK = "check_file_info"
_LONGEST_ASKING_S = 5.0

_ABOUT: dict[str, Which] = {
    "stop": "open", "regenerate": "any", "why": "answered", "feedback": "answered", "reset": "any",
    "human": "any",
}  # fmt: skip
"""Commands that are about an earlier question, and which of them that is."""


class Questions:
    """One per workspace."""

    def __init__(self, client: AsyncWebClient, service: Service, people: People, attachments: Attachments) -> None:
        self._client, self._service, self._people, self._attachments = client, service, people, attachments

    async def asker(
        self, workspace: str, event: Json, language: str, context: tuple[ContextMessage, ...] = ()
    ) -> Asker:
        """Who asks with this message."""
        direct = is_direct(event)
        profile = await self._people.profile(event["user"])
        return Asker(
            place=await conversation_of(self._service, workspace, event["channel"], root_of(event)),
            person=await self._people.person(event["user"]),
            event_id=message_id(event["channel"], event["ts"]),
            language=language,
            target=target_of(workspace, event).model_dump(),
            shared=not direct,
            channel=event["channel"],
            admin=profile.admin,
            moderator=bool(profile.admin),
            context=context,
        )

    async def presser(
        self, workspace: str, place: Place, channel: str, thread: str | None, user: str, event_id: str, language: str
    ) -> Asker:
        """Who gives a command or presses a button."""
        profile, direct = await self._people.profile(user), channel.startswith("D")
        target = Target(channel=channel, thread=thread or "", team=team_of(workspace), asker=user)
        return Asker(
            place=place,
            person=await self._people.person(user),
            event_id=event_id,
            language=language,
            target=target.model_dump(),
            shared=not direct,
            channel=channel,
            admin=profile.admin,
            moderator=bool(profile.admin),
        )

    async def about_latest(self, name: str, asker: Asker) -> Asker:
        """The asker at the place of what they asked last in the channel or DM, where the command `name` is about that."""
        turn: TurnView | None = None
        if name in _ABOUT and asker.channel is not None:
            turn = await self._service.latest_of_person(asker.place, asker.channel, asker.person, _ABOUT[name])
        if turn is None:
            return asker
        target = {**asker.target, "thread": turn.place.conversation.partition(":")[2]}
        return replace(asker, place=turn.place, about=turn.turn_id, target=target)

    async def words(self, event: Json, bot: str, language: str) -> str:
        """What it says, with its files below."""
        attached = event.get("files") or ()
        known = await asyncio.gather(*(self._described(file) for file in attached[:MAX_FILES]))
        files = [_attachment(file) for file in [*known, *attached[MAX_FILES:]]]
        words = words_of(event, bot, self._people.name_of)
        return await self._attachments.told(words, files, language)

    async def _described(self, file: Json) -> Json:
        """A file as Slack describes it, which in a channel shared with others it does only when it is asked."""
        if file.get("file_access") != _ASK:
            return file
        try:
            async with asyncio.timeout(_LONGEST_ASKING_S):
                told = await surely(lambda: self._client.files_info(file=file["id"]), what="file")
        except (Refused, TimeoutError) as error:
            log.info("A file is not described.", action="file_unknown", reason=str(error))
            return file
        return dict(told["file"])


def _attachment(file: Json) -> Attachment:
    return Attachment(
        str(file.get("name") or "file"),
        str(file.get("url_private_download") or file.get("url_private") or ""),
        int(file.get("size") or 0),
        str(file.get("mimetype") or ""),
    )


def _team_of_author(event: Json) -> str:
    """The team of whoever wrote it, in a channel that several share; empty where no team is told."""
    told = (str(event.get(name) or "") for name in ("user_team", "team"))
    return next((team for team in told if team.startswith("T")), "")


def target_of(workspace: str, event: Json) -> Target:
    """Where its answer goes: its thread, or the one that it begins."""
    return Target(
        channel=event["channel"],
        thread=root_of(event),
        team=team_of(workspace),
        asker=event["user"],
        asker_team=_team_of_author(event),
    )
