"""A channel, a thread, a forum or a DM: what people say and do there, and what they read.

Everything that a person does is a method here; what a bot does comes by REST (`messages.py`, `channels.py`).
"""

from __future__ import annotations

import re
from collections.abc import Callable, Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bots.changes import Changes
from tests.bots.discord.standin import interactions, payloads, permissions
from tests.bots.discord.standin.gateway import (
    DIRECT_MESSAGE_REACTIONS,
    DIRECT_MESSAGE_TYPING,
    DIRECT_MESSAGES,
    GUILD_MESSAGE_REACTIONS,
    GUILD_MESSAGE_TYPING,
    GUILD_MESSAGES,
    GUILDS,
    Event,
)
from tests.bots.discord.standin.message import DEFAULT, HAS_THREAD, REPLY, THREAD_CREATED, Attachment, Message
from tests.bots.discord.standin.people import Role, User
from tests.bots.discord.standin.permissions import Overwrite
from tests.bots.discord.standin.session import Session

if TYPE_CHECKING:
    from tests.bots.discord.standin.guild import Guild
    from tests.bots.discord.standin.interactions import Interaction
    from tests.bots.discord.standin.server import StandInDiscord

TEXT, DM, CATEGORY, PUBLIC_THREAD, PRIVATE_THREAD, FORUM = 0, 1, 4, 11, 12, 15

USER_MENTION = re.compile(r"<@!?(\d+)>")
ROLE_MENTION = re.compile(r"<@&(\d+)>")
DAY_MINUTES = 1440


@dataclass(eq=False, repr=False)
class Channel:
    """One channel of any kind."""

    discord: StandInDiscord
    id: int
    type: int
    name: str
    guild: Guild | None = None
    parent: Channel | None = None
    """A channel's category, a thread's channel."""
    topic: str | None = None
    position: int = 0
    recipient: User | None = None
    owner: User | None = None
    archived: bool = False
    locked: bool = False
    auto_archive_minutes: int = DAY_MINUTES
    tags: dict[int, str] = field(default_factory=dict)
    applied_tags: list[int] = field(default_factory=list)
    thread_members: dict[int, float] = field(default_factory=dict)
    overwrites: dict[int, Overwrite] = field(default_factory=dict)
    book: dict[int, Message] = field(default_factory=dict)
    """Every message ever, deleted ones too."""
    typing_at: list[float] = field(default_factory=list)
    """When the bot showed that it types."""
    changes: Changes = field(default_factory=Changes)

    def __repr__(self) -> str:
        return f"<Channel {self.name!r} {self.texts}>"

    # What people read

    @property
    def messages(self) -> list[Message]:
        """What everybody reads now, in order."""
        return [message for message in self.book.values() if not message.deleted and not message.ephemeral]

    @property
    def texts(self) -> list[str]:
        """The texts of `messages`."""
        return [message.content for message in self.messages]

    @property
    def answers(self) -> list[Message]:
        """What the bot wrote, of `messages`."""
        return [message for message in self.messages if message.author is self.discord.bot]

    def seen_by(self, user: User) -> list[Message]:
        """What `user` reads now: `messages`, and what is shown to this person only."""
        return [m for m in self.book.values() if not m.deleted and (not m.ephemeral or m.shown_to is user)]

    async def until(self, condition: str | Callable[[], object]) -> None:
        """Wait for words to stand in a message here, or for any other condition on this channel."""
        if isinstance(condition, str):
            words = condition
            await self.changes.until(lambda: any(words in text for text in self.texts))
        else:
            await self.changes.until(condition)

    # What people do

    async def say(
        self,
        user: User,
        text: str = "",
        *,
        mentions: Iterable[User | Role] = (),
        reply_to: Message | None = None,
        ping: bool = True,
        attachments: Iterable[Attachment] = (),
    ) -> Message:
        """Write a message. `mentions` come before the text; a reply notifies its author unless `ping` is off."""
        message = self.new_message(user, " ".join([*(one.mention for one in mentions), text]).strip())
        message.attachments = [self.discord.cdn.publish(self, attachment) for attachment in attachments]
        self.notify(message, message.content)
        if reply_to is not None:
            self.answer(message, reply_to, ping=ping)
        self.publish(message)
        return message

    async def edit(self, message: Message, text: str) -> None:
        """Change the text of a message."""
        message.rewrite(text)
        self.notify(message, text)
        self.publish_edit(message)

    async def unfurl(self, message: Message, embed: dict[str, Any]) -> None:
        """Discord itself adds the preview of a link: an update in which nobody edited anything."""
        message.embeds.append(embed)
        self.publish_edit(message, rewritten=False)

    async def delete(self, message: Message) -> None:
        """Delete a message."""
        self.take_away(message)

    async def react(self, user: User, message: Message, emoji: str) -> None:
        """Put a reaction under a message."""
        self.put_reaction(user, message, emoji)

    async def unreact(self, user: User, message: Message, emoji: str) -> None:
        """Take a reaction back."""
        self.take_reaction(user, message, emoji)

    async def show_typing(self, user: User) -> None:
        """Show that `user` types."""
        data = payloads.typing(self, user, int(self.discord.clock.now()))
        intent = GUILD_MESSAGE_TYPING if self.guild else DIRECT_MESSAGE_TYPING
        self.discord.gateway.publish(Event("TYPING_START", data, intent, self.guild, self))

    async def start_thread(self, user: User, name: str, message: Message | None = None) -> Channel:
        """Open a thread, from a message or without one."""
        thread = self.new_thread(user, name, message)
        if message is None:
            notice = self.new_message(user, name, THREAD_CREATED)
            notice.reference = {"channel_id": str(thread.id), "guild_id": str(self.guild.id)} if self.guild else None
            self.publish(notice)
        return thread

    async def post(self, user: User, title: str, text: str, *, attachments: Iterable[Attachment] = ()) -> Channel:
        """Write a forum post; its first message has the thread's id."""
        assert self.type == FORUM
        thread = self.new_thread(user, title)
        first = thread.new_message(user, text, message_id=thread.id)
        first.attachments = [self.discord.cdn.publish(thread, attachment) for attachment in attachments]
        thread.notify(first, text)
        thread.publish(first)
        return thread

    async def slash(self, user: User, command: str, options: Mapping[str, Any] | None = None) -> Interaction:
        """Use a slash command, `"ask"` or with its subcommand, `"settings set"`."""
        return interactions.slash(self, user, command, options or {})

    async def autocomplete(
        self, user: User, command: str, focused: str, typed: str, options: Mapping[str, Any] | None = None
    ) -> Interaction:
        """Type `typed` into the option `focused`; the interaction's `choices` are what is offered."""
        return interactions.autocomplete(self, user, command, focused, typed, options or {})

    async def use_on_message(self, user: User, command: str, message: Message) -> Interaction:
        """Use a command of a message's context menu."""
        return interactions.on_message(self, user, command, message)

    async def use_on_user(self, user: User, command: str, target: User) -> Interaction:
        """Use a command of a user's context menu."""
        return interactions.on_user(self, user, command, target)

    async def press(self, user: User, message: Message, button: str) -> Interaction:
        """Press a button, named by its custom_id, its label or its emoji."""
        return interactions.press(self, user, message, button)

    async def select(self, user: User, message: Message, menu: str, *values: str) -> Interaction:
        """Choose in a select menu, named by its custom_id or its placeholder."""
        return interactions.select(self, user, message, menu, values)

    # Permissions

    def allow(self, target: User | Role, *names: str) -> None:
        """Allow to a person, a role or the bot, here: `channel.allow(discord.bot, "send_messages")`."""
        self._overwrite(target).allow |= permissions.bits(*names)
        self._overwrite(target).deny &= ~permissions.bits(*names)
        self.publish_update()

    def deny(self, target: User | Role, *names: str) -> None:
        """Deny to a person, a role or the bot, here."""
        self._overwrite(target).deny |= permissions.bits(*names)
        self._overwrite(target).allow &= ~permissions.bits(*names)
        self.publish_update()

    def _overwrite(self, target: User | Role) -> Overwrite:
        return self.overwrites.setdefault(target.id, Overwrite(target.id, isinstance(target, User)))

    # What the servers do

    @property
    def is_thread(self) -> bool:
        """Whether this is a thread."""
        return self.type in {PUBLIC_THREAD, PRIVATE_THREAD}

    @property
    def is_dm(self) -> bool:
        """Whether this is a DM."""
        return self.type == DM

    @property
    def last_message_id(self) -> int | None:
        """The newest message's id."""
        return next(reversed(self.book), None)

    def find(self, message_id: int) -> Message | None:
        """The message with this id, if it is still there."""
        message = self.book.get(message_id)
        return None if message is None or message.deleted else message

    def new_message(
        self, author: User, content: str, message_type: int = DEFAULT, *, message_id: int | None = None
    ) -> Message:
        """A message that nobody sees yet."""
        clock, snowflakes = self.discord.clock, self.discord.snowflakes
        message = Message(message_id or snowflakes.next(), self, author, "", clock.now(), message_type)
        message.rewrite(content)
        return message

    def answer(self, message: Message, reply_to: Message, *, ping: bool) -> None:
        """Make `message` a reply."""
        message.type, message.reply_to = REPLY, reply_to
        message.reference = {"type": 0, "channel_id": str(self.id), "message_id": str(reply_to.id)}
        if self.guild is not None:
            message.reference["guild_id"] = str(self.guild.id)
        if ping and reply_to.author not in message.mentions:
            message.mentions.append(reply_to.author)

    def notify(self, message: Message, content: str) -> None:
        """Note who is mentioned in `content`."""
        people = [self.discord.users.get(int(found)) for found in USER_MENTION.findall(content)]
        message.mentions = list(dict.fromkeys(one for one in people if one is not None))
        message.mention_roles = [int(found) for found in ROLE_MENTION.findall(content)]
        message.mention_everyone = "@everyone" in content or "@here" in content

    def new_thread(self, owner: User, name: str, message: Message | None = None, **fields: Any) -> Channel:
        """A thread here, announced; from a message it has the message's id."""
        thread_id = message.id if message else self.discord.snowflakes.next()
        thread = Channel(self.discord, thread_id, PUBLIC_THREAD, name, self.guild, self, owner=owner)
        for key, value in fields.items():
            setattr(thread, key, value)
        thread.thread_members[owner.id] = self.discord.clock.now()
        assert self.guild is not None
        self.guild.channels[thread.id] = self.discord.channels[thread.id] = thread
        self._publish("THREAD_CREATE", payloads.channel(thread) | {"newly_created": True}, GUILDS)
        if message is not None:
            message.thread = thread
            message.flags |= HAS_THREAD
            self.publish_edit(message, rewritten=False)
        return thread

    def publish(self, message: Message) -> None:
        """Show a new message to people and bots."""
        self.book[message.id] = message
        self._publish_message("MESSAGE_CREATE", message)

    def publish_edit(self, message: Message, *, rewritten: bool = True) -> None:
        """Show what a message is now."""
        if rewritten:
            message.edited_at = self.discord.clock.now()
        self._publish_message("MESSAGE_UPDATE", message)

    def take_away(self, message: Message) -> None:
        """Nobody sees the message any more."""
        message.deleted = True
        data = {"id": str(message.id), "channel_id": str(self.id)}
        if self.guild is not None and not message.ephemeral:
            data["guild_id"] = str(self.guild.id)
        self._publish("MESSAGE_DELETE", data, self._message_intent(message))

    def put_reaction(self, user: User, message: Message, emoji: str) -> None:
        """A reaction, once a user and emoji."""
        people = message.reactions.setdefault(emoji, [])
        if user not in people:
            people.append(user)
            self._publish_reaction("MESSAGE_REACTION_ADD", user, message, emoji)

    def take_reaction(self, user: User, message: Message, emoji: str) -> None:
        """No reaction of this user with this emoji any more."""
        people = message.reactions.get(emoji, [])
        if user in people:
            people.remove(user)
            if not people:
                del message.reactions[emoji]
            self._publish_reaction("MESSAGE_REACTION_REMOVE", user, message, emoji)

    def publish_update(self) -> None:
        """Show what the channel is now."""
        self._publish("THREAD_UPDATE" if self.is_thread else "CHANNEL_UPDATE", payloads.channel(self), GUILDS)

    def _publish_message(self, name: str, message: Message) -> None:
        def data(session: Session) -> dict[str, Any]:
            return payloads.message_event(message, session.sees_content)

        guild = None if message.ephemeral else self.guild
        event = Event(name, data, self._message_intent(message), guild, None if message.ephemeral else self)
        self.discord.gateway.publish(event)
        self.changes.happened()

    def _publish_reaction(self, name: str, user: User, message: Message, emoji: str) -> None:
        intent = GUILD_MESSAGE_REACTIONS if self.guild else DIRECT_MESSAGE_REACTIONS
        self._publish(name, payloads.reaction_event(name, user, message, emoji), intent)

    def _publish(self, name: str, data: dict[str, Any], intent: int) -> None:
        self.discord.gateway.publish(Event(name, data, intent, self.guild, self))
        self.changes.happened()

    def _message_intent(self, message: Message) -> int:
        """Ephemeral messages come as direct messages do, without a guild."""
        return GUILD_MESSAGES if self.guild and not message.ephemeral else DIRECT_MESSAGES
