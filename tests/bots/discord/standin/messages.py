"""The REST routes of messages, reactions and typing."""

from __future__ import annotations

from typing import Any

from tests.bots.discord.standin import composing, payloads, routes
from tests.bots.discord.standin.calls import (
    ApiError,
    Call,
    missing_access,
    missing_permissions,
    serves,
    too_many,
    unknown,
)
from tests.bots.discord.standin.channel import CATEGORY, FORUM, Channel
from tests.bots.discord.standin.limits import OLD_MESSAGE_S
from tests.bots.discord.standin.message import Message

Json = dict[str, Any]

NONCE_S = 300.0


def as_seen(call: Call, message: Message) -> Json:
    """A message as REST answers it, its content only for those who were granted it."""
    return payloads.message(message, call.discord.message_content_allowed)


def refuse_speech(call: Call, channel: Channel) -> None:
    """The bot must be allowed to write here."""
    if channel.type in {CATEGORY, FORUM}:
        raise ApiError(400, 50008, "Cannot send messages in a non-text channel")
    if channel.recipient is not None and not channel.recipient.accepts_direct_messages:
        raise ApiError(403, 50007, "Cannot send messages to this user")
    call.require(channel, "send_messages_in_threads" if channel.is_thread else "send_messages")
    if call.files:
        call.require(channel, "attach_files")
    if channel.locked and not call.discord.bot_may(channel, "manage_threads"):
        raise ApiError(403, 160005, "This thread is locked")


@serves(routes.CREATE_MESSAGE)
def create_message(call: Call) -> Json:
    """Send; the same nonce again within some minutes is the same message."""
    channel = call.channel()
    refuse_speech(call, channel)
    nonce = call.json.get("nonce")
    earlier = _with_nonce(call, channel, nonce) if call.json.get("enforce_nonce") else None
    if earlier is not None:
        return as_seen(call, earlier)
    message = channel.new_message(call.discord.bot, "")
    message.revisions.clear()
    _refer(call, message)
    composing.write(call, message, call.json)
    if not call.discord.bot_may(channel, "embed_links"):
        message.embeds = []
    message.nonce = None if nonce is None else str(nonce)
    channel.archived = False
    if nonce is not None:
        call.discord.nonces[channel.id, str(nonce)] = message
    channel.publish(message)
    return as_seen(call, message)


def _with_nonce(call: Call, channel: Channel, nonce: Any) -> Message | None:
    found = call.discord.nonces.get((channel.id, str(nonce)))
    if found is None or found.deleted or call.discord.clock.now() - found.created_at > NONCE_S:
        return None
    return found


def _refer(call: Call, message: Message) -> None:
    """Make it the reply that was asked for."""
    reference = call.json.get("message_reference")
    if reference is None:
        return
    target = message.channel.find(int(reference["message_id"]))
    if target is not None:
        if not call.discord.bot_may(message.channel, "read_message_history"):
            raise ApiError(403, 160002, "Cannot reply without permission to read message history")
        message.channel.answer(message, target, ping=False)
    elif reference.get("fail_if_not_exists", True):
        reason = {"code": "REPLIES_UNKNOWN_MESSAGE", "message": "Unknown message"}
        raise ApiError(400, 50035, "Invalid Form Body", {"message_reference": {"_errors": [reason]}})


@serves(routes.EDIT_MESSAGE)
def edit_message(call: Call) -> Json:
    """Edit one of the bot's own messages."""
    message = call.message()
    if message.author is not call.discord.bot:
        raise ApiError(403, 50005, "Cannot edit a message authored by another user")
    if message.channel.archived:
        raise ApiError(400, 50083, "Thread is archived")
    if call.files:
        call.require(message.channel, "attach_files")
    if call.discord.clock.now() - message.created_at > OLD_MESSAGE_S:
        allowance = call.discord.limits.take_edit_of_old_message(message.channel.id)
        if not allowance.allowed:
            sentence = "Maximum number of edits to messages older than 1 hour reached. Try again later"
            raise too_many(allowance.reset_after_s, code=30046, message=sentence)
    composing.write(call, message, call.json)
    message.channel.publish_edit(message)
    return as_seen(call, message)


@serves(routes.DELETE_MESSAGE)
def delete_message(call: Call) -> None:
    """Delete the bot's own message, or with the permission anybody's."""
    message = call.message()
    if message.author is not call.discord.bot and not call.discord.bot_may(message.channel, "manage_messages"):
        raise missing_permissions()
    message.channel.take_away(message)


@serves(routes.MESSAGE)
def get_message(call: Call) -> Json:
    """One message."""
    call.require(call.channel(), "read_message_history")
    return as_seen(call, call.message())


@serves(routes.MESSAGES)
def list_messages(call: Call) -> list[Json]:
    """Messages, the newest first."""
    channel, limit = call.channel(), int(call.query.get("limit", 50))
    if not 1 <= limit <= 100:
        raise ApiError(400, 50035, "Invalid Form Body: limit is 1 to 100")
    if channel.type in {CATEGORY, FORUM}:
        raise missing_access()
    if not call.discord.bot_may(channel, "read_message_history"):
        return []
    return [as_seen(call, message) for message in _page(channel.messages, call.query, limit)]


def _page(messages: list[Message], query: dict[str, str], limit: int) -> list[Message]:
    if "after" in query:
        page = [message for message in messages if message.id > int(query["after"])][:limit]
    elif "around" in query:
        middle, half = int(query["around"]), limit // 2
        before = [message for message in messages if message.id < middle][-half:]
        page = before + [message for message in messages if message.id >= middle][: limit - len(before)]
    else:
        newest = int(query.get("before", 1 << 63))
        page = [message for message in messages if message.id < newest][-limit:]
    return page[::-1]


@serves(routes.TYPING)
def typing(call: Call) -> None:
    """Show that the bot types."""
    channel = call.channel()
    call.require(channel, "send_messages_in_threads" if channel.is_thread else "send_messages")
    channel.typing_at.append(call.discord.clock.now())
    channel.changes.happened()


@serves(routes.ADD_REACTION)
def add_reaction(call: Call) -> None:
    """Put the bot's reaction."""
    message, emoji = call.message(), _emoji(call)
    call.require(message.channel, "read_message_history")
    if emoji not in message.reactions:
        call.require(message.channel, "add_reactions")
    if message.channel.archived:
        raise ApiError(400, 50083, "Thread is archived")
    message.channel.put_reaction(call.discord.bot, message, emoji)


@serves(routes.REMOVE_OWN_REACTION)
def remove_own_reaction(call: Call) -> None:
    """Take the bot's reaction back."""
    message = call.message()
    message.channel.take_reaction(call.discord.bot, message, _emoji(call))


@serves(routes.REMOVE_REACTION)
def remove_reaction(call: Call) -> None:
    """Take somebody's reaction away."""
    message = call.message()
    call.require(message.channel, "manage_messages")
    user = call.discord.users.get(call.number("user_id"))
    if user is None:
        raise unknown("User", 10013)
    message.channel.take_reaction(user, message, _emoji(call))


@serves(routes.CLEAR_REACTION)
def clear_reaction(call: Call) -> None:
    """Take everybody's reaction with one emoji away."""
    message, emoji = call.message(), _emoji(call)
    call.require(message.channel, "manage_messages")
    for user in list(message.reactions.get(emoji, ())):
        message.channel.take_reaction(user, message, emoji)


@serves(routes.CLEAR_REACTIONS)
def clear_reactions(call: Call) -> None:
    """Take all reactions away."""
    message = call.message()
    call.require(message.channel, "manage_messages")
    for emoji, users in list(message.reactions.items()):
        for user in list(users):
            message.channel.take_reaction(user, message, emoji)


@serves(routes.REACTIONS)
def list_reactions(call: Call) -> list[Json]:
    """Who reacted with an emoji."""
    users = sorted(call.message().reactions.get(_emoji(call), ()), key=lambda user: user.id)
    after, limit = int(call.query.get("after", 0)), int(call.query.get("limit", 25))
    return [payloads.user(user) for user in users if user.id > after][:limit]


def _emoji(call: Call) -> str:
    emoji = call.parameter("emoji")
    if emoji.isascii() and ":" not in emoji:
        raise unknown("Emoji", 10014)
    return emoji
