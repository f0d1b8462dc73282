"""A workspace: its people and channels, the installed app, and what people do with the app outside of a channel."""

from __future__ import annotations

from collections.abc import Iterable, Mapping
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bots.slack.standin import interactions, streams
from tests.bots.slack.standin.channel import CHANNEL, DM, GROUP, Channel
from tests.bots.slack.standin.events import Events
from tests.bots.slack.standin.interactions import Interaction
from tests.bots.slack.standin.message import File, Message, NotOffered
from tests.bots.slack.standin.modals import View
from tests.bots.slack.standin.people import User
from tests.bots.slack.standin.tokens import Code, Grant

if TYPE_CHECKING:
    from tests.bots.slack.standin.server import StandInSlack

Json = dict[str, Any]


@dataclass(eq=False)
class Team:
    """One workspace."""

    slack: StandInSlack
    id: str
    name: str
    enterprise_id: str | None = None
    users: dict[str, User] = field(default_factory=dict)
    channels: dict[str, Channel] = field(default_factory=dict)
    files: dict[str, File] = field(default_factory=dict)
    views: dict[str, View] = field(default_factory=dict)
    homes: dict[str, View] = field(default_factory=dict)
    """The App Home by the id of who sees it."""
    grant: Grant | None = None
    """The newest bot token; None before the app is installed and after it is removed."""

    def __post_init__(self) -> None:
        self.events = Events(self)
        self.bot_id = self.slack.ids.next("B")
        self.bot = self.add_user(self.slack.bot_name, bot=True)
        self.owner = self.add_user("Owner", admin=True, owner=True)
        self._dms: dict[str, Channel] = {}

    @property
    def domain(self) -> str:
        """The workspace's part of its URL."""
        return self.name.lower().replace(" ", "-")

    @property
    def bot_token(self) -> str:
        """The token that works now."""
        assert self.grant is not None, "the app is not installed"
        return self.grant.token

    @property
    def installed(self) -> bool:
        """Whether the app is here."""
        return self.grant is not None

    # Who and what is there

    def add_user(
        self, name: str, *, locale: str = "en-US", admin: bool = False, owner: bool = False, bot: bool = False,
        guest: bool = False, timezone: str = "Europe/Berlin",
    ) -> User:  # fmt: skip
        """Somebody new."""
        user = User(self.slack.ids.next("U"), self.id, name, locale, timezone, admin, owner, bot, guest)
        self.users[user.id] = user
        return user

    def user(self, name: str) -> User:
        """Somebody by name."""
        return next(user for user in self.users.values() if user.name == name)

    def add_channel(
        self, name: str, *, members: Iterable[User] | None = None, private: bool = False, bot: bool = True
    ) -> Channel:
        """A channel with everybody in it, or with these; and with the bot, unless it is kept out."""
        kind = GROUP if private else CHANNEL
        channel = Channel(self, self.slack.ids.next("C"), kind, name, self.slack.clock.now())
        people = [one for one in self.users.values() if not one.bot] if members is None else list(members)
        channel.members = {one.id: one for one in [*people, *([self.bot] if bot else [])]}
        self.channels[channel.id] = channel
        return channel

    def dm(self, user: User) -> Channel:
        """The DM of a person with the bot."""
        if user.id not in self._dms:
            channel = Channel(self, self.slack.ids.next("D"), DM, user.handle, self.slack.clock.now(), user)
            channel.members = {user.id: user, self.bot.id: self.bot}
            self._dms[user.id] = self.channels[channel.id] = channel
        return self._dms[user.id]

    def keep(self, file: File | tuple[str, bytes]) -> File:
        """Store a file that somebody attaches."""
        if not isinstance(file, File):
            file = File(self.slack.ids.next("F"), *file)
        self.files[file.id] = file
        return file

    def file(self, name: str, content: bytes, **fields: Any) -> File:
        """A file to attach: honest, or with a false size, a redirect, or slow."""
        return File(self.slack.ids.next("F"), name, content, **fields)

    # What people do

    async def slash(self, user: User, channel: Channel, command: str, text: str = "") -> Interaction:
        """Use a slash command: `team.slash(ann, channel, "/pajama-ask", "why?")`."""
        return interactions.slash(self, user, channel, command, text)

    async def press(self, user: User, place: Message | View, name: str, value: str | None = None) -> Interaction:
        """Press a button or choose in a menu of a message or a view, named by its action_id or label."""
        return interactions.press(self, user, place, name, value)

    async def submit_view(self, user: User, view: View, values: Mapping[str, Any] | None = None) -> Interaction:
        """Fill in a modal and send it."""
        return interactions.submit(self, user, view, values or {})

    async def close_view(self, user: User, view: View) -> Interaction:
        """Close a modal without sending it."""
        return interactions.close(self, user, view)

    async def shortcut(self, user: User, message: Message, callback_id: str) -> Interaction:
        """Use a message's shortcut."""
        return interactions.shortcut(self, user, message, callback_id)

    async def global_shortcut(self, user: User, callback_id: str) -> Interaction:
        """Use a shortcut from the search or the composer."""
        return interactions.global_shortcut(self, user, callback_id)

    # App Home and the agent view

    async def open_home(self, user: User, tab: str = "home") -> Channel:
        """Open the app: its home, or with `tab="messages"` the agent's conversation."""
        channel, view = self.dm(user), self.homes.get(user.id)
        event: Json = {"type": "app_home_opened", "user": user.id, "channel": channel.id, "tab": tab}
        if view is not None and tab == "home":
            event["view"] = view.payload()
        self.events.tell("app_home_opened", event)
        return channel

    def home(self, user: User) -> View | None:
        """What somebody sees in the App Home."""
        return self.homes.get(user.id)

    async def start_assistant(self, user: User, viewing: Channel | None = None) -> Message:
        """Begin a chat the old way, with assistant_view; the root message of its thread."""
        if self.slack.agent_view:
            raise NotOffered("the app has the agent view: open_home(user, 'messages')")
        root = self.dm(user).begin(user)
        self._tell_assistant("assistant_thread_started", user, root, viewing)
        return root

    async def change_context(self, user: User, root: Message, viewing: Channel) -> None:
        """Look at another channel while the chat is open."""
        self._tell_assistant("assistant_thread_context_changed", user, root, viewing)

    def _tell_assistant(self, name: str, user: User, root: Message, viewing: Channel | None) -> None:
        context: Json = (
            {"channel_id": viewing.id, "team_id": self.id, "enterprise_id": self.enterprise_id} if viewing else {}
        )
        thread = {"user_id": user.id, "context": context, "channel_id": root.channel.id, "thread_ts": root.ts}
        self.events.tell(name, {"type": name, "assistant_thread": thread})

    async def stop_session(self, user: User, thread: Message) -> list[Message]:
        """Press the native stop button in a thread; what was streaming there."""
        channel, thread_ts = thread.channel, thread.thread_ts or thread.ts
        session = channel.assistance.sessions.get(thread_ts)
        streaming = [message for message in channel.thread(thread_ts) if message.streaming]
        if not streaming and (session is None or session.status != "processing"):
            raise NotOffered("the agent is not at work in this thread")
        stopped = streams.stop_by_user(channel, thread_ts)
        event = {
            "type": "agent_session_stopped", "channel": channel.id, "thread_ts": thread_ts, "user": user.id,
            "streaming_message_ts": [message.ts for message in stopped],
        }  # fmt: skip
        self.events.tell("agent_session_stopped", event)
        channel.happened()
        return stopped

    # Installing and removing the app

    def install(self, user: User | None = None, scopes: Iterable[str] | None = None) -> Grant:
        """Install the app, at once."""
        wanted = self.slack.scopes if scopes is None else scopes
        self.grant = self.slack.tokens.issue(self, user or self.owner, wanted)
        return self.grant

    def allow(self, user: User, *, redirect_uri: str | None = None, scopes: Iterable[str] | None = None) -> str:
        """Press "Allow" on the install page; the code that the browser brings to the app's redirect URL."""
        wanted = set(self.slack.scopes if scopes is None else scopes)
        return self.slack.tokens.issue_code(Code(self, user, wanted, self.slack.clock.now(), redirect_uri))

    def uninstall(self) -> None:
        """Remove the app; it is told by two events, and its tokens are dead."""
        self.slack.tokens.refuse(self, "account_inactive")
        self.grant = None
        tokens = {"oauth": [], "bot": [self.bot.id]}
        self.events.tell("tokens_revoked", {"type": "tokens_revoked", "tokens": tokens})
        self.events.tell("app_uninstalled", {"type": "app_uninstalled"})

    def revoke_tokens(self, code: str = "token_revoked") -> None:
        """Let the tokens die, with the event; `code` is what every call is answered with from now on."""
        self.slack.tokens.refuse(self, code)
        self.events.tell("tokens_revoked", {"type": "tokens_revoked", "tokens": {"oauth": [], "bot": [self.bot.id]}})

    def deactivate(self) -> None:
        """Let the workspace or the bot's user be deactivated, without a word to the app."""
        self.slack.tokens.refuse(self, "account_inactive")
