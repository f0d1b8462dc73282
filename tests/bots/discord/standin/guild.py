"""A guild: its roles, members and channels. Changing one tells the bots that are connected."""

from __future__ import annotations

from collections.abc import Iterable
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bots.discord.standin import payloads, permissions
from tests.bots.discord.standin.channel import CATEGORY, FORUM, TEXT, Channel
from tests.bots.discord.standin.gateway import GUILD_MEMBERS, GUILDS, Event
from tests.bots.discord.standin.people import Member, Role, User

if TYPE_CHECKING:
    from tests.bots.discord.standin.server import StandInDiscord


@dataclass(eq=False, repr=False)
class Guild:
    """One guild that the bot was invited to."""

    discord: StandInDiscord
    id: int
    name: str
    owner: User
    locale: str = "en-US"
    announced_members: int | None = None
    """How many members Discord says there are; most are never shown to a bot."""
    roles: dict[int, Role] = field(default_factory=dict)
    members: dict[int, Member] = field(default_factory=dict)
    channels: dict[int, Channel] = field(default_factory=dict)

    def __repr__(self) -> str:
        return f"<Guild {self.name!r}>"

    @property
    def everyone(self) -> Role:
        """The role that everyone has; its id is the guild's."""
        return self.roles[self.id]

    @property
    def member_count(self) -> int:
        """How many members Discord announces."""
        return len(self.members) if self.announced_members is None else self.announced_members

    @property
    def threads(self) -> list[Channel]:
        """The threads that are not archived."""
        return [channel for channel in self.channels.values() if channel.is_thread and not channel.archived]

    def add_role(self, name: str, *allowed: str, bot_id: int | None = None) -> Role:
        """A new role with the permissions named as in discord.py: `guild.add_role("Admins", "manage_guild")`."""
        role = Role(self.discord.snowflakes.next(), name, permissions.bits(*allowed), len(self.roles), bot_id)
        self.roles[role.id] = role
        self._tell("GUILD_ROLE_CREATE", GUILDS, {"role": payloads.role(role)})
        return role

    def add_member(self, user: User, *roles: Role, nick: str | None = None) -> User:
        """Let `user` join, or give a member other roles."""
        joined = user.id not in self.members
        self.members[user.id] = Member(user, self.discord.clock.now(), list(roles), nick)
        name = "GUILD_MEMBER_ADD" if joined else "GUILD_MEMBER_UPDATE"
        self._tell(name, GUILD_MEMBERS, payloads.member(self, user))
        return user

    def add_text_channel(self, name: str, *, category: Channel | None = None, topic: str | None = None) -> Channel:
        """A channel for messages."""
        return self._add(Channel(self.discord, self.discord.snowflakes.next(), TEXT, name, self, category, topic=topic))

    def add_category(self, name: str) -> Channel:
        """A category, under which channels stand."""
        return self._add(Channel(self.discord, self.discord.snowflakes.next(), CATEGORY, name, self))

    def add_forum(self, name: str, *, category: Channel | None = None, tags: Iterable[str] = ()) -> Channel:
        """A forum: posts only, each a thread."""
        forum = Channel(self.discord, self.discord.snowflakes.next(), FORUM, name, self, category)
        forum.tags = {self.discord.snowflakes.next(): tag for tag in tags}
        return self._add(forum)

    def remove_channel(self, channel: Channel) -> None:
        """Delete a channel with its threads."""
        for one in [thread for thread in self.channels.values() if thread.parent is channel and thread.is_thread]:
            self.forget_channel(one)
        self.forget_channel(channel)
        self._tell("THREAD_DELETE" if channel.is_thread else "CHANNEL_DELETE", GUILDS, payloads.channel(channel))

    def forget_channel(self, channel: Channel) -> None:
        """Take a channel off the lists."""
        self.channels.pop(channel.id, None)
        self.discord.channels.pop(channel.id, None)

    def remove_bot(self) -> None:
        """Throw the bot out."""
        self.discord.guilds.pop(self.id, None)
        self._tell("GUILD_DELETE", GUILDS, {"id": str(self.id)})

    def become_unavailable(self) -> None:
        """An outage: the guild is gone for a while."""
        self._tell("GUILD_DELETE", GUILDS, {"id": str(self.id), "unavailable": True})

    def become_available(self) -> None:
        """The end of an outage."""
        self._tell("GUILD_CREATE", GUILDS, payloads.guild(self) | {"unavailable": False})

    def _add(self, channel: Channel) -> Channel:
        channel.position = len(self.channels)
        self.channels[channel.id] = self.discord.channels[channel.id] = channel
        self._tell("CHANNEL_CREATE", GUILDS, payloads.channel(channel))
        return channel

    def _tell(self, name: str, intent: int, data: dict[str, Any]) -> None:
        self.discord.gateway.publish(Event(name, data | {"guild_id": str(self.id)}, intent, self))
