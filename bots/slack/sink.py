"""SlackSink: an answer into a thread, as a stream where there is room for one, else whole behind a placeholder.

Knows the calls and which of them a message still takes: a stream has a life of its own, and is changed by chat.update
once it has ended. Owns the full text. Knows no ledger: what was sent is asked of it by the id that it returned.
"""

from __future__ import annotations

from collections.abc import AsyncIterator
from contextlib import asynccontextmanager
from dataclasses import dataclass
from time import monotonic
from typing import Any

import structlog
from slack_sdk.web.async_client import AsyncWebClient

from bots.delivery import Chunk
from bots.pacing import EditBudget, EditBudgets
from bots.slack.bodies import bodies
from bots.slack.controls import answered_blocks, streaming_blocks
from bots.slack.places import channel_of, message_id, team_of, ts_of
from bots.slack.targets import Target
from bots.slack.wire import Refused, surely
from bots.slack.wording import escaped, harmless, settled
from bots.texts import text
from core.errors import QueueUnavailable
from core.history import TurnView
from core.service import Service

log = structlog.get_logger(__name__)

Json = dict[str, Any]

MAX_CHARS = 11_000
MAX_CHUNKS = 3
"""A longer answer becomes a file below its beginning."""

STREAM_FOR_S = 240.0
"""Slack ends a stream after about five minutes."""

STREAMS_PER_MINUTE = 18
"""Of one workspace, in all processes together; Slack allows about twenty."""

APPENDS_PER_S = 1.4
_COMPARED_LETTERS = 60
_GONE = frozenset({"message_not_found", "channel_not_found"})
_FILE_NAME = "answer.md"


@dataclass(slots=True)
class _Stream:
    """A message that is being streamed, and what of it Slack has."""

    sent: str
    began: float


class SlackSink:
    """A ReplySink of one Turn."""

    max_chars: int | None = MAX_CHARS
    max_chunks: int | None = MAX_CHUNKS

    def __init__(
        self, client: AsyncWebClient, service: Service, target: Target, turn: TurnView, budget: EditBudget
    ) -> None:
        self._client, self._service, self._target, self._turn, self._budget = client, service, target, turn, budget
        self._streams: dict[str, _Stream] = {}
        self._own: set[str] = set()

    def edit_interval_s(self) -> float:
        """Seconds until this answer may be edited again."""
        return self._budget.interval_s()

    async def think(self) -> None:
        """Show that the answer is being made; Slack takes it away at the first message."""

        async def call() -> Any:
            return await self._client.assistant_threads_setStatus(
                channel_id=self._target.channel,
                thread_ts=self._target.thread,
                status=text("thinking", self._turn.language),
            )

        try:
            await surely(call, what="status", tries=1)
        except Refused as error:
            log.info("No status can be shown.", action="status_refused", reason=str(error))

    async def send(self, chunk: Chunk) -> str:
        """Make a new message: a stream, a placeholder, or the whole; or find the one that a crash has left."""
        if chunk.again and (found := await self._find(chunk)) is not None:
            return message_id(self._target.channel, found)
        if not chunk.final and await self._may_stream():
            try:
                return await self._start(chunk)
            except Refused as error:
                log.info("No stream can be had.", action="stream_refused", reason=str(error))
        ts = await self._post(self._bodies(chunk) if chunk.final else self._placeholder(chunk), chunk.nonce)
        await self._attach(chunk)
        return self._known(ts)

    async def edit(self, external_id: str, chunk: Chunk) -> None:
        """Give the message another text, or take it for final."""
        began, ts = monotonic(), ts_of(external_id)
        if not await self._go_on(ts, chunk) and chunk.final:  # what is no stream is shown as a whole
            await self._end_stream(ts)
            await self._update(ts, chunk)
        await self._attach(chunk)
        self._budget.note(monotonic() - began)

    async def remove(self, external_id: str) -> None:
        """Take a message away; one that is gone already is no error."""
        ts = ts_of(external_id)
        await self._end_stream(ts)
        try:
            await surely(lambda: self._client.chat_delete(channel=self._target.channel, ts=ts), what="remove")
        except Refused as error:
            if error.refusal not in _GONE:
                raise

    async def notice(self, sentence: str, nonce: str, *, quiet: bool = False) -> None:
        """Tell a sentence in the thread."""
        await self._post([{"markdown_text": harmless(sentence)}, {"text": escaped(sentence)}], nonce)

    async def _find(self, chunk: Chunk) -> str | None:
        """The message that was sent for this chunk: by its nonce, or a stream of ours that says how it begins."""

        async def call() -> Any:
            return await self._client.conversations_replies(
                channel=self._target.channel, ts=self._target.thread, include_all_metadata=True, limit=200
            )

        try:
            messages = (await surely(call, what="look-up")).get("messages") or []
        except Refused as error:
            log.info("The thread cannot be read.", action="thread_unread", reason=str(error))
            return None
        for message in reversed(messages):
            payload = (message.get("metadata") or {}).get("event_payload") or {}
            orphan = not message.get("metadata") and message.get("bot_id") and _begins_alike(message, chunk)
            if payload.get("nonce") == chunk.nonce or orphan:
                self._streams.pop(str(message["ts"]), None)
                return str(message["ts"])
        return None

    # Streams

    async def _may_stream(self) -> bool:
        if not (self._target.asker and self._target.team):  # forgotten
            return False
        try:
            return await self._service.within_rate(f"slack-stream-{self._target.team}", STREAMS_PER_MINUTE, 60)
        except QueueUnavailable:
            return False

    async def _start(self, chunk: Chunk) -> str:
        words = settled(chunk.text)

        async def call() -> Any:
            return await self._client.chat_startStream(
                channel=self._target.channel,
                thread_ts=self._target.thread,
                recipient_team_id=self._target.team,
                recipient_user_id=self._target.asker,
                markdown_text=words or None,
            )

        ts = str((await surely(call, what="start"))["ts"])
        self._streams[ts] = _Stream(words, monotonic())
        return self._known(ts)

    async def _go_on(self, ts: str, chunk: Chunk) -> bool:
        """Continue the stream; False where it cannot be, or is none."""
        stream = self._streams.get(ts)
        if stream is None or monotonic() - stream.began > STREAM_FOR_S:
            return False
        words = harmless(chunk.text) if chunk.final else settled(chunk.text)
        if not words.startswith(stream.sent):
            return False
        try:
            await self._continue(ts, words[len(stream.sent) :], chunk)
        except Refused as error:
            log.info("A stream has ended.", action="stream_ended", reason=str(error))
            self._streams.pop(ts, None)
            return False
        stream.sent = words
        return True

    async def _continue(self, ts: str, more: str, chunk: Chunk) -> None:
        where: Json = {"channel": self._target.channel, "ts": ts}
        if chunk.final:
            blocks = self._controls(chunk) if chunk.last else None
            await surely(
                lambda: self._client.chat_stopStream(
                    **where, markdown_text=more or None, blocks=blocks, metadata=_metadata(chunk.nonce)
                ),
                what="stop",
            )
            self._streams.pop(ts, None)
        elif more:
            await surely(lambda: self._client.chat_appendStream(**where, markdown_text=more), what="append")

    async def _end_stream(self, ts: str) -> None:
        """Let the message be no stream any more, whoever began it."""
        if ts in self._own and ts not in self._streams:
            return
        self._streams.pop(ts, None)
        self._own.add(ts)
        try:
            await surely(lambda: self._client.chat_stopStream(channel=self._target.channel, ts=ts), what="stop")
        except Refused as error:
            log.debug("It was no stream.", action="stream_ended", reason=str(error))

    # Messages

    async def _post(self, bodies: list[Json], nonce: str) -> str:
        metadata = _metadata(nonce)
        return await self._first_taken(
            bodies,
            lambda body: self._client.chat_postMessage(
                channel=self._target.channel,
                thread_ts=self._target.thread,
                metadata=metadata,
                unfurl_links=False,
                unfurl_media=False,
                **body,
            ),
        )

    async def _update(self, ts: str, chunk: Chunk) -> None:
        bodies = self._bodies(chunk)
        await self._first_taken(
            bodies, lambda body: self._client.chat_update(channel=self._target.channel, ts=ts, **body)
        )

    async def _first_taken(self, bodies: list[Json], call: Any) -> str:
        """The `ts` of the first body that Slack takes. Raises Refused with the last one's reason."""
        refused: Refused | None = None
        for body in bodies:
            try:
                return str((await surely(lambda body=body: call(body), what="message"))["ts"])  # type: ignore[misc]
            except Refused as error:
                refused = error
                if error.refusal not in _ABOUT_THE_BODY:
                    raise
        assert refused is not None  # there is a body
        raise refused

    def _bodies(self, chunk: Chunk) -> list[Json]:
        """What the message may hold, the best first."""
        return [body.arguments for body in bodies(chunk.text, self._controls(chunk) if chunk.last else [])]

    def _placeholder(self, chunk: Chunk) -> list[Json]:
        """What stands there until the whole answer does."""
        words = text("thinking", self._turn.language)
        section = {"type": "section", "text": {"type": "plain_text", "text": words}}
        return [{"text": words, "blocks": [section, *self._controls(chunk)]}]

    def _controls(self, chunk: Chunk) -> list[Json]:
        if chunk.final:
            return answered_blocks(chunk.turn_id, self._turn.language, chunk.choices)
        return streaming_blocks(chunk.turn_id, self._turn.language)

    async def _attach(self, chunk: Chunk) -> None:
        """The whole of a long answer, as a file below its beginning."""
        if chunk.whole is None:
            return
        whole = chunk.whole

        async def call() -> Any:
            return await self._client.files_upload_v2(
                content=whole, filename=_FILE_NAME, channel=self._target.channel, thread_ts=self._target.thread
            )

        await surely(call, what="file")

    def _known(self, ts: str) -> str:
        self._own.add(ts)
        return message_id(self._target.channel, ts)


_ABOUT_THE_BODY = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "invalid_attachments", "no_text"}
)


def _metadata(nonce: str) -> Json:
    return {"event_type": "pajama", "event_payload": {"nonce": nonce}}


def _begins_alike(message: Json, chunk: Chunk) -> bool:
    """Whether a message reads as the beginning of the chunk, or the chunk as its: Slack renders what it is given."""
    shown, meant = (
        "".join(letter for letter in words if letter.isalnum())[:_COMPARED_LETTERS]
        for words in (str(message.get("text") or ""), chunk.text)
    )
    return bool(shown) and (meant.startswith(shown) or shown.startswith(meant))


class Sinks:
    """Opens the sink of a Turn, with a status shown until there is something to read."""

    def __init__(self, client: AsyncWebClient, service: Service) -> None:
        self._client, self._service = client, service
        self._budgets = EditBudgets(APPENDS_PER_S)

    @asynccontextmanager
    async def open(self, turn: TurnView) -> AsyncIterator[SlackSink]:
        """The sink of the Turn, for as long as it is delivered."""
        known = {"channel": channel_of(turn.place), "thread": turn.place.conversation.partition(":")[2]}
        target = Target.model_validate({**known, "team": team_of(turn.place.workspace), **turn.target})
        with self._budgets.streaming(target.team) as budget:
            sink = SlackSink(self._client, self._service, target, turn, budget)
            if not turn.state.ended:
                await sink.think()
            yield sink
