"""Streamed messages: chat.startStream, chat.appendStream and chat.stopStream.

A stream lives for about five minutes, however often something is appended, and speaks for its whole life the way it was
opened: in `markdown_text` or in chunks.
"""

from __future__ import annotations

from collections.abc import Iterator
from dataclasses import dataclass, field
from typing import TYPE_CHECKING, Any

from tests.bots.slack.standin import block_rules, payloads, text_rules
from tests.bots.slack.standin.bounds import Bound, Finding, outside
from tests.bots.slack.standin.calls import ApiError, Call, serves
from tests.bots.slack.standin.clock import Clock
from tests.bots.slack.standin.composing import metadata_of

if TYPE_CHECKING:
    from tests.bots.slack.standin.channel import Channel
    from tests.bots.slack.standin.message import Message

Json = dict[str, Any]

LIFE_S = 306.0
CHUNK_CHARACTERS, TOTAL_CHARACTERS = 12_000, 12_000

TEXT, TASK, PLAN, BLOCKS = "markdown_text", "task_update", "plan_update", "blocks"
CHUNKS = {
    TEXT: (Bound("text", 1, CHUNK_CHARACTERS, required=True),),
    TASK: (
        Bound("id", 1, 255, required=True),
        Bound("title", 1, 256, required=True),
        Bound("details", 0, 256),
        Bound("output", 0, 256),
    ),
    PLAN: (Bound("title", 1, 256, required=True),),
    BLOCKS: (Bound("blocks", 1, 50, required=True),),
}
TASK_STATUSES = {"pending", "in_progress", "complete", "error"}
SESSION_STATUSES = {"active", "processing", "suspended", "closed"}


@dataclass
class StreamRules:
    """What holds for every stream; tests change it."""

    life_s: float = LIFE_S
    total_characters: int | None = TOTAL_CHARACTERS
    """How long a streamed text may become; Slack documents 12,000 for one call only."""
    counts_blocks: bool = True
    """Whether what the text is rendered into must fit a message, as in chat.postMessage; not documented for streams."""
    recipients_in_dms: bool = False
    """Whether DMs need a recipient too: documented as optional there, observed as needed."""


@dataclass
class Stream:
    """How a message is being written."""

    clock: Clock
    rules: StreamRules
    started_at: float
    recipient_user_id: str | None = None
    mode: str | None = None
    """`markdown_text` or `chunks`, as it was opened."""
    stopped_by: str | None = None
    """`bot` or `user`."""
    appends: int = 0
    tasks: dict[str, Json] = field(default_factory=dict)
    plan_title: str | None = None

    @property
    def state(self) -> str:
        """`streaming`, `completed`, `stopped` by the user, or `expired`."""
        if self.stopped_by is not None:
            return "completed" if self.stopped_by == "bot" else "stopped"
        return "expired" if self.clock.now() - self.started_at >= self.rules.life_s else "streaming"


@serves("chat.startStream", "chat:write", tier=2)
def start(call: Call) -> Json:
    """Open a stream, as a reply."""
    channel = call.channel()
    _may_stream(call, channel)
    message = channel.new_message(call.team.bot, thread=call.text("thread_ts"))
    message.stream = Stream(
        call.slack.clock, call.slack.streams, call.slack.clock.now(), call.text("recipient_user_id")
    )
    message.markdown_text = ""
    write(call, message)
    channel.publish(message)
    return {"channel": channel.id, "ts": message.ts}


@serves("chat.appendStream", "chat:write", tier=4)
def append(call: Call) -> Json:
    """Write on."""
    message = _open(call)
    if not write(call, message):
        raise ApiError("no_text")
    message.note()
    message.channel.happened()
    return {"channel": message.channel.id, "ts": message.ts}


@serves("chat.stopStream", "chat:write", tier=2)
def stop(call: Call) -> Json:
    """Write the rest and end."""
    message = _open(call)
    assert message.stream is not None
    before, status = payloads.message(message), call.text("session_status")
    if status is not None and status not in SESSION_STATUSES:
        raise ApiError("invalid_arguments", f"session_status {status!r}")
    blocks = block_rules.read(call)
    if blocks:
        call.enforce(block_rules.findings(blocks, "message"))
    metadata = metadata_of(call)
    write(call, message)
    if blocks:
        message.blocks += block_rules.identified(blocks, call.slack.ids)
        call.enforce(text_rules.pings_in_blocks(blocks, call.team))
    if not message.read and not message.stream.tasks:
        raise ApiError("no_text")
    message.metadata = metadata or message.metadata
    message.stream.stopped_by = "bot"
    if status is not None and message.thread_ts is not None:
        message.channel.assistance.set_session(message.thread_ts, status)
    message.channel.publish_edit(message, before, marked=False)
    return {"channel": message.channel.id, "ts": message.ts, "message": payloads.message(message)}


def stop_by_user(channel: Channel, thread_ts: str) -> list[Message]:
    """End what streams in a thread, as the native stop button does."""
    stopped = [one for one in channel.thread(thread_ts) if one.streaming and one.stream is not None]
    for message in stopped:
        assert message.stream is not None
        message.stream.stopped_by = "user"
    return stopped


def _may_stream(call: Call, channel: Channel) -> None:
    if not channel.has(call.team.bot):
        raise ApiError("not_in_channel")
    if channel.archived:
        raise ApiError("is_archived")
    if call.text("thread_ts") is None:
        call.slack.violate("stream", "a stream is a reply: thread_ts is missing", call.request)
        raise ApiError("invalid_arguments", "missing required field: thread_ts")
    if not channel.is_dm or call.slack.streams.recipients_in_dms:
        for name in ("recipient_team_id", "recipient_user_id"):
            if call.text(name) is None:
                call.slack.violate("stream", f"{name} is missing", call.request)
                raise ApiError(f"missing_{name}")
    recipient = call.text("recipient_user_id")
    if recipient is not None and recipient not in call.team.users:
        raise ApiError("user_not_found")
    theirs = call.text("recipient_team_id")
    if recipient is not None and theirs is not None and theirs != call.team.users[recipient].team_id:
        call.slack.violate("stream", f"{recipient} is not of {theirs}", call.request)
        raise ApiError("user_not_found")


def _open(call: Call) -> Message:
    """The message that is named, if it still streams."""
    message = call.message()
    if message.author is not call.team.bot:
        raise ApiError("message_not_owned_by_app")
    if message.stream is None or message.stream.state in {"completed", "expired"}:
        raise ApiError("message_not_in_streaming_state")
    if message.stream.state == "stopped":
        raise ApiError("stopped_by_user")
    return message


def write(call: Call, message: Message) -> bool:
    """Add what the call brings; whether there was anything."""
    stream, text, chunks = message.stream, call.text("markdown_text"), call.json("chunks", "invalid_chunks") or []
    assert stream is not None
    if text is not None and chunks:
        raise ApiError("invalid_arguments", "markdown_text and chunks together")
    if text is None and not chunks:
        return False
    mode = "markdown_text" if text is not None else "chunks"
    if stream.mode not in {None, mode}:
        call.slack.violate("stream", f"{mode} in a stream opened with {stream.mode}", call.request)
        raise ApiError("streaming_mode_mismatch")
    added = [{"type": TEXT, "text": text}] if text is not None else chunks
    call.enforce(_findings(added, message))
    before = len(message.markdown_text or "")
    for chunk in added:
        _add(call, message, chunk)
    stream.mode, stream.appends = mode, stream.appends + 1
    call.enforce(text_rules.pings(message.markdown_text or "", call.team, after=before, markdown=True))
    return True


def _findings(chunks: list[Json], message: Message) -> Iterator[Finding]:
    assert message.stream is not None
    for chunk in chunks:
        kind = chunk.get("type") if isinstance(chunk, dict) else None
        if kind not in CHUNKS:
            yield Finding("chunk", f"type {kind!r}", "invalid_chunks")
            continue
        yield from outside(f"chunk {kind}", chunk, CHUNKS[kind], "msg_too_long" if kind == TEXT else "invalid_chunks")
        if kind == TASK and chunk.get("status") not in TASK_STATUSES:
            yield Finding(f"chunk {kind}", f"status {chunk.get('status')!r}", "invalid_chunks")
        if kind == BLOCKS:
            yield from block_rules.findings(chunk.get("blocks") or [], "message")
    added = "".join(str(one.get("text", "")) for one in chunks if isinstance(one, dict) and one.get("type") == TEXT)
    yield from _size((message.markdown_text or "") + added, message.stream.rules)


def _size(text: str, rules: StreamRules) -> Iterator[Finding]:
    if rules.total_characters is not None and len(text) > rules.total_characters:
        yield Finding(
            "stream", f"{len(text)} characters together, allowed are {rules.total_characters}", "msg_too_long"
        )
    elif rules.counts_blocks:
        yield from block_rules.size_findings([{"type": "markdown", "text": text}] if text else [])


def _add(call: Call, message: Message, chunk: Json) -> None:
    assert message.stream is not None
    match chunk["type"]:
        case "markdown_text":
            message.markdown_text = (message.markdown_text or "") + chunk["text"]
        case "task_update":
            task = message.stream.tasks.setdefault(chunk["id"], {})
            details = (task.get("details") or "") + (chunk.get("details") or "")
            task |= chunk | ({"details": details} if details else {})
        case "plan_update":
            message.stream.plan_title = chunk["title"]
        case "blocks":
            message.blocks += block_rules.identified(chunk["blocks"], call.slack.ids)
            call.enforce(text_rules.pings_in_blocks(chunk["blocks"], call.team))
