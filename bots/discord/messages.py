"""What people write on Discord: new messages, edits, deletions and reactions.

A message that is said to the bot becomes a Turn, or does what a command in it says; the answer comes by the Courier. An
edit asks again, a deletion takes question and answer away, 👍 and 👎 are ratings. Whatever cannot be done is said in the
channel. The same message again, from a second gateway event or a backfill, is the same Turn.
"""

from __future__ import annotations

import asyncio
from collections.abc import Awaitable, Callable, Iterable
from contextlib import nullcontext

import discord
import structlog

from bots import commands
from bots.attachments import Attachments
from bots.commands import Answering, Asker, Explained, Exported, Outcome, Told
from bots.courier import Courier
from bots.discord.chains import ReplyChains
from bots.discord.hearing import Hearing
from bots.discord.inbound import attachments_of, is_said_to, person_of, replied_to, words_of
from bots.discord.indicator import TypingIndicators
from bots.discord.lines import Lines
from bots.discord.places import PLATFORM, asker_of, channel_of, is_shared, place_of, settings_channel, workspace_of
from bots.discord.speaking import Speaker
from bots.discord.targets import Target
from bots.discord.wire import Refused, surely
from bots.explanation import prompt_file, summary
from bots.privacy import check_quoting
from bots.rooms import Rooms
from bots.texts import sentence_for, text
from core.errors import DatabaseUnavailable, EmptyMessage, PajamaError, ServiceUnavailable
from core.history import TurnView
from core.service import Service
from core.values import Person, Place, Rating, TurnState
from core.workspaces import ChannelSettings

log = structlog.get_logger(__name__)

LONG_QUEUE, LONG_WAIT_S = 3, 2.0
"""With so many ahead for so long, whoever asks is told."""

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
    ) -> None:
        self._client, self._service, self._courier = client, service, courier
        self._rooms, self._attachments, self._typing = rooms, attachments, typing
        self._speaker = Speaker(client)
        self.lines = Lines()
        self._chains, self._hearing = ReplyChains(client), Hearing(client)

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
        settings, ours = await self._known(message)
        if not is_said_to(message, self._client.user, settings, ours):
            self._hearing.hear(message, settings)
            return _nothing
        at_once = not again and not words_of(message, self._bot_id).startswith("/")
        try:
            with self._typing.shown(message.channel.id) if at_once else nullcontext():  # until the Courier shows it
                return await self._answer(message, settings, again=again)
        except PajamaError as error:
            log.info("A message was refused.", action="message_refused", code=error.code, event_id=str(message.id))
            language = self._language(message, settings)
            sentence = self._refusal(message, error, language)
            return lambda: self._speaker.reply(message, sentence, language, kind="no")

    def _refusal(self, message: discord.Message, error: PajamaError, language: str) -> str:
        """Why the message is not answered; one that only Discord keeps from being read is not called empty."""
        unread = not message.content and not self._client.intents.message_content
        if isinstance(error, EmptyMessage) and unread:
            return text("status_degraded", language)
        return sentence_for(error, language)

    async def edited(self, message: discord.Message) -> None:
        """Ask again where the wording changed; a message that is only now said to the bot is answered.

        Raises ServiceUnavailable.
        """
        if message.author.bot or self._client.user is None or message.edited_at is None:
            return
        async with self.lines.turn(message.channel.id):
            places = await self._service.places_of_event(PLATFORM, _workspace(message), str(message.id))
            tell = await (self._reworded(message, places) if places else self.take(message, again=True))
        await tell()

    async def deleted(self, guild_id: int | None, channel_id: int, message_id: int) -> None:
        """Purge the words, withdraw the question and take its answer away. Raises ServiceUnavailable."""
        workspace = workspace_of(guild_id, channel_id)
        async with self.lines.turn(channel_id):
            places = await self._service.places_of_event(PLATFORM, workspace, str(message_id))
            deleted = [await self._service.delete(place, str(message_id)) for place in places]
        for turn in filter(None, deleted):
            log.info("A question was deleted.", action="turn_deleted", turn_id=turn.turn_id)
            await self._take_away(turn)

    async def reacted(self, event: discord.RawReactionActionEvent, *, added: bool) -> None:
        """Take 👍 and 👎 on an answer for a rating, and their removal for none."""
        rating = _THUMBS.get(str(event.emoji).rstrip("\U0001f3fb\U0001f3fc\U0001f3fd\U0001f3fe\U0001f3ff"))
        if rating is None or self._client.user is None or event.user_id == self._client.user.id:
            return
        if event.member is not None and event.member.bot:
            return
        workspace = workspace_of(event.guild_id, event.channel_id)
        turn = await self._service.turn_of_message(PLATFORM, workspace, str(event.message_id))
        if turn is None:
            return
        person = Person(id=str(event.user_id))
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

    async def _reworded(self, message: discord.Message, places: Iterable[Place]) -> Callable[[], Awaitable[None]]:
        """Ask again what the message asked, wherever that was."""
        channel, _ = settings_channel(message.channel, message.channel.id)
        settings = await self._rooms.settings(_workspace(message), channel)
        language = self._language(message, settings)
        words = await self._words(message, language)
        try:
            edited = [await self._service.edit(place, str(message.id), words) for place in places]
        except ServiceUnavailable:
            raise
        except PajamaError as error:
            sentence = sentence_for(error, language)
            return lambda: self._speaker.reply(message, sentence, language, kind="no")

        async def answer() -> None:
            for turn in filter(None, edited):
                await self._take_away(turn)
                self._courier.deliver(turn)

        return answer

    async def _answer(
        self, message: discord.Message, settings: ChannelSettings, *, again: bool
    ) -> Callable[[], Awaitable[None]]:
        if again:
            await self._find_member(message)
        asker = await self._asker(message, settings)
        words = await self._words(message, asker.language) or await self._asked_about(message, asker)
        parsed = commands.parse(words)
        if again and isinstance(parsed, commands.Call) and parsed.name not in commands.RECIPE_COMMANDS:
            return _nothing
        outcome = await self._stored(words, asker)
        if not isinstance(outcome, Answering):
            return lambda: self._tell(message, outcome, asker)
        self._take_part(message, outcome)
        if outcome.duplicate or again:
            return _nothing
        return lambda: self._tell_wait(message, outcome.turn, asker.language)

    async def _stored(self, words: str, asker: Asker) -> Outcome:
        """Hand it to core; a database that is away for a moment is waited for. Raises PajamaError."""
        for wait_s in _STORE_AGAIN_S:
            try:
                return await commands.handle(self._service, words, asker)
            except DatabaseUnavailable as error:
                log.warning("A message waits to be stored.", action="store_retry", reason=str(error))
                await asyncio.sleep(wait_s)
        return await commands.handle(self._service, words, asker)

    async def _find_member(self, message: discord.Message) -> None:
        """Give a message that was read from a channel what only events tell: its author's roles."""
        author = message.author
        if message.guild is None or isinstance(author, discord.Member):
            return
        guild = message.guild
        try:
            message.author = await surely(lambda: guild.fetch_member(author.id), what="member")
        except Refused as error:
            log.info("An author is no member.", action="member_unknown", event_id=str(message.id), reason=str(error))

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
            case Told(text=words):
                self._rooms.forget_settings(asker.place.workspace)
                await self._speaker.reply(message, words, language, kind="told")
            case Explained(explanation=explanation):
                words, file = summary(explanation, language), prompt_file(explanation)
                await self._speaker.reply(message, words, language, file, kind="why")
            case Exported(name=name, document=document):
                await self._speaker.hand_over(message, language, (name, document))

    async def _tell_wait(self, message: discord.Message, turn: TurnView, language: str) -> None:
        """Say how many are ahead, where they are many and not gone in a moment: a telling takes the place of an answer."""
        if turn.state is not TurnState.QUEUED or await self._service.queue_position(turn.turn_id) < LONG_QUEUE:
            return
        await asyncio.sleep(LONG_WAIT_S)
        ahead = await self._service.queue_position(turn.turn_id)
        if ahead >= LONG_QUEUE:
            await self._speaker.reply(message, text("ahead", language, count=ahead), language, kind="wait")

    async def _asked_about(self, message: discord.Message, asker: Asker) -> str:
        """The words of somebody else that a reply without words is about. Raises WordsUnwanted."""
        about = replied_to(message)
        if about is None or about.author.bot:
            return ""
        await check_quoting(self._service, asker.place, person_of(about.author), asker.person)
        words = await self._words(about, asker.language)
        return f"/{words}" if words.startswith("/") else words  # a command in it is none of whoever asks

    async def _asker(self, message: discord.Message, settings: ChannelSettings) -> Asker:
        guild_id = message.guild.id if message.guild else None
        shared = is_shared(guild_id, message.channel, settings)
        place = place_of(guild_id, message.channel, message.channel.id, message.author.id, settings)
        chain = await self._chains.above(message)
        if chain.answer is not None and not shared:
            place, shared = await self._joined(chain.answer, place, message.channel.id)
        return asker_of(
            place,
            message.author,
            str(message.id),
            Target(channel=message.channel.id, reply_to=message.id, asker=message.author.id),
            channel=message.channel,
            permissions=_permissions(message),
            shared=shared,
            locales=(self._language(message, settings),),
            context=self._hearing.beside(message, chain),
        )

    async def _joined(self, answer: int, own: Place, channel_id: int) -> tuple[Place, bool]:
        """The Conversation of the answer that a message leads back to, and whether that is somebody else's."""
        turn = await self._service.turn_of_message(PLATFORM, own.workspace, str(answer))
        if turn is None or channel_of(turn.place) != channel_id:
            return own, False
        return turn.place, turn.place != own

    async def _words(self, message: discord.Message, language: str) -> str:
        return await self._attachments.told(words_of(message, self._bot_id), attachments_of(message), language)

    async def _take_away(self, turn: TurnView) -> None:
        """Remove the messages of the answer that no longer belongs to a question."""
        if turn.answer is None:
            return
        channel = self._client.get_partial_messageable(channel_of(turn.place))
        for row in await self._service.deliveries(turn.answer.generation_id):
            if row.external_id is None:
                continue
            stale = channel.get_partial_message(int(row.external_id))
            try:
                await surely(stale.delete, what="remove")
            except Refused as error:
                log.info("An answer cannot be taken away.", action="remove_refused", reason=str(error))

    def _language(self, message: discord.Message, settings: ChannelSettings) -> str:
        preferred = message.guild.preferred_locale.value if message.guild else ""
        return _first((settings.language or "", preferred))

    @property
    def _bot_id(self) -> int:
        return self._client.user.id if self._client.user is not None else 0


async def _nothing() -> None:
    """Nothing is left to do."""


def _workspace(message: discord.Message) -> str:
    return workspace_of(message.guild.id if message.guild else None, message.channel.id)


def _shared_place(guild_id: int, channel_id: int) -> Place:
    return Place(platform=PLATFORM, workspace=str(guild_id), conversation=str(channel_id))


def _permissions(message: discord.Message) -> discord.Permissions:
    """What the author may do there; in a DM everything, since it is theirs."""
    if message.guild is None:
        return discord.Permissions.all()
    if isinstance(message.author, discord.Member) and isinstance(
        message.channel, discord.abc.GuildChannel | discord.Thread
    ):
        return message.channel.permissions_for(message.author)
    return discord.Permissions.none()


def _first(locales: Iterable[str]) -> str:
    return next(filter(None, locales), "en")
