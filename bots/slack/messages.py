"""What people write on Slack: new messages, edits, deletions and reactions.

A message that is said to the bot becomes a Turn, or does what a command in it says; the answer comes by the Courier. An
edit asks again, a deletion takes question and answer away, 👍 and 👎 are ratings. Whatever cannot be done is said in the
thread. A mention comes as two events, and any event may come again: all of them are one.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Iterable
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots import commands
from bots.attachments import Attachment, Attachments
from bots.commands import Answering, Asker, Explained, Exported, Outcome, Told
from bots.courier import Courier
from bots.explanation import facts, notes, prompt_lines
from bots.rooms import Rooms
from bots.slack.inbound import address_of, is_direct, is_written, words_of
from bots.slack.people import People
from bots.slack.places import PLATFORM, channel_of, message_id, place_of, team_of, ts_of, workspace_of
from bots.slack.speaking import Speaker
from bots.slack.targets import Target
from bots.slack.threads import conversation_of
from bots.slack.wire import Refused, surely
from bots.texts import sentence_for, text
from core.errors import DatabaseUnavailable, PajamaError
from core.history import TurnView
from core.service import Service
from core.values import Person, Rating
from core.workspaces import ChannelSettings

log = structlog.get_logger(__name__)

Json = dict[str, Any]

LONG_QUEUE = 3
"""With so many ahead, whoever asks is told."""

_THUMBS = {"+1": Rating.UP, "thumbsup": Rating.UP, "-1": Rating.DOWN, "thumbsdown": Rating.DOWN}
_MOST_TAKEN = 4096


class Messages:
    """Handles every message event."""

    def __init__(
        self,
        client: AsyncWebClient,
        service: Service,
        courier: Courier,
        rooms: Rooms,
        people: People,
        attachments: Attachments,
        speaker: Speaker,
    ) -> None:
        self._client, self._service, self._courier, self._rooms = client, service, courier, rooms
        self._people, self._attachments, self._speaker = people, attachments, speaker
        self._taken: OrderedDict[str, asyncio.Future[None]] = OrderedDict()

    async def said(self, body: Json, bot: str, *, again: bool = False) -> None:
        """Take a message once, however often it comes; `again`: it is reworded, so that a command is not done twice."""
        event = body["event"]
        if not is_written(event):
            return
        key = f"{workspace_of(body)}:{event['channel']}:{event['ts']}"
        if not again and (taken := self._taken.get(key)) is not None:
            await asyncio.shield(taken)
            return
        self._taken[key] = asyncio.ensure_future(self._said(body, bot, again=again))
        while len(self._taken) > _MOST_TAKEN:
            self._taken.popitem(last=False)
        try:
            await asyncio.shield(self._taken[key])
        except BaseException:
            self._taken.pop(key, None)  # it comes again
            raise

    async def edited(self, body: Json, bot: str) -> None:
        """Ask again where the wording changed; a message that is only now said to the bot is answered."""
        change = body["event"]
        message, before = change.get("message") or {}, change.get("previous_message") or {}
        event = {**message, "channel": change["channel"], "channel_type": change.get("channel_type")}
        if not is_written(event) or message.get("text") == before.get("text"):
            return
        workspace, event_id = workspace_of(body), message_id(event["channel"], event["ts"])
        places = await self._service.places_of_event(PLATFORM, workspace, event_id)
        if not places:
            await self.said({**body, "event": event}, bot, again=True)
            return
        language = await self._people.language(event["user"])
        words = await self._words(event, bot, language)
        for place in places:
            try:
                turn = await self._service.edit(place, event_id, words)
            except DatabaseUnavailable:
                raise
            except PajamaError as error:
                await self._speaker.reply(_target(workspace, event), sentence_for(error, language))
                return
            if turn is not None:
                await self._take_away(turn)
                self._courier.deliver(turn)

    async def deleted(self, body: Json) -> None:
        """Purge the words, withdraw the question and take its answer away."""
        change = body["event"]
        ts = change.get("deleted_ts") or (change.get("previous_message") or {}).get("ts")
        event_id = message_id(change["channel"], str(ts))
        for place in await self._service.places_of_event(PLATFORM, workspace_of(body), event_id):
            turn = await self._service.delete(place, event_id)
            if turn is not None:
                log.info("A question was deleted.", action="turn_deleted", turn_id=turn.turn_id)
                await self._take_away(turn)

    async def reacted(self, body: Json, *, added: bool) -> None:
        """Take 👍 and 👎 on an answer for a rating, and their removal for none."""
        event = body["event"]
        rating, item = _THUMBS.get(str(event.get("reaction")).partition("::")[0]), event.get("item") or {}
        if rating is None or item.get("type") != "message":
            return
        external_id = message_id(item["channel"], item["ts"])
        turn = await self._service.turn_of_message(PLATFORM, workspace_of(body), external_id)
        if turn is None:
            return
        try:
            person = Person(id=event["user"])
            await self._service.rate(turn.place, person, turn.turn_id, rating if added else None)
        except DatabaseUnavailable:
            raise
        except PajamaError as error:
            log.info("A reaction was not taken.", action="reaction_refused", turn_id=turn.turn_id, reason=str(error))

    # A message that is said to the bot

    async def _said(self, body: Json, bot: str, *, again: bool) -> None:
        event, workspace = body["event"], workspace_of(body)
        settings = await self._rooms.settings(workspace, event["channel"])
        thread = event.get("thread_ts")
        ours = bool(thread) and await self._rooms.takes_part(place_of(workspace, event["channel"], thread))
        if address_of(event, bot, settings, ours=ours) is None:
            return
        language = await self._people.language(event["user"])
        target = _target(workspace, event)
        try:
            asker = await self._asker(workspace, event, settings, language, target)
            words = await self._words(event, bot, language)
            parsed = commands.parse(words)
            if again and isinstance(parsed, commands.Call) and parsed.name not in commands.RECIPE_COMMANDS:
                return
            outcome = await commands.handle(self._service, words, asker)
        except DatabaseUnavailable:
            raise  # not acknowledged: Slack tells it again
        except PajamaError as error:
            log.info("A message was refused.", action="message_refused", code=error.code, event_id=event["ts"])
            await self._speaker.reply(target, sentence_for(error, language))
            return
        await self._tell(outcome, asker, target)

    async def _asker(
        self, workspace: str, event: Json, settings: ChannelSettings, language: str, target: Target
    ) -> Asker:
        direct = is_direct(event)
        profile = await self._people.profile(event["user"])
        thread = event.get("thread_ts") if direct else event.get("thread_ts") or event["ts"]
        return Asker(
            place=await conversation_of(self._service, workspace, event["channel"], thread),
            person=await self._people.person(event["user"]),
            event_id=message_id(event["channel"], event["ts"]),
            language=language,
            target=target.model_dump(),
            shared=not direct,
            channel=event["channel"],
            admin=profile.admin,
            moderator=profile.admin,
        )

    async def _words(self, event: Json, bot: str, language: str) -> str:
        files = [
            Attachment(
                str(file.get("name") or "file"),
                str(file.get("url_private_download") or file.get("url_private") or ""),
                int(file.get("size") or 0),
                str(file.get("mimetype") or ""),
            )
            for file in event.get("files") or ()
        ]
        words = words_of(event, bot, self._people.name_of)
        return await self._attachments.told(words, files, language)

    async def _tell(self, outcome: Outcome, asker: Asker, target: Target) -> None:
        match outcome:
            case Answering(turn=turn, duplicate=duplicate):
                self._rooms.note_part(turn.place)
                if not duplicate:
                    self._courier.deliver(turn)
            case Told(text=words):
                self._rooms.forget_settings(asker.place.workspace)
                await self._speaker.reply(target, words)
            case Explained(explanation=explanation):
                lines = [f"**{name}**: {value}" for name, value in facts(explanation, asker.language)]
                words = "\n".join([*lines, *notes(explanation, asker.language)])
                prompt = "\n\n".join(prompt_lines(explanation))
                await self._speaker.reply(target, words, (f"prompt-{explanation.turn.turn_id}.txt", prompt.encode()))
            case Exported(name=name, document=document):
                sentence = text("privacy_exported", asker.language)
                await self._speaker.in_private(asker.person.id, sentence, (name, document))

    async def _take_away(self, turn: TurnView) -> None:
        """Remove the messages of the answer that no longer belongs to a question."""
        if turn.answer is None:
            return
        channel = channel_of(turn.place)
        for ts in _timestamps(row.external_id for row in await self._service.deliveries(turn.answer.generation_id)):
            try:
                await surely(lambda ts=ts: self._client.chat_delete(channel=channel, ts=ts), what="remove")  # type: ignore[misc]
            except Refused as error:
                log.info("A message is gone already.", action="message_gone", reason=str(error))


def _timestamps(external_ids: Iterable[str | None]) -> list[str]:
    return [ts_of(external_id) for external_id in external_ids if external_id is not None]


def _target(workspace: str, event: Json) -> Target:
    return Target(
        channel=event["channel"],
        thread=event.get("thread_ts") or event["ts"],
        team=team_of(workspace),
        asker=event["user"],
    )
