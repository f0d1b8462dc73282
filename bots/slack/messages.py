"""What people write on Slack: new messages, edits, deletions and reactions.

A message that is said to the bot becomes a Turn, or does what a command in it says; the answer comes by the Courier. An
edit asks again, a deletion takes question and answer away, 👍 and 👎 are ratings. Whatever cannot be done is said in the
thread. A mention comes as two events, and any event may come again: all of them are one. Every method returns when what
must not be lost is stored, with what is left to do; it raises DatabaseUnavailable, so that Slack tells the event again.
"""

from __future__ import annotations

import asyncio
from collections import OrderedDict
from collections.abc import Sequence
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots import commands
from bots.commands import Answering, Asker, Explained, Exported, Outcome, Told
from bots.courier import Courier
from bots.explanation import prompt_file, summary
from bots.lines import Lines
from bots.refusals import is_told
from bots.rooms import Rooms
from bots.slack.chats import Chats
from bots.slack.errands import Later, nothing
from bots.slack.handoff import HandoffRooms
from bots.slack.inbound import Address, address_of, is_written, mentioned
from bots.slack.once import Once
from bots.slack.people import People
from bots.slack.places import PLATFORM, message_id, place_of, workspace_of
from bots.slack.questions import Questions, target_of
from bots.slack.reading import Reading
from bots.slack.speaking import Speaker
from bots.slack.targets import Target
from bots.slack.threads import root_of
from bots.texts import sentence_for, text
from core.errors import DatabaseUnavailable, PajamaError
from core.handoffs.views import HandoffView
from core.history import TurnView
from core.service import Service
from core.values import Person, Place, Rating

log = structlog.get_logger(__name__)

Json = dict[str, Any]

_THUMBS = {"+1": Rating.UP, "thumbsup": Rating.UP, "-1": Rating.DOWN, "thumbsdown": Rating.DOWN}
_MOST_TAKEN = 4096
_HUMAN = "human"
_UNNAMED = frozenset({Address.THREAD, Address.CHANNEL})
"""Where people may as well talk with one another."""

_TOMBSTONE = "tombstone"
"""What Slack leaves where a message was deleted that has replies: it tells of a change, and of no deletion."""


class Messages:
    """Handles every message event of one workspace."""

    def __init__(
        self,
        client: AsyncWebClient,
        service: Service,
        courier: Courier,
        rooms: Rooms,
        people: People,
        questions: Questions,
        reading: Reading,
        speaker: Speaker,
        once: Once,
        handoffs: HandoffRooms,
    ) -> None:
        self._client, self._service, self._courier, self._rooms = client, service, courier, rooms
        self._people, self._questions, self._reading = people, questions, reading
        self._speaker, self._once, self._handoffs = speaker, once, handoffs
        self._chats = Chats(client, service)
        self._taken: OrderedDict[str, asyncio.Future[Later]] = OrderedDict()
        self.lines = Lines()

    async def said(self, body: Json, bot: str, *, again: bool = False, missed: bool = False) -> Later:
        """Take a message once, however often it comes.

        `again`: it may have been taken before, in other words, so that a command in it is not done. `missed`: it comes
        before what is held up in its line.
        """
        event = body["event"]
        if not is_written(event):
            return nothing
        key = f"{workspace_of(body)}:{event['channel']}:{event['ts']}"
        taken = self._taken.get(key)
        if missed and taken is not None:
            # One that waits itself until all that was missed is known comes before what was said after it all the same.
            return nothing if taken.done() else await self._in_line(body, bot, again=True, missed=True)
        if not again and taken is not None:
            await asyncio.shield(taken)
            return nothing
        taking = self._taken[key] = asyncio.ensure_future(self._in_line(body, bot, again=again, missed=missed))
        while len(self._taken) > _MOST_TAKEN:
            self._taken.popitem(last=False)
        try:
            return await asyncio.shield(taking)
        except BaseException:
            self._taken.pop(key, None)  # it comes again
            raise

    async def edited(self, body: Json, bot: str) -> Later:
        """Ask again where the wording changed; a message that is only now said to the bot is answered."""
        change = body["event"]
        message, before = change.get("message") or {}, change.get("previous_message") or {}
        if message.get("subtype") == _TOMBSTONE:
            return await self.deleted(body)
        event = {**message, "channel": change["channel"], "channel_type": change.get("channel_type")}
        if not is_written(event) or message.get("text") == before.get("text"):
            return nothing
        workspace, event_id = workspace_of(body), message_id(event["channel"], event["ts"])
        places = await self._service.places_of_event(PLATFORM, workspace, event_id)
        reworded = await self._reworded(event, workspace, bot, places) if places else nothing
        if places and not (bot in mentioned(event) and await self._only_read(workspace, event_id)):
            return reworded
        said = await self.said({**body, "event": event}, bot, again=True)

        async def both() -> None:
            await reworded()
            await said()

        return both

    async def _only_read(self, workspace: str, event_id: str) -> bool:
        """Whether a message that is known asked nothing: it was read beside others."""
        return not await self._service.asked_events(PLATFORM, workspace, [event_id])

    async def _reworded(self, event: Json, workspace: str, bot: str, places: Sequence[Place]) -> Later:
        """Ask again what the message asked, wherever that was."""
        event_id, language = message_id(event["channel"], event["ts"]), await self._people.language(event["user"])
        words = await self._questions.words(event, bot, language)
        try:
            async with self.lines.turn(_line(event)):
                edited = [await self._service.edit(place, event_id, words) for place in places]
        except DatabaseUnavailable:
            raise
        except PajamaError as error:
            sentence = sentence_for(error, language)
            return lambda: self._speaker.reply(target_of(workspace, event), sentence)
        turns = [turn for turn in edited if turn is not None]
        return (lambda: self._deliver(turns)) if turns else nothing

    async def deleted(self, body: Json) -> Later:
        """Purge the words, withdraw the question and take its answer away."""
        change = body["event"]
        channel, gone = change["channel"], {**(change.get("message") or {}), **(change.get("previous_message") or {})}
        ts = str(change.get("deleted_ts") or gone.get("ts"))
        event_id = message_id(channel, ts)
        self._reading.unhear(channel, ts)
        async with self.lines.turn(_line({**gone, "ts": ts, "channel": channel})):
            places = await self._service.places_of_event(PLATFORM, workspace_of(body), event_id)
            deleted = [await self._service.delete(place, event_id) for place in places]
        turns = [turn for turn in deleted if turn is not None]
        for turn in turns:
            log.info("A question was deleted.", action="turn_deleted", turn_id=turn.turn_id)
        return lambda: self._deliver(turns)

    async def reacted(self, body: Json, *, added: bool) -> Later:
        """Take 👍 and 👎 on an answer for a rating, and their removal for none."""
        event = body["event"]
        rating, item = _THUMBS.get(str(event.get("reaction")).partition("::")[0]), event.get("item") or {}
        if rating is None or item.get("type") != "message":
            return nothing
        external_id = message_id(item["channel"], item["ts"])
        turn = await self._service.turn_of_message(PLATFORM, workspace_of(body), external_id)
        if turn is None:
            return nothing
        person = Person(id=event["user"])
        try:
            if added:
                await self._service.rate(turn.place, person, turn.turn_id, rating)
            else:
                await self._service.take_rating_back(turn.place, person, turn.turn_id, rating)
        except DatabaseUnavailable:
            raise
        except PajamaError as error:
            log.info("A reaction was not taken.", action="reaction_refused", turn_id=turn.turn_id, reason=str(error))
        return nothing

    # A message that is said to the bot

    async def _in_line(self, body: Json, bot: str, *, again: bool, missed: bool) -> Later:
        in_turn = self.lines.turn_of_before if missed else self.lines.turn
        async with in_turn(_line(body["event"])):
            return await self._said(body, bot, again=again)

    async def _said(self, body: Json, bot: str, *, again: bool) -> Later:
        event, workspace = body["event"], workspace_of(body)
        view = await self._handoffs.of_message(event, workspace, bot)
        if view is not None:
            return await self._by_staff(event, view, workspace, bot)
        settings = await self._rooms.settings(workspace, event["channel"])
        thread = event.get("thread_ts")
        ours = bool(thread) and await self._rooms.takes_part(place_of(workspace, event["channel"], thread))
        address = address_of(event, bot, settings, ours=ours)
        if address is None:
            await self._reading.hear(event, settings, bot)
            return nothing
        language = await self._people.language(event["user"])
        target, key = target_of(workspace, event), f"said-{workspace}:{event['channel']}:{event['ts']}"
        try:
            context = await self._reading.context(event, settings, bot)
            asker = await self._questions.asker(workspace, event, language, context)
            words = await self._questions.words(event, bot, language)
            outcome = await self._done(words, asker, target, key, again=again)
        except DatabaseUnavailable:
            raise  # not acknowledged: Slack tells it again
        except PajamaError as error:
            log.info("A message was refused.", action="message_refused", code=error.code, event_id=event["ts"])
            if address in _UNNAMED and not await self._is_told(error, workspace, event):
                return nothing
            sentence = sentence_for(error, language)
            return lambda: self._refuse(target, sentence, f"{key}-no")
        return self._answer(outcome, asker, target, words)

    async def _is_told(self, error: PajamaError, workspace: str, event: Json) -> bool:
        place = place_of(workspace, event["channel"], root_of(event))
        return await is_told(self._service, error, place, event["channel"], Person(id=event["user"]))

    async def _by_staff(self, event: Json, view: HandoffView, workspace: str, bot: str) -> Later:
        """Bring the person what staff wrote, or tell staff why not, once."""
        words = await self._questions.words(event, bot, view.staff_language)
        told = await self._handoffs.answered(event, view, words)
        if told is None:
            return nothing
        key = f"staff-{workspace}:{event['channel']}:{event['ts']}"
        return lambda: self._refuse(target_of(workspace, event), told, key)

    async def _done(self, words: str, asker: Asker, target: Target, key: str, *, again: bool) -> Outcome | None:
        """Do what the message says; None for a command that is done already. Raises PajamaError."""
        parsed = commands.parse(words)
        if not isinstance(parsed, commands.Call) or parsed.name in commands.RECIPE_COMMANDS:
            return await commands.handle(self._service, words, asker)
        if again or not await self._once.first(key):
            return None
        try:
            begins = not asker.shared and _begins(asker.event_id, target)
            if begins and parsed.name != _HUMAN:  # who talks to one goes on below this
                asker = await self._questions.about_latest(parsed.name, asker)
            return await commands.run(self._service, parsed, asker)
        except DatabaseUnavailable:
            await self._once.again(key)
            raise

    def _answer(self, outcome: Outcome | None, asker: Asker, target: Target, words: str) -> Later:
        """Have it answered, and say what is left to do about it."""
        if not isinstance(outcome, Answering):
            return nothing if outcome is None else lambda: self._tell(outcome, asker, target)
        self._rooms.note_part(outcome.turn.place)
        if outcome.duplicate:
            return nothing
        self._courier.deliver(outcome.turn)
        begins = not asker.shared and _begins(outcome.turn.event_id, target)
        return (lambda: self._chats.entitle(target, words)) if begins else nothing

    async def _tell(self, outcome: Outcome, asker: Asker, target: Target) -> None:
        match outcome:
            case Told(text=words, takes_part=takes_part):
                self._rooms.forget_settings(asker.place.workspace)
                if takes_part:
                    self._rooms.note_part(asker.place)
                await self._speaker.reply(target, words)
            case Explained(explanation=explanation):
                await self._speaker.reply(target, summary(explanation, asker.language), prompt_file(explanation))
            case Exported(name=name, document=document):
                sentence = text("privacy_exported", asker.language)
                await self._speaker.in_private(asker.person.id, sentence, (name, document))

    async def _refuse(self, target: Target, sentence: str, key: str) -> None:
        if await self._once.first(key):
            await self._speaker.reply(target, sentence)

    async def _deliver(self, turns: Sequence[TurnView]) -> None:
        """Take away what stands of earlier answers, and bring the new ones."""
        for turn in turns:
            if turn.delivered_at is None:
                self._courier.deliver(turn)


def _begins(event_id: str, target: Target) -> bool:
    """Whether a message is the one that its thread begins with."""
    return event_id == message_id(target.channel, target.thread)


def _line(event: Json) -> str:
    """What is said in one thread is taken in order."""
    return f"{event['channel']}:{root_of(event)}"
