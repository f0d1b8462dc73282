"""Where on Discord something is said, in Pajama's words: Workspace, Conversation, channel, and who asks.

A guild is a Workspace, and so is each DM. A thread, a forum post and a channel in which the bot always answers are one
Conversation each, shared by all who speak there; elsewhere in a guild each person has their own in each channel, so that
nobody waits for somebody else's answer. Knows discord.py's objects; asks nothing.
"""

from __future__ import annotations

from collections.abc import Iterable

import discord

from bots.commands import Asker
from bots.discord.inbound import person_of
from bots.discord.targets import Target
from bots.texts import negotiate
from core.values import ContextMessage, Place
from core.workspaces import ChannelSettings

PLATFORM = "discord"
Speaker = discord.User | discord.Member


def workspace_of(guild_id: int | None, channel_id: int) -> str:
    """The Workspace's id: the guild's, or the DM's own."""
    return f"dm-{channel_id}" if guild_id is None else str(guild_id)


def settings_channel(channel: object, channel_id: int) -> tuple[str, str | None]:
    """The channel that settings are found by (of a thread, its parent), and its category."""
    if isinstance(channel, discord.Thread):
        parent = channel.parent
        category = parent.category_id if parent is not None else None
        return str(channel.parent_id), str(category) if category else None
    category_id = getattr(channel, "category_id", None)
    return str(channel_id), str(category_id) if category_id else None


def is_shared(guild_id: int | None, channel: object, settings: ChannelSettings) -> bool:
    """Whether all who speak here share one Conversation."""
    return guild_id is not None and (isinstance(channel, discord.Thread) or settings.answer == "always")


def place_of(
    guild_id: int | None, channel: object, channel_id: int, speaker_id: int, settings: ChannelSettings
) -> Place:
    """Where what is said there belongs."""
    own = guild_id is not None and not is_shared(guild_id, channel, settings)
    conversation = f"{channel_id}:{speaker_id}" if own else str(channel_id)
    return Place(platform=PLATFORM, workspace=workspace_of(guild_id, channel_id), conversation=conversation)


def channel_of(place: Place) -> int:
    """The Discord channel or thread of a Conversation."""
    return int(place.conversation.partition(":")[0])


def permissions_of(interaction: discord.Interaction) -> discord.Permissions:
    """What they may do there; in a DM everything, since it is theirs, and Discord tells nothing of it."""
    return interaction.permissions if interaction.guild_id is not None else discord.Permissions.all()


def asker_of(
    place: Place,
    speaker: Speaker,
    event_id: str,
    target: Target,
    *,
    channel: object,
    permissions: discord.Permissions,
    shared: bool,
    locales: Iterable[str],
    context: tuple[ContextMessage, ...] = (),
) -> Asker:
    """Who asks, with what the shared commands want to know of them."""
    found_by, category = settings_channel(channel, target.channel)
    roles = tuple(str(role.id) for role in getattr(speaker, "roles", ()))
    return Asker(
        place=place,
        person=person_of(speaker),
        event_id=event_id,
        language=negotiate(locales),
        target=target.model_dump(exclude_defaults=True),
        shared=shared,
        channel=found_by,
        category=category,
        roles=roles[:250],
        admin=permissions.manage_guild,
        moderator=permissions.manage_messages,
        context=context,
    )
