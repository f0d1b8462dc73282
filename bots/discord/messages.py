"""What people write on Discord: new messages, edits, deletions and reactions.

A message that is said to the bot becomes a Turn, or does what a command in it says; the answer comes by the Courier. An
edit asks again, a deletion takes question and answer away, 👍 and 👎 are ratings. Whatever cannot be done is said in the
channel. The same message again, from a second gateway event or a backfill, is the same Turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Sequence
from contextlib import nullcontext

import discord
import structlog

from bots import commands
from bots.attachments import Attachments
from bots.commands import Answering, Asker, Explained, Exported, Outcome, Told
from bots.courier import Courier
from bots.discord.answers import Answers
from bots.discord.handoff import HandoffRooms
from bots.discord.hearing import Hearing
from bots.discord.inbound import is_addressed, is_said_to, words_of
from bots.discord.indicator import TypingIndicators
from bots.discord.locales import Locales
from bots.discord.places import PLATFORM, settings_channel, workspace_of
from bots.discord.questions import Questions
from bots.discord.speaking import Speaker
from bots.discord.status import whole_status
from bots.explanation import prompt_file, summary
from bots.lines import Lines
from bots.refusals import is_told
from bots.rooms import Rooms
from bots.texts import sentence_for, text
from core.errors import DatabaseUnavailable, EmptyMessage, HandoffNotClaimed, PajamaError, ServiceUnavailable
from core.history import TurnView
from core.service import Service
from core.values import Person, Place, Rating
from core.workspaces import ChannelSettings

log = structlog.get_logger(__name__)

_THUMBS = {"👍": Rating.UP, "👎": Rating.DOWN}
_STORE_AGAIN_S = (0.5, 2.0, 5.0)


class Messages:
    """Handles every message event of one client."""

    def __init__(
        self,
        client: discord.Client,
        service: Service,
        courier: Courier,
        rooms: Rooms,
        attachments: Attachments,
        typing: TypingIndicators,
        locales: Locales,
        handoffs: HandoffRooms,
    ) -> None:
        self._client, self._service, self._courier, self._handoffs = client, service, courier, handoffs
        self._rooms, self._typing, self._speaker = rooms, typing, Speaker(client)
        self._answers, self._hearing = Answers(service), Hearing(client)
        self._questions = Questions(client, service, attachments, self._answers, self._hearing, locales)
        self.lines, self._reactions = Lines(), Lines()

    async def said(self, message: discord.Message) -> None:
        """Take a message in its turn, and answer it or say why not."""
        if message.author.bot:
            return
        async with self.lines.turn(message.channel.id):
            tell = await self.take(message)
        await tell()

    async def take(self, message: discord.Message, *, again: bool = False) -> Callable[[], Awaitable[None]]:
        """Take a message that is in its turn. Returns what is left to do about it, for which nobody need wait.

        `again`: it may have been taken before, so that a command in it is not done twice.
        """
        if message.author.bot or self._client.user is None:
            return _nothing
        settings, ours = ChannelSettings(), False
        try:
            if (by_staff := await self._by_staff(message, again=again)) is not None:
                return by_staff
            settings, ours = await self._known(message)
            if not is_said_to(message, self._client.user, settings, ours):
                self._hearing.hear(message, settings)
                return _nothing
            at_once = not again and not words_of(message, self._bot_id).startswith("/")
            with self._typing.shown(message.channel.id) if at_once else nullcontext():  # until the Courier shows it
                return await self._answer(message, settings, again=again)
        except PajamaError as error:
            log.info("A message was refused.", action="message_refused", code=error.code, event_id=str(message.id))
            refusal = error
        except Exception:  # the edge: whoever asked is told, the operator sees where
            log.exception("A message failed.", action="message_failed", event_id=str(message.id))
            refusal = PajamaError()
        asked = is_said_to(message, self._client.user, settings, ours)
        told = asked and (is_addressed(message, self._client.user) or await self._is_told(refusal, message))
        return await self._refused(message, refusal, settings) if told else _nothing

    async def _is_told(self, error: PajamaError, message: discord.Message) -> bool:
        channel = str(message.channel.id)
        place = Place(platform=PLATFORM, workspace=_workspace(message), conversation=channel)
        return await is_told(self._service, error, place, channel, Person(id=str(message.author.id)))

    async def _by_staff(self, message: discord.Message, *, again: bool) -> Callable[[], Awaitable[None]] | None:
        """Bring a person what staff write to them; None for any other message."""
        language = "en"
        try:
            view = await self._handoffs.of_message(message)
            if view is None:
                return None
            language = view.staff_language
            words = await self._questions.words(message, language)
            told = await self._handoffs.answered(message, view, words)
        except DatabaseUnavailable as error:
            log.warning("Whether staff wrote it is not known.", action="staff_unknown", reason=str(error))
            return None
        except HandoffNotClaimed as error:
            told = sentence_for(error, language)
        if told is None or again:
            return _nothing
        return lambda: self._speaker.reply(message, told, language, kind="staff")

    async def _refused(
        self, message: discord.Message, error: PajamaError, settings: ChannelSettings
    ) -> Callable[[], Awaitable[None]]:
        """Say why the message is not answered; one that only Discord keeps from being read is not called empty."""
        language = await self._questions.language(message, settings)
        unread = not message.content and not self._client.intents.message_content
        degraded = isinstance(error, EmptyMessage) and unread
        sentence = text("status_degraded", language) if degraded else sentence_for(error, language)
        return lambda: self._speaker.reply(message, sentence, language, kind="no")

    async def edited(self, message: discord.Message) -> None:
        """Ask again where the wording changed; a message that is only now said to the bot is answered.

        Raises ServiceUnavailable.
        """
        if message.author.bot or self._client.user is None or message.edited_at is None:
            return
        async with self.lines.turn(message.channel.id):
            places = await self._service.places_of_event(PLATFORM, _workspace(message), str(message.id))
            left = [await self._reworded(message, places)] if places else []
            if not places or await self._asks_only_now(message):
                left.append(await self.take(message, again=True))
        for tell in left:
            await tell()

    async def deleted(self, guild_id: int | None, channel_id: int, message_id: int) -> None:
        """Purge the words, withdraw the question and take its answer away. Raises ServiceUnavailable."""
        workspace = workspace_of(guild_id, channel_id)
        async with self.lines.turn(channel_id):
            self._hearing.unhear(channel_id, message_id)
            places = await self._service.places_of_event(PLATFORM, workspace, str(message_id))
            deleted = [await self._service.delete(place, str(message_id)) for place in places]
        for turn in filter(None, deleted):
            log.info("A question was deleted.", action="turn_deleted", turn_id=turn.turn_id)
            if turn.delivered_at is None:  # until what stands of its answers is taken away
                self._courier.deliver(turn)

    async def channel_deleted(self, guild_id: int, channel_id: int) -> None:
        """Purge what was said in a channel or thread that is gone, and withdraw its questions. Raises ServiceUnavailable."""
        deleted = await self._service.delete_channel(PLATFORM, workspace_of(guild_id, channel_id), str(channel_id))
        log.info("A channel was deleted.", action="channel_deleted", channel=channel_id, messages=deleted)

    async def reacted(self, event: discord.RawReactionActionEvent, *, added: bool) -> None:
        """Take 👍 and 👎 on an answer for a rating, and their removal for none."""
        rating = _THUMBS.get(str(event.emoji).rstrip("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"))
        if rating is None or self._client.user is None or event.user_id == self._client.user.id:
            return
        if (event.member is not None and event.member.bot) or event.message_author_id not in (None, self._bot_id):
            return
        workspace = workspace_of(event.guild_id, event.channel_id)
        async with self._reactions.turn(event.message_id):
            turn = await self._answers.turn_of(workspace, event.message_id)
            if turn is not None:
                await self._rate(turn, Person(id=str(event.user_id)), rating, added=added)

    async def _rate(self, turn: TurnView, person: Person, rating: Rating, *, added: bool) -> None:
        try:
            if added:
                await self._service.rate(turn.place, person, turn.turn_id, rating)
            else:
                await self._service.take_rating_back(turn.place, person, turn.turn_id, rating)
        except PajamaError as error:
            log.info("A reaction was not taken.", action="reaction_refused", turn_id=turn.turn_id, reason=str(error))

    # A message that is said to the bot

    async def _known(self, message: discord.Message) -> tuple[ChannelSettings, bool]:
        """What is set for the channel, and whether the bot takes part in it; without SQL only what the message tells."""
        workspace = _workspace(message)
        try:
            return await self._rooms.settings(
                workspace, settings_channel(message.channel, message.channel.id)[0]
            ), await self._ours(message)
        except DatabaseUnavailable as error:
            log.warning("A channel's settings cannot be read.", action="settings_unread", reason=str(error))
            return ChannelSettings(), False

    async def _ours(self, message: discord.Message) -> bool:
        """Whether the bot takes part in this thread."""
        if not isinstance(message.channel, discord.Thread) or message.guild is None or self._client.user is None:
            return False
        if message.channel.owner_id == self._client.user.id:
            return True
        return await self._rooms.takes_part(_shared_place(message.guild.id, message.channel.id))

    async def _asks_only_now(self, message: discord.Message) -> bool:
        """Whether a message that was read beside others is said to the bot by now. Raises DatabaseUnavailable."""
        if await self._service.asked_events(PLATFORM, _workspace(message), [str(message.id)]):
            return False
        settings, ours = await self._known(message)
        return self._client.user is not None and is_said_to(message, self._client.user, settings, ours)

    async def _reworded(self, message: discord.Message, places: Sequence[Place]) -> Callable[[], Awaitable[None]]:
        """Ask again what the message asked, wherever that was."""
        channel, _ = settings_channel(message.channel, message.channel.id)
        settings = await self._rooms.settings(_workspace(message), channel)
        language = await self._questions.language(message, settings)
        words = await self._questions.words(message, language)
        try:
            edited = [await self._service.edit(place, str(message.id), words) for place in places]
        except ServiceUnavailable:
            raise
        except PajamaError as error:
            return await self._refused(message, error, settings)

        turns = [turn for turn in edited if turn is not None]

        async def answer() -> None:
            for turn in turns:
                self._courier.deliver(turn)

        return answer if turns else _nothing

    async def _answer(
        self, message: discord.Message, settings: ChannelSettings, *, again: bool
    ) -> Callable[[], Awaitable[None]]:
        if again:
            await self._questions.find_member(message)
        words, asker = await self._questions.read(message, settings)
        parsed = commands.parse(words)
        if again and isinstance(parsed, commands.Call) and parsed.name not in commands.RECIPE_COMMANDS:
            return _nothing
        outcome = whole_status(self._client, parsed, await self._stored(words, asker), asker.language)
        if not isinstance(outcome, Answering):
            return lambda: self._tell(message, outcome, asker)
        self._take_part(message, outcome)
        return _nothing

    async def _stored(self, words: str, asker: Asker) -> Outcome:
        """Hand it to core; a database that is away for a moment is waited for. Raises PajamaError."""
        for wait_s in _STORE_AGAIN_S:
            try:
                return await commands.handle(self._service, words, asker)
            except DatabaseUnavailable as error:
                log.warning("A message waits to be stored.", action="store_retry", reason=str(error))
                await asyncio.sleep(wait_s)
        return await commands.handle(self._service, words, asker)

    def _take_part(self, message: discord.Message, outcome: Answering) -> None:
        """Have it answered, and note what that changes for the next message."""
        self._hearing.forget(message.channel.id)
        if isinstance(message.channel, discord.Thread):
            self._rooms.note_part(outcome.turn.place)
        if not outcome.duplicate:
            self._courier.deliver(outcome.turn)

    async def _tell(self, message: discord.Message, outcome: Outcome, asker: Asker) -> None:
        language = asker.language
        match outcome:
            case Told(text=words, takes_part=takes_part):
                self._rooms.forget_settings(asker.place.workspace)
                if takes_part:
                    self._rooms.note_part(asker.place)
                await self._speaker.reply(message, words, language, kind="told")
            case Explained(explanation=explanation):
                words, file = summary(explanation, language), prompt_file(explanation)
                await self._speaker.reply(message, words, language, file, kind="why")
            case Exported(name=name, document=document):
                await self._speaker.hand_over(message, language, (name, document))

    @property
    def _bot_id(self) -> int:
        return self._client.user.id if self._client.user is not None else 0


async def _nothing() -> None:
    """Nothing is left to do."""


def _workspace(message: discord.Message) -> str:
    return workspace_of(message.guild.id if message.guild else None, message.channel.id)


def _shared_place(guild_id: int, channel_id: int) -> Place:
    return Place(platform=PLATFORM, workspace=str(guild_id), conversation=str(channel_id))
