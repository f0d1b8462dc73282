"""What a message on Discord says, and whether it is said to the bot. Pure: reads discord.py's objects, asks nothing.

Mentions become names, as a reader sees them; the bot's own mention is taken away, since it is only the address.
"""

from __future__ import annotations

import discord
import regex

from bots.attachments import Attachment
from core.values import Person
from core.workspaces import ChannelSettings

ANSWERED_TYPES = frozenset({discord.MessageType.default, discord.MessageType.reply})
_TOKEN = regex.compile(r"<(?:(@!?|@&|#)(\d{1,20})|a?:(\w{1,32}):\d{1,20}|/([^:<>\n]{1,100}):\d{1,20})>")
MAX_NAME_CHARS = 80


def person_of(user: discord.abc.User) -> Person:
    """The person, under the name that others see there."""
    return Person(id=str(user.id), display_name=user.display_name[:MAX_NAME_CHARS])


def words_of(message: discord.Message, bot_id: int) -> str:
    """The message as plain text."""
    names = {
        **{("@", user.id): f"@{user.display_name}" for user in message.mentions},
        **{("@&", role.id): f"@{role.name}" for role in message.role_mentions},
        **{("#", channel.id): f"#{channel.name}" for channel in message.channel_mentions},
    }

    def name(match: regex.Match[str]) -> str:
        if match[3]:
            return f":{match[3]}:"
        if match[4]:
            return f"/{match[4]}"
        kind, number = match[1].rstrip("!"), int(match[2])
        if kind == "@" and number == bot_id:
            return ""
        return names.get((kind, number), f"{kind[0]}{number}")

    return _TOKEN.sub(name, message.content).strip()


def attachments_of(message: discord.Message) -> list[Attachment]:
    """The files that came with the message."""
    return [Attachment(file.filename, file.url, file.size, file.content_type or "") for file in message.attachments]


def replied_to(message: discord.Message) -> discord.Message | None:
    """The message that this one replies to, where Discord sent it along."""
    resolved = message.reference.resolved if message.reference else None
    is_reply = message.type is discord.MessageType.reply
    return resolved if is_reply and isinstance(resolved, discord.Message) else None


def is_said_to(message: discord.Message, bot: discord.abc.User, settings: ChannelSettings, ours: bool) -> bool:
    """Whether the message is said to the bot. `ours`: it takes part in this thread.

    Where nobody is named, a thread that the bot takes part in and a channel in which it always answers are enough;
    a message to somebody else there is left alone, and so is one with nothing to read: a sticker, or words that Discord
    does not show without Message Content.
    """
    if message.author.bot or message.webhook_id is not None or message.type not in ANSWERED_TYPES:
        return False
    if message.guild is not None and settings.answer == "never":
        return False
    if is_addressed(message, bot):
        return True
    if message.mentions or message.mention_everyone or replied_to(message) is not None:
        return False
    if not message.content and not message.attachments:
        return False
    return (isinstance(message.channel, discord.Thread) and ours) or settings.answer == "always"


def is_addressed(message: discord.Message, bot: discord.abc.User) -> bool:
    """Whether it is said to the bot and nobody else: in a DM, by a mention, or in reply to it."""
    answered = replied_to(message)
    return message.guild is None or _mentioned(message, bot) or (answered is not None and answered.author.id == bot.id)


def _mentioned(message: discord.Message, bot: discord.abc.User) -> bool:
    if any(user.id == bot.id for user in message.mentions):
        return True
    return any(role.tags is not None and role.tags.bot_id == bot.id for role in message.role_mentions)
