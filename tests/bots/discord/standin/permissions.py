"""Who may do what where: role permissions and the overwrites of channels, as Discord adds them up."""

from __future__ import annotations

from dataclasses import dataclass
from typing import TYPE_CHECKING

import discord

if TYPE_CHECKING:
    from tests.bots.discord.standin.channel import Channel
    from tests.bots.discord.standin.guild import Guild
    from tests.bots.discord.standin.people import User


def bits(*names: str) -> int:
    """The bit field of permissions named as discord.py names them."""
    return discord.Permissions(**dict.fromkeys(names, True)).value


ALL = discord.Permissions.all().value
ADMINISTRATOR = bits("administrator")
EVERYONE = bits(
    "view_channel", "send_messages", "send_messages_in_threads", "create_public_threads", "embed_links", "attach_files",
    "add_reactions", "read_message_history", "use_application_commands", "external_emojis", "change_nickname",
)  # fmt: skip


@dataclass
class Overwrite:
    """What a channel allows and denies to a role or a person, over the roles' permissions."""

    target_id: int
    is_member: bool
    allow: int = 0
    deny: int = 0


def permissions_in(channel: Channel, user: User) -> int:
    """The bit field of what `user` may do in `channel`; a thread has its parent's, a DM has all of a chat."""
    if channel.guild is None:
        return EVERYONE
    return _in_guild_channel(channel.guild, channel.parent if channel.is_thread and channel.parent else channel, user)


def in_guild(guild: Guild, user: User) -> int:
    """What `user` may do in `guild` before any channel's overwrites."""
    if user.id == guild.owner.id:
        return ALL
    member = guild.members.get(user.id)
    allowed = guild.everyone.permissions
    for role in member.roles if member else ():
        allowed |= role.permissions
    return ALL if allowed & ADMINISTRATOR else allowed


def may(channel: Channel, user: User, *names: str) -> bool:
    """Whether `user` may do all that is named in `channel`."""
    wanted = bits(*names)
    return permissions_in(channel, user) & wanted == wanted


def _in_guild_channel(guild: Guild, channel: Channel, user: User) -> int:
    allowed = in_guild(guild, user)
    if allowed == ALL:
        return allowed
    member = guild.members.get(user.id)
    role_ids = {role.id for role in member.roles} if member else set()
    layers = [
        [one for one in channel.overwrites.values() if one.target_id == guild.everyone.id],
        [one for one in channel.overwrites.values() if not one.is_member and one.target_id in role_ids],
        [one for one in channel.overwrites.values() if one.is_member and one.target_id == user.id],
    ]
    for layer in layers:
        for one in layer:
            allowed &= ~one.deny
        for one in layer:
            allowed |= one.allow
    return allowed
