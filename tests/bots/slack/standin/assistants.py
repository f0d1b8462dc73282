"""The Web API's methods for the agent view: status, title, suggested prompts and agent sessions."""

from __future__ import annotations

from typing import Any

from tests.bots.slack.standin.bounds import Bound, outside
from tests.bots.slack.standin.calls import ApiError, Call, serves
from tests.bots.slack.standin.channel import Channel
from tests.bots.slack.standin.streams import SESSION_STATUSES

Json = dict[str, Any]

STATUS = (Bound("loading_messages", 0, 10),)
TITLE = (Bound("title", 1, 200, required=True),)
SESSION = (Bound("title", 0, 200),)
PROMPTS = (
    Bound("prompts", 1, 4, required=True),
    Bound("prompts[].title", 1, 200, required=True),
    Bound("prompts[].message", 1, 4000, required=True),
)


def _thread(call: Call) -> tuple[Channel, str]:
    """A channel and the thread in it, whose root must be there."""
    channel, thread_ts = call.channel("channel_id"), call.need("thread_ts")
    if thread_ts not in channel.book:
        raise ApiError("invalid_thread_ts")
    return channel, thread_ts


@serves("assistant.threads.setStatus", "chat:write", "assistant:write")
def set_status(call: Call) -> Json:
    """Show what the agent does; an empty status shows nothing."""
    channel, thread_ts = _thread(call)
    messages = call.json("loading_messages") or []
    call.enforce(outside("status", {"loading_messages": messages}, STATUS, "invalid_arguments"))
    if "status" not in call.arguments:
        raise ApiError("invalid_arguments", "missing required field: status")
    channel.assistance.set_status(thread_ts, str(call.arguments["status"] or ""), messages)
    return {}


@serves("assistant.threads.setTitle", "assistant:write", tier=4)
def set_title(call: Call) -> Json:
    """Name a thread in the list of chats."""
    channel, thread_ts = _thread(call)
    call.enforce(outside("title", {"title": call.text("title")}, TITLE, "invalid_arguments"))
    channel.assistance.titles[thread_ts] = call.need("title")
    channel.happened()
    return {}


@serves("assistant.threads.setSuggestedPrompts", "assistant:write", tier=4)
def set_prompts(call: Call) -> Json:
    """Offer prompts. An agent that names a thread is answered well, and nothing is shown."""
    channel, prompts = call.channel("channel_id"), call.json("prompts")
    call.enforce(outside("suggested prompts", {"prompts": prompts}, PROMPTS, "invalid_arguments"))
    if call.slack.agent_view and call.text("thread_ts"):
        call.slack.violate("suggested prompts", "thread_ts in an agent's call: nothing is shown", call.request)
        return {}
    channel.assistance.prompts = prompts
    channel.assistance.prompts_title = call.text("title")
    channel.happened()
    return {}


@serves("agents.sessions.setStatus", "chat:write", tier=3)
def set_session(call: Call) -> Json:
    """Bring an agent session to a status, and begin it if there is none."""
    channel, thread_ts = _thread(call)
    status, title, initiator = call.need("status"), call.text("title"), call.text("initiator_user_id")
    if status not in SESSION_STATUSES:
        raise ApiError("invalid_arguments", f"status {status!r}")
    call.enforce(outside("session", {"title": title}, SESSION, "invalid_arguments"))
    if initiator is not None and initiator not in channel.members:
        raise ApiError("user_not_in_channel")
    session = channel.assistance.set_session(thread_ts, status, title, initiator)
    answer: Json = {"status": status, "agent_status": status, "title": session.title}
    if "agent_session_stopped" not in call.slack.subscriptions:
        answer["warning"] = "missing_agent_session_stopped_event_subscription"
    return answer


@serves("agents.sessions.rename", "chat:write", tier=3)
def rename_session(call: Call) -> Json:
    """Give a session another title."""
    channel, thread_ts = _thread(call)
    call.enforce(outside("session", {"title": call.text("title")}, TITLE, "invalid_arguments"))
    session = channel.assistance.sessions.get(thread_ts)
    if session is None:
        raise ApiError("session_not_found")
    session.title = call.need("title")
    channel.happened()
    return {"title": session.title}
