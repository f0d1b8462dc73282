"""The REST routes of users, guilds, members, channels, threads and DMs."""

from __future__ import annotations

from typing import Any

from tests.bots.discord.standin import composing, payloads, permissions, routes
from tests.bots.discord.standin.calls import ApiError, Call, missing_permissions, serves, unknown
from tests.bots.discord.standin.channel import DAY_MINUTES, FORUM, PUBLIC_THREAD, Channel
from tests.bots.discord.standin.message import THREAD_STARTER
from tests.bots.discord.standin.messages import as_seen

Json = dict[str, Any]


@serves(routes.ME)
def me(call: Call) -> Json:
    """The bot itself."""
    return payloads.user(call.discord.bot) | {"verified": True, "mfa_enabled": False, "email": None, "flags": 0}


@serves(routes.USER)
def user(call: Call) -> Json:
    """A user."""
    found = call.discord.users.get(call.number("user_id"))
    if found is None:
        raise unknown("User", 10013)
    return payloads.user(found)


@serves(routes.MY_GUILDS)
def my_guilds(call: Call) -> list[Json]:
    """The guilds of the bot, by id."""
    after, limit = int(call.query.get("after", 0)), int(call.query.get("limit", 200))
    found = sorted((guild for guild in call.discord.guilds.values() if guild.id > after), key=lambda guild: guild.id)
    return [
        {
            "id": str(guild.id), "name": guild.name, "icon": None, "owner": False, "features": [],
            "permissions": str(permissions.in_guild(guild, call.discord.bot)),
            "approximate_member_count": guild.member_count, "approximate_presence_count": 0,
        }
        for guild in found[:limit]
    ]  # fmt: skip


@serves(routes.OPEN_DM)
def open_dm(call: Call) -> Json:
    """A DM with somebody."""
    recipient = call.discord.users.get(int(call.json["recipient_id"]))
    if recipient is None:
        raise ApiError(400, 50033, "Invalid Recipient(s)")
    return payloads.channel(call.discord.dm(recipient))


@serves(routes.GUILD)
def guild(call: Call) -> Json:
    """A guild, without its channels and members."""
    found = call.guild()
    data = payloads.guild(found)
    for key in ("channels", "threads", "members", "voice_states", "presences", "member_count", "large", "joined_at"):
        del data[key]
    if call.query.get("with_counts", "").lower() in {"1", "true"}:
        data |= {"approximate_member_count": found.member_count, "approximate_presence_count": 0}
    return data


@serves(routes.GUILD_CHANNELS)
def guild_channels(call: Call) -> list[Json]:
    """The channels of a guild, without threads."""
    return [payloads.channel(one) for one in call.guild().channels.values() if not one.is_thread]


@serves(routes.ACTIVE_THREADS)
def active_threads(call: Call) -> Json:
    """The threads that the bot sees."""
    found = [one for one in call.guild().threads if call.discord.bot_may(one, "view_channel")]
    return {"threads": [payloads.channel(one) for one in found], "members": _memberships(call, found)}


@serves(routes.ARCHIVED_THREADS)
def archived_threads(call: Call) -> Json:
    """The archived threads of a channel."""
    channel = call.channel()
    call.require(channel, "read_message_history")
    assert channel.guild is not None
    found = [one for one in channel.guild.channels.values() if one.parent is channel and one.is_thread and one.archived]
    found = found[: int(call.query.get("limit", 50))]
    memberships = _memberships(call, found)
    return {"threads": [payloads.channel(one) for one in found], "members": memberships, "has_more": False}


def _memberships(call: Call, threads: list[Channel]) -> list[Json]:
    bot = call.discord.bot
    return [payloads.thread_member(one, bot) for one in threads if bot.id in one.thread_members]


@serves(routes.ROLES)
def roles(call: Call) -> list[Json]:
    """The roles of a guild."""
    return [payloads.role(one) for one in call.guild().roles.values()]


@serves(routes.MEMBERS)
def members(call: Call) -> list[Json]:
    """The members of a guild; only for those who were granted it."""
    if not call.discord.members_allowed:
        raise ApiError(403, 50001, "Missing Access")
    found, after = call.guild(), int(call.query.get("after", 0))
    ids = sorted(one for one in found.members if one > after)[: int(call.query.get("limit", 1))]
    return [payloads.member(found, found.members[one].user) for one in ids]


@serves(routes.MEMBER)
def member(call: Call) -> Json:
    """One member."""
    found = call.guild()
    one = found.members.get(call.number("member_id"))
    if one is None:
        raise unknown("Member", 10007)
    return payloads.member(found, one.user)


@serves(routes.CHANNEL)
def channel(call: Call) -> Json:
    """A channel, thread or DM."""
    return payloads.channel(call.channel())


@serves(routes.EDIT_CHANNEL)
def edit_channel(call: Call) -> Json:
    """Rename, archive or lock; one's own thread without a permission."""
    one = call.channel()
    own = one.is_thread and one.owner is call.discord.bot
    if not own:
        call.require(one, "manage_threads" if one.is_thread else "manage_channels")
    one.name = call.json.get("name", one.name)
    one.topic = call.json.get("topic", one.topic)
    one.archived = call.json.get("archived", one.archived)
    one.locked = call.json.get("locked", one.locked)
    one.publish_update()
    return payloads.channel(one)


@serves(routes.DELETE_CHANNEL)
def delete_channel(call: Call) -> Json:
    """Delete a channel, or close a DM."""
    one = call.channel()
    data = payloads.channel(one)
    if one.guild is not None:
        call.require(one, "manage_threads" if one.is_thread else "manage_channels")
        one.guild.remove_channel(one)
    return data


@serves(routes.START_THREAD)
def start_thread(call: Call) -> Json:
    """A thread without a message, or a forum's post with its first message."""
    parent, asked = call.channel(), call.json
    call.status = 201
    if parent.type != FORUM:
        call.require(parent, "create_public_threads")
        if asked.get("type", PUBLIC_THREAD) != PUBLIC_THREAD:
            raise missing_permissions()
        return payloads.channel(_thread(call, parent))
    call.require(parent, "send_messages")
    composing.check(call, asked["message"])
    thread = _thread(call, parent)
    first = thread.new_message(call.discord.bot, "", message_id=thread.id)
    first.revisions.clear()
    composing.write(call, first, asked["message"])
    thread.publish(first)
    return payloads.channel(thread) | {"message": as_seen(call, first)}


@serves(routes.START_THREAD_FROM_MESSAGE)
def start_thread_from_message(call: Call) -> Json:
    """A thread that hangs on a message."""
    message = call.message()
    call.require(message.channel, "create_public_threads")
    if message.channel.is_thread or message.channel.is_dm:
        raise ApiError(400, 50024, "Cannot execute action on this channel type")
    if message.thread is not None:
        raise ApiError(400, 160004, "A thread has already been created for this message")
    call.status = 201
    thread = message.channel.new_thread(call.discord.bot, call.json["name"], message, **_thread_fields(call.json))
    starter = thread.new_message(message.author, "", THREAD_STARTER)
    starter.reply_to, starter.reference = (
        message,
        {"channel_id": str(message.channel.id), "message_id": str(message.id)},
    )
    thread.publish(starter)
    return payloads.channel(thread)


def _thread(call: Call, parent: Channel) -> Channel:
    return parent.new_thread(call.discord.bot, call.json["name"], None, **_thread_fields(call.json))


def _thread_fields(asked: Json) -> Json:
    return {
        "auto_archive_minutes": asked.get("auto_archive_duration") or DAY_MINUTES,
        "applied_tags": [int(tag) for tag in asked.get("applied_tags") or ()],
    }


@serves(routes.JOIN_THREAD)
def join_thread(call: Call) -> None:
    """The bot joins a thread."""
    call.channel().thread_members.setdefault(call.discord.bot.id, call.discord.clock.now())


@serves(routes.LEAVE_THREAD)
def leave_thread(call: Call) -> None:
    """The bot leaves a thread."""
    call.channel().thread_members.pop(call.discord.bot.id, None)


@serves(routes.ADD_TO_THREAD)
def add_to_thread(call: Call) -> None:
    """Somebody is added to a thread."""
    call.channel().thread_members.setdefault(call.number("user_id"), call.discord.clock.now())
