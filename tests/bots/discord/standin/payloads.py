"""What the servers write about their objects: plain JSON, as Discord's documentation has it."""

from __future__ import annotations

from typing import TYPE_CHECKING, Any

from tests.bots.discord.standin import permissions
from tests.bots.discord.standin.clock import moment, written

if TYPE_CHECKING:
    from tests.bots.discord.standin.channel import Channel
    from tests.bots.discord.standin.guild import Guild
    from tests.bots.discord.standin.message import Attachment, Message
    from tests.bots.discord.standin.people import Role, User

Json = dict[str, Any]


def user(one: User) -> Json:
    """A user."""
    return {
        "id": str(one.id), "username": one.username, "global_name": None if one.bot else one.name,
        "discriminator": "0", "avatar": None, "bot": one.bot, "public_flags": 0,
    }  # fmt: skip


def member(guild: Guild, one: User, *, with_user: bool = True) -> Json:
    """A user as a member; somebody who left has no roles."""
    found = guild.members.get(one.id)
    data: Json = {
        "roles": [str(role.id) for role in found.roles] if found else [],
        "nick": found.nick if found else None,
        "joined_at": written(found.joined_at) if found else None,
        "flags": 0, "deaf": False, "mute": False, "pending": False, "avatar": None, "premium_since": None,
    }  # fmt: skip
    return data | {"user": user(one)} if with_user else data


def role(one: Role) -> Json:
    """A role."""
    data: Json = {
        "id": str(one.id), "name": one.name, "permissions": str(one.permissions), "position": one.position, "color": 0,
        "colors": {"primary_color": 0, "secondary_color": None, "tertiary_color": None}, "hoist": False,
        "managed": one.bot_id is not None, "mentionable": False, "flags": 0,
    }  # fmt: skip
    return data | {"tags": {"bot_id": str(one.bot_id)}} if one.bot_id else data


def guild(one: Guild) -> Json:
    """A whole guild; of the members only the bot, as without presences."""
    bot = one.discord.bot
    return {
        "id": str(one.id), "name": one.name, "icon": None, "owner_id": str(one.owner.id), "preferred_locale": one.locale,
        "features": [], "roles": [role(r) for r in one.roles.values()], "emojis": [], "stickers": [],
        "member_count": one.member_count, "large": one.member_count >= 250, "joined_at": written(moment(one.id)),
        "channels": [channel(c) for c in one.channels.values() if not c.is_thread],
        "threads": [channel(t) for t in one.threads],
        "members": [member(one, bot)] if bot.id in one.members else [],
        "voice_states": [], "presences": [], "stage_instances": [], "guild_scheduled_events": [],
        "soundboard_sounds": [], "verification_level": 0, "default_message_notifications": 0,
        "explicit_content_filter": 0, "mfa_level": 0, "nsfw_level": 0, "premium_tier": 0, "system_channel_id": None,
        "system_channel_flags": 0, "afk_channel_id": None, "afk_timeout": 300, "description": None,
        "premium_subscription_count": 0, "premium_progress_bar_enabled": False,
    }  # fmt: skip


def channel(one: Channel) -> Json:
    """A channel of any kind."""
    data: Json = {"id": str(one.id), "type": one.type, "flags": 0, "last_message_id": _id(one.last_message_id)}
    if one.is_dm:
        return data | {"recipients": [user(one.recipient)] if one.recipient else []}
    assert one.guild is not None
    data |= {"guild_id": str(one.guild.id), "name": one.name, "parent_id": _id(one.parent.id if one.parent else None)}
    data |= {"rate_limit_per_user": 0}
    return data | (_thread(one) if one.is_thread else _guild_channel(one))


def _guild_channel(one: Channel) -> Json:
    data: Json = {
        "position": one.position, "topic": one.topic, "nsfw": False, "default_auto_archive_duration": 1440,
        "permission_overwrites": [
            {"id": str(o.target_id), "type": int(o.is_member), "allow": str(o.allow), "deny": str(o.deny)}
            for o in one.overwrites.values()
        ],
    }  # fmt: skip
    if one.tags:
        data["available_tags"] = [
            {"id": str(tag), "name": name, "moderated": False, "emoji_id": None, "emoji_name": None}
            for tag, name in one.tags.items()
        ]
    return data


def _thread(one: Channel) -> Json:
    since = written(moment(one.id))
    data: Json = {
        "owner_id": str(one.owner.id) if one.owner else None,
        "message_count": len(one.messages), "total_message_sent": len(one.book),
        "member_count": len(one.thread_members), "applied_tags": [str(tag) for tag in one.applied_tags],
        "thread_metadata": {
            "archived": one.archived, "locked": one.locked, "auto_archive_duration": one.auto_archive_minutes,
            "archive_timestamp": since, "create_timestamp": since,
        },
    }  # fmt: skip
    bot = one.discord.bot
    return data | {"member": thread_member(one, bot)} if bot.id in one.thread_members else data


def thread_member(thread: Channel, one: User) -> Json:
    """Somebody in a thread."""
    joined_at = written(thread.thread_members[one.id])
    return {"id": str(thread.id), "user_id": str(one.id), "join_timestamp": joined_at, "flags": 0}


def attachment(one: Attachment) -> Json:
    """A file of a message."""
    data: Json = {"id": str(one.id), "filename": one.filename, "size": one.size, "url": one.url, "proxy_url": one.url}
    if one.content_type:
        data["content_type"] = one.content_type
    return data | {"description": one.description} if one.description else data


def message(one: Message, sees_content: bool) -> Json:
    """A message as REST answers it; without the right to see content it is empty, but for Discord's exceptions."""
    hidden = not (sees_content or visible_without_intent(one))
    bot = one.channel.discord.bot
    data: Json = {
        "id": str(one.id), "channel_id": str(one.channel.id), "author": user(one.author), "type": one.type,
        "content": "" if hidden else one.content, "timestamp": written(one.created_at),
        "edited_timestamp": written(one.edited_at) if one.edited_at else None, "flags": one.flags, "tts": False,
        "pinned": False, "mention_everyone": one.mention_everyone, "mentions": [user(u) for u in one.mentions],
        "mention_roles": [str(r) for r in one.mention_roles], "embeds": [] if hidden else one.embeds,
        "attachments": [] if hidden else [attachment(a) for a in one.attachments],
        "components": [] if hidden else one.components,
    }  # fmt: skip
    if one.reactions:
        data["reactions"] = [_reaction(emoji, people, bot) for emoji, people in one.reactions.items()]
    if one.nonce is not None:
        data["nonce"] = one.nonce
    if one.thread is not None:
        data["thread"] = channel(one.thread)
    return data | _references(one, sees_content)


def _references(one: Message, sees_content: bool) -> Json:
    data: Json = {}
    if one.reference is not None:
        data["message_reference"] = one.reference
    if one.reply_to is not None:
        gone = one.reply_to.deleted
        data["referenced_message"] = None if gone else _shallow(message(one.reply_to, sees_content))
    if one.interaction is not None:
        data |= {"interaction_metadata": one.interaction, "webhook_id": str(one.channel.discord.application_id)}
    if one.author is one.channel.discord.bot and (one.components or one.interaction):
        data["application_id"] = str(one.channel.discord.application_id)
    return data


def _shallow(data: Json) -> Json:
    """A referenced message carries no referenced message of its own."""
    return {key: value for key, value in data.items() if key != "referenced_message"}


def visible_without_intent(one: Message) -> bool:
    """Discord's exceptions: DMs, the bot's own, and whatever mentions the bot, a reply that notifies it included."""
    bot = one.channel.discord.bot
    return one.channel.is_dm or one.author is bot or bot in one.mentions


def message_event(one: Message, sees_content: bool) -> Json:
    """A message as the gateway tells it."""
    data = message(one, sees_content) | {"channel_type": one.channel.type}
    guild = one.channel.guild
    if guild is None or one.ephemeral:
        return data
    data["guild_id"] = str(guild.id)
    if one.author.id in guild.members:
        data["member"] = member(guild, one.author, with_user=False)
    data["mentions"] = [user(u) | {"member": member(guild, u, with_user=False)} for u in one.mentions]
    return data


def emoji(text: str) -> Json:
    """An emoji: a character, or `name:id`."""
    name, _, emoji_id = text.partition(":")
    return {"name": name, "id": emoji_id or None}


def _reaction(text: str, people: list[User], bot: User) -> Json:
    counts = {"burst": 0, "normal": len(people)}
    return {
        "emoji": emoji(text), "count": len(people), "count_details": counts, "me": bot in people, "me_burst": False,
        "burst_colors": [],
    }  # fmt: skip


def reaction_event(name: str, one: User, on: Message, text: str) -> Json:
    """A reaction that was put or taken."""
    data: Json = {
        "user_id": str(one.id), "channel_id": str(on.channel.id), "message_id": str(on.id), "emoji": emoji(text),
        "burst": False, "type": 0, "message_author_id": str(on.author.id),
    }  # fmt: skip
    if on.channel.guild is not None:
        data["guild_id"] = str(on.channel.guild.id)
        if name == "MESSAGE_REACTION_ADD":
            data["member"] = member(on.channel.guild, one)
    return data


def typing(where: Channel, one: User, timestamp: int) -> Json:
    """Somebody types."""
    data: Json = {"channel_id": str(where.id), "user_id": str(one.id), "timestamp": timestamp}
    if where.guild is not None:
        data |= {"guild_id": str(where.guild.id), "member": member(where.guild, one)}
    return data


def partial_channel(one: Channel, reader: User) -> Json:
    """A channel as an interaction carries it, with what `reader` may do there."""
    return channel(one) | {"name": one.name, "permissions": str(permissions.permissions_in(one, reader))}


def _id(snowflake: int | None) -> str | None:
    return None if snowflake is None else str(snowflake)
