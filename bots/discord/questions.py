"""Questions: what a message that is said to the bot asks: who, where, in which language, with which words and context.

Asks Discord for what a message lacks: what it replies to, its files, its author's roles. Stores nothing.
"""

from __future__ import annotations

import discord
import structlog

from bots.attachments import Attachments
from bots.commands import Asker
from bots.discord.answers import Answers
from bots.discord.chains import ReplyChains
from bots.discord.hearing import Hearing
from bots.discord.inbound import attachments_of, person_of, replied_to, words_of
from bots.discord.locales import Locales
from bots.discord.places import asker_of, channel_of, is_shared, place_of
from bots.discord.targets import Target
from bots.discord.wire import Refused, surely
from bots.privacy import check_quoting
from core.service import Service
from core.values import Place
from core.workspaces import ChannelSettings

log = structlog.get_logger(__name__)


class Questions:
    """One per client."""

    def __init__(
        self,
        client: discord.Client,
        service: Service,
        attachments: Attachments,
        answers: Answers,
        hearing: Hearing,
        locales: Locales,
    ) -> None:
        self._client, self._service, self._attachments = client, service, attachments
        self._answers, self._hearing, self._locales = answers, hearing, locales
        self._chains = ReplyChains(client)

    async def read(self, message: discord.Message, settings: ChannelSettings) -> tuple[str, Asker]:
        """The words, and who asks, with what is read beside them. Raises WordsUnwanted, DatabaseUnavailable."""
        asker = await self._asker(message, settings)
        return await self.words(message, asker.language) or await self._asked_about(message, asker), asker

    async def words(self, message: discord.Message, language: str) -> str:
        """What the message says, with its files."""
        bot_id = self._client.user.id if self._client.user is not None else 0
        return await self._attachments.told(words_of(message, bot_id), attachments_of(message), language)

    async def language(self, message: discord.Message, settings: ChannelSettings) -> str:
        """The language to answer in: what is set, else that of the guild, or in a DM of the person."""
        if settings.language:
            return settings.language
        if message.guild is not None:
            return message.guild.preferred_locale.value
        return await self._locales.of(message.author.id, _own_place(message, settings)) or "en"

    async def find_member(self, message: discord.Message) -> None:
        """Give a message that was read from a channel what only events tell: its author's roles."""
        author, guild = message.author, message.guild
        if guild is None or isinstance(author, discord.Member):
            return
        try:
            message.author = await surely(lambda: guild.fetch_member(author.id), what="member")
        except Refused as error:
            log.info("An author is no member.", action="member_unknown", event_id=str(message.id), reason=str(error))

    async def _asker(self, message: discord.Message, settings: ChannelSettings) -> Asker:
        shared = is_shared(_guild_id(message), message.channel, settings)
        place, chain = _own_place(message, settings), await self._chains.above(message)
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
            locales=(await self.language(message, settings),),
            context=self._hearing.beside(message, chain),
        )

    async def _joined(self, answer: int, own: Place, channel_id: int) -> tuple[Place, bool]:
        """The Conversation of the answer that a message leads back to, and whether that is somebody else's."""
        turn = await self._answers.turn_of(own.workspace, answer)
        if turn is None or channel_of(turn.place) != channel_id:
            return own, False
        return turn.place, turn.place != own

    async def _asked_about(self, message: discord.Message, asker: Asker) -> str:
        """The words of somebody else that a reply without words is about. Raises WordsUnwanted."""
        about = replied_to(message)
        if about is None or about.author.bot:
            return ""
        await check_quoting(self._service, asker.place, person_of(about.author), asker.person)
        words = await self.words(about, asker.language)
        return f"/{words}" if words.startswith("/") else words  # a command in it is none of whoever asks


def _guild_id(message: discord.Message) -> int | None:
    return message.guild.id if message.guild else None


def _own_place(message: discord.Message, settings: ChannelSettings) -> Place:
    return place_of(_guild_id(message), message.channel, message.channel.id, message.author.id, settings)


def _permissions(message: discord.Message) -> discord.Permissions:
    """What the author may do there; in a DM everything, since it is theirs."""
    if message.guild is None:
        return discord.Permissions.all()
    if isinstance(message.author, discord.Member) and isinstance(
        message.channel, discord.abc.GuildChannel | discord.Thread
    ):
        return message.channel.permissions_for(message.author)
    return discord.Permissions.none()
