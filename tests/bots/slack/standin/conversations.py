"""The Web API's methods around conversations, users and reactions."""

from __future__ import annotations

from collections.abc import Iterable
from typing import Any

from tests.bots.slack.standin import payloads
from tests.bots.slack.standin.calls import HISTORY_SCOPES, READ_SCOPES, ApiError, Call, serves
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.message import Message

Json = dict[str, Any]

COMMERCIAL_ITEMS = 15


@serves("conversations.info", tier=3)
def info(call: Call) -> Json:
    """A channel."""
    channel = call.channel()
    call.require_scope(READ_SCOPES[channel.type])
    document = payloads.channel(channel)
    if call.flag("include_locale"):
        document["locale"] = call.team.owner.locale
    return {"channel": document}


@serves("conversations.list", tier=2)
def list_channels(call: Call) -> Json:
    """The channels that the bot sees."""
    kinds = (call.text("types") or "public_channel").split(",")
    wanted = {"public_channel": "channel", "private_channel": "group"}
    types = {wanted.get(kind, kind) for kind in kinds}
    call.require_scope(*(READ_SCOPES[kind] for kind in types))
    bot = call.team.bot
    seen = [one for one in call.team.channels.values() if one.type in types and (one.type == "channel" or one.has(bot))]
    if call.flag("exclude_archived"):
        seen = [one for one in seen if not one.archived]
    page, cursor = _page(call, seen, default=100)
    return {"channels": [payloads.channel(one) for one in page], "response_metadata": {"next_cursor": cursor}}


@serves("users.conversations", tier=3)
def of_user(call: Call) -> Json:
    """The channels that somebody is in; by default the bot."""
    user = call.user() if call.text("user") else call.team.bot
    types = {"public_channel": "channel", "private_channel": "group"}
    wanted = {types.get(one, one) for one in (call.text("types") or "public_channel").split(",")}
    found = [one for one in call.team.channels.values() if one.type in wanted and one.has(user)]
    page, cursor = _page(call, found, default=100)
    return {"channels": [payloads.channel(one) for one in page], "response_metadata": {"next_cursor": cursor}}


@serves("conversations.members", tier=4)
def members(call: Call) -> Json:
    """Who is in a channel."""
    page, cursor = _page(call, list(call.channel().members), default=100)
    return {"members": page, "response_metadata": {"next_cursor": cursor}}


@serves("conversations.open", "im:write", tier=3)
def open_dm(call: Call) -> Json:
    """The DM with a person."""
    if call.text("channel"):
        return {"channel": {"id": call.channel().id}}
    users = (call.text("users") or "").split(",")
    if len(users) != 1 or users[0] not in call.team.users:
        raise ApiError("users_not_found")
    return {"channel": {"id": call.team.dm(call.team.users[users[0]]).id}}


@serves("conversations.join", "channels:join", tier=3)
def join(call: Call) -> Json:
    """Let the bot into a public channel."""
    channel = call.channel()
    channel.members[call.team.bot.id] = call.team.bot
    return {"channel": payloads.channel(channel)}


@serves("conversations.leave", "channels:manage", tier=3)
def leave(call: Call) -> Json:
    """Take the bot out."""
    call.channel().members.pop(call.team.bot.id, None)
    return {}


@serves("conversations.history", tier=3)
def history(call: Call) -> Json:
    """What stands in a channel, the newest first; threads by their first message."""
    channel = _readable(call)
    roots = [one for one in channel.messages if one.thread_ts in {None, one.ts} or one.broadcast]
    return _messages(call, channel, reversed(roots), default=100)


@serves("conversations.replies", tier=3)
def replies(call: Call) -> Json:
    """A thread, the oldest first."""
    channel = _readable(call)
    thread = channel.thread(call.need("ts"))
    if not thread:
        raise ApiError("thread_not_found")
    return _messages(call, channel, thread, default=1000)


def _readable(call: Call) -> Channel:
    channel = call.channel()
    call.require_scope(HISTORY_SCOPES[channel.type])
    if not channel.has(call.team.bot):
        raise ApiError("not_in_channel")
    return channel


def _messages(call: Call, channel: Channel, found: Iterable[Message], *, default: int) -> Json:
    oldest, latest, inclusive = call.text("oldest") or "0", call.text("latest") or "9" * 10, call.flag("inclusive")

    def wanted(one: Message) -> bool:
        if inclusive and one.ts in {oldest, latest}:
            return True
        return float(oldest) < float(one.ts) < float(latest)

    page, cursor = _page(call, [one for one in found if wanted(one)], default=default, limited=True)
    metadata = call.flag("include_all_metadata")
    return {
        "messages": [payloads.message(one, metadata=metadata) for one in page], "has_more": bool(cursor),
        "pin_count": 0, "response_metadata": {"next_cursor": cursor},
    }  # fmt: skip


def _page(call: Call, items: list[Any], *, default: int, limited: bool = False) -> tuple[list[Any], str]:
    """The items that were asked for, and where the next ones are."""
    size = call.number("limit", default)
    if limited and call.slack.limits.enabled and call.slack.limits.commercial:
        size = min(size, COMMERCIAL_ITEMS)
    begin = call.number("cursor", 0)
    return items[begin : begin + size], str(begin + size) if begin + size < len(items) else ""


@serves("users.info", "users:read", tier=4)
def user_info(call: Call) -> Json:
    """A person, with the locale if asked for."""
    return {"user": payloads.user(call.user(), locale=call.flag("include_locale"))}


@serves("users.list", "users:read", tier=2)
def users(call: Call) -> Json:
    """Everybody."""
    page, cursor = _page(call, list(call.team.users.values()), default=1000)
    locale = call.flag("include_locale")
    people = [payloads.user(one, locale=locale) for one in page]
    return {"members": people, "response_metadata": {"next_cursor": cursor}}


@serves("reactions.add", "reactions:write", tier=3)
def add_reaction(call: Call) -> Json:
    """Put a reaction under a message."""
    message = call.message("timestamp")
    if not message.channel.put_reaction(call.team.bot, message, call.need("name").strip(":")):
        raise ApiError("already_reacted")
    return {}


@serves("reactions.remove", "reactions:write", tier=2)
def remove_reaction(call: Call) -> Json:
    """Take a reaction back."""
    message = call.message("timestamp")
    if not message.channel.take_reaction(call.team.bot, message, call.need("name").strip(":")):
        raise ApiError("no_reaction")
    return {}


@serves("reactions.get", "reactions:read", tier=3)
def get_reactions(call: Call) -> Json:
    """The reactions under a message."""
    message = call.message("timestamp")
    return {"type": "message", "channel": message.channel.id, "message": payloads.message(message)}
