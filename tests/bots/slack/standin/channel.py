"""A channel or a DM: what people say and do there, and what they read.

Everything that a person does is a method here or of the workspace (`team.py`); what the bot does comes by the Web API.
"""

from __future__ import annotations

import uuid
from collections.abc import Callable, Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bots.changes import Changes
from tests.bots.slack.standin import payloads
from tests.bots.slack.standin.message import File, Message
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.sessions import Assistance

if TYPE_CHECKING:
    from tests.bots.slack.standin.team import Team

Json = dict[str, Any]

CHANNEL, GROUP, DM = "channel", "group", "im"


@dataclass(eq=False)
class Channel:
    """One conversation of any kind."""

    team: Team
    id: str
    type: str
    name: str
    created_at: float
    person: User | None = None
    """Whose DM with the bot this is."""
    topic: str = ""
    archived: bool = False
    ext_shared: bool = False
    members: dict[str, User] = field(default_factory=dict)
    book: dict[str, Message] = field(default_factory=dict)
    """Every message ever, deleted ones too."""
    changes: Changes = field(default_factory=Changes)

    def __post_init__(self) -> None:
        self.assistance = Assistance(self)
        """Statuses, titles, suggested prompts and agent sessions here."""

    # What people read

    @property
    def messages(self) -> list[Message]:
        """What everybody reads now, in order; threads too."""
        return [message for message in self.book.values() if not message.deleted and not message.ephemeral]

    @property
    def texts(self) -> list[str]:
        """What `messages` say."""
        return [message.read for message in self.messages]

    @property
    def answers(self) -> list[Message]:
        """What the bot wrote, of `messages`."""
        return [message for message in self.messages if message.author is self.team.bot]

    def thread(self, ts: Message | str) -> list[Message]:
        """A message with its replies."""
        root = _ts(ts)
        return [message for message in self.messages if root in {message.ts, message.thread_ts}]

    def seen_by(self, user: User) -> list[Message]:
        """What `user` reads now: `messages`, and what is shown to this person only."""
        return [m for m in self.book.values() if not m.deleted and m.shown_to in {None, user}]

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
        thread: Message | str | None = None,
        files: Iterable[File | tuple[str, bytes]] = (),
        broadcast: bool = False,
    ) -> Message:
        """Write a message; `<@BOT>` in it mentions the bot, which is told of the mention and of the message."""
        typed = text.replace("<@BOT>", self.team.bot.mention)
        message = self.new_message(user, payloads.escaped(typed), thread=None if thread is None else _ts(thread))
        message.client_msg_id = str(uuid.uuid4())
        message.files = [self.team.keep(file) for file in files]
        if typed:
            message.blocks = [payloads.rich_text(typed, self.team.slack.ids.next("b"))]
        message.subtype = "file_share" if message.files else "thread_broadcast" if broadcast else None
        self.publish(message)
        return message

    def begin(self, user: User) -> Message:
        """An empty chat; what stands above it."""
        root = self.new_message(user, "New chat")
        root.subtype, root.thread_ts = "assistant_app_thread", root.ts
        self.book[root.ts] = root
        return root

    async def edit(self, message: Message | str, text: str) -> None:
        """Change the text of a message."""
        message, typed = self.get(message), text.replace("<@BOT>", self.team.bot.mention)
        before = payloads.message(message)
        message.text = payloads.escaped(typed)
        message.blocks = [payloads.rich_text(typed, self.team.slack.ids.next("b"))]
        self.publish_edit(message, before)

    async def unfurl(self, message: Message | str, title: str) -> None:
        """Let Slack add a preview of a link: the message changes, and no word of it."""
        message = self.get(message)
        before = payloads.message(message)
        message.attachments = [{"title": title, "fallback": title, "from_url": "https://example.com", "id": 1}]
        self.publish_edit(message, before, marked=False)

    async def delete(self, message: Message | str) -> None:
        """Delete a message."""
        self.take_away(self.get(message))

    async def react(self, user: User, message: Message | str, emoji: str) -> None:
        """Put a reaction under a message."""
        self.put_reaction(user, self.get(message), emoji)

    async def unreact(self, user: User, message: Message | str, emoji: str) -> None:
        """Take a reaction back."""
        self.take_reaction(user, self.get(message), emoji)

    async def invite(self, user: User) -> None:
        """Let somebody join, perhaps the bot."""
        self.members[user.id] = user
        self._tell("member_joined_channel", {"user": user.id, "channel_type": self.id[0], "team": self.team.id})

    async def remove(self, user: User) -> None:
        """Throw somebody out, perhaps the bot."""
        self._tell("member_left_channel", {"user": user.id, "channel_type": self.id[0], "team": self.team.id})
        self.members.pop(user.id, None)

    # What the servers do

    @property
    def is_dm(self) -> bool:
        """Whether this is a DM with the bot."""
        return self.type == DM

    @property
    def private(self) -> bool:
        """Whether only members see it."""
        return self.type != CHANNEL

    def has(self, user: User) -> bool:
        """Whether somebody is in it."""
        return user.id in self.members

    def find(self, ts: str) -> Message | None:
        """The message with this timestamp, if it is still there."""
        message = self.book.get(ts)
        return None if message is None or message.deleted else message

    def get(self, message: Message | str) -> Message:
        """A message, by itself or by its timestamp."""
        return message if isinstance(message, Message) else self.book[message]

    def new_message(self, author: User, text: str = "", *, thread: str | None = None) -> Message:
        """A message that nobody sees yet."""
        return Message(self.team.slack.timestamps.next(), self, author, text, thread_ts=thread)

    def publish(self, message: Message) -> None:
        """Show a new message to people and the bot."""
        message.note()
        self.book[message.ts] = message
        parent = None if message.thread_ts is None else self.find(message.thread_ts)
        if parent is not None and parent.thread_ts is None:
            parent.thread_ts = parent.ts
        if message.author is self.team.bot and not message.ephemeral:
            self.assistance.clear_status(message.thread_ts)
        if not message.ephemeral:
            self.team.events.tell_message(message)
        self.happened()

    def publish_edit(self, message: Message, before: Json, *, marked: bool = True) -> None:
        """Show what a message is now."""
        message.note()
        if marked:
            message.edited_at = self.team.slack.timestamps.next()
        self.team.events.tell_edit(message, before)
        self.happened()

    def take_away(self, message: Message) -> None:
        """Nobody sees the message any more."""
        before = payloads.message(message)
        message.deleted = True
        self.team.events.tell_deletion(message, before)
        self.happened()

    def put_reaction(self, user: User, message: Message, emoji: str) -> bool:
        """A reaction, once a user and emoji; whether it is new."""
        people = message.reactions.setdefault(emoji, [])
        if user in people:
            return False
        people.append(user)
        self._tell_reaction("reaction_added", user, message, emoji)
        return True

    def take_reaction(self, user: User, message: Message, emoji: str) -> bool:
        """No reaction of this user with this emoji any more; whether there was one."""
        people = message.reactions.get(emoji, [])
        if user not in people:
            return False
        people.remove(user)
        if not people:
            del message.reactions[emoji]
        self._tell_reaction("reaction_removed", user, message, emoji)
        return True

    def happened(self) -> None:
        """Wake whoever waits for this channel, or for anything."""
        self.changes.happened()
        self.team.slack.changes.happened()

    def _tell_reaction(self, name: str, user: User, message: Message, emoji: str) -> None:
        item = {"type": "message", "channel": self.id, "ts": message.ts}
        event = {"type": name, "user": user.id, "reaction": emoji, "item": item, "item_user": message.author.id}
        self.team.events.tell(name, event, self)
        self.happened()

    def _tell(self, name: str, event: Json) -> None:
        self.team.events.tell(name, {"type": name, "channel": self.id} | event, self)
        self.happened()


def _ts(message: Message | str) -> str:
    return message if isinstance(message, str) else message.ts
