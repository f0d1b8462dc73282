"""The Web API's chat methods, but for streams."""

from __future__ import annotations

from typing import Any

from tests.bots.slack.standin import payloads
from tests.bots.slack.standin.calls import ApiError, Call, serves
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.composing import POST_CHARACTERS, UPDATE_CHARACTERS, write
from tests.bots.slack.standin.message import Message

Json = dict[str, Any]


@serves("chat.postMessage", "chat:write")
def post(call: Call) -> Json:
    """A new message."""
    channel = destination(call)
    message = channel.new_message(call.team.bot, thread=_thread(call, channel))
    message.broadcast = call.flag("reply_broadcast")
    write(call, message, text_limit=POST_CHARACTERS)
    channel.publish(message)
    return {"channel": channel.id, "ts": message.ts, "message": payloads.message(message)}


@serves("chat.postEphemeral", "chat:write", tier=4)
def post_ephemeral(call: Call) -> Json:
    """A message that one person sees."""
    channel, user = destination(call), call.user()
    if not channel.has(user):
        raise ApiError("user_not_in_channel")
    message = channel.new_message(call.team.bot, thread=_thread(call, channel))
    message.shown_to = user
    write(call, message, text_limit=POST_CHARACTERS)
    channel.publish(message)
    return {"message_ts": message.ts}


def destination(call: Call) -> Channel:
    """Where to write: a channel that the bot is in, or a person's DM."""
    named = call.need("channel")
    channel = call.team.dm(call.user("channel")) if named in call.team.users else call.channel()
    if not channel.has(call.team.bot) and "chat:write.public" not in (call.grant.scopes if call.grant else ()):
        raise ApiError("not_in_channel")
    if channel.archived:
        raise ApiError("is_archived")
    return channel


def _thread(call: Call, channel: Channel) -> str | None:
    """The thread to write in, noted if it is none."""
    thread_ts = call.text("thread_ts")
    if thread_ts is None:
        return None
    parent = channel.book.get(thread_ts)
    if parent is None:
        call.slack.violate("thread", f"there is no message {thread_ts}", call.request)
    elif parent.thread_ts not in {None, parent.ts}:
        call.slack.violate("thread", f"{thread_ts} is a reply itself", call.request)
        return parent.thread_ts
    return thread_ts


def own(call: Call, refusal: str, ts: str = "ts") -> Message:
    """The message that is named, if the bot wrote it."""
    message = call.message(ts)
    if message.author is not call.team.bot or message.ephemeral:
        raise ApiError(refusal)
    return message


@serves("chat.update", "chat:write", tier=3)
def update(call: Call) -> Json:
    """Change a message. A text without blocks takes the blocks away; the metadata stays unless it is sent."""
    message = own(call, "cant_update_message")
    if message.streaming:
        raise ApiError("streaming_state_conflict")
    before = payloads.message(message)
    write(call, message, text_limit=UPDATE_CHARACTERS)
    message.channel.publish_edit(message, before, marked=not message.blocks)
    return {
        "channel": message.channel.id, "ts": message.ts, "text": message.text, "message": payloads.message(message)
    }  # fmt: skip


@serves("chat.delete", "chat:write", tier=3)
def delete(call: Call) -> Json:
    """Delete a message."""
    message = own(call, "cant_delete_message")
    if message.streaming:
        raise ApiError("cant_delete_message")
    message.channel.take_away(message)
    return {"channel": message.channel.id, "ts": message.ts}


@serves("chat.getPermalink")
def permalink(call: Call) -> Json:
    """A link to a message."""
    message = call.message("message_ts")
    link = f"https://{call.team.domain}.slack.com/archives/{message.channel.id}/p{message.ts.replace('.', '')}"
    return {"channel": message.channel.id, "permalink": link}
