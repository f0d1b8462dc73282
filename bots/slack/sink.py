"""SlackSink: an answer into a thread, as a stream where there is room for one, behind a placeholder, or whole.

Owns the full text, and decides what of it a message shows by which call: a stream grows until it is about to end, then a
second one goes on from there; one that ended before its time is changed as any message is. Knows no ledger: what was sent
is asked of it by the id that it returned.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable, Iterable
from dataclasses import dataclass, replace
from enum import StrEnum
from time import monotonic

import structlog

from bots.delivery import Chunk, ReplySink
from bots.slack.bodies import Body, bodies
from bots.slack.budget import APPEND, START, STOP, UPDATE, SendBudget
from bots.slack.controls import answered_blocks, streaming_blocks
from bots.slack.fitting import markdown_fits
from bots.slack.pace import Pace
from bots.slack.places import message_id, ts_of
from bots.slack.status import Status
from bots.slack.targets import Target
from bots.slack.thread import Thread
from bots.slack.wire import Json, Refused, Unsure
from bots.slack.wording import escaped, harmless, settled
from bots.slack.writer import Writer
from bots.splitting import split
from bots.texts import text
from core.history import TurnView

log = structlog.get_logger(__name__)

MAX_CHARS = 11_000
MAX_CHUNKS = 3
"""A longer answer becomes a file below its beginning."""

STREAM_FOR_S = 240.0
"""Slack ends a stream after about five minutes."""

WAITING_S = 2.0
"""How soon an answer that nobody reads as yet looks for room again."""

_UPDATES_KEPT = 20
"""Of a minute's updates so many are left to the ends of answers."""

_LEAST_CUT = 64
_FILE_TITLE = "answer.md"
_ABOUT_THE_BODY = frozenset(
    {"invalid_blocks", "invalid_blocks_format", "msg_blocks_too_long", "msg_too_long", "invalid_attachments", "no_text"}
)
_STOPPED = "stopped_by_user"
_NO_STREAM = frozenset({"message_not_in_streaming_state", _STOPPED})


class _Way(StrEnum):
    """How the next new message comes."""

    STREAM = "stream"
    PLACEHOLDER = "placeholder"


@dataclass(slots=True)
class _Stream:
    """A message that is being streamed, and what of it Slack has."""

    sent: str
    began: float
    full: bool = False
    """Whether it is to grow no more: a second one follows."""


class SlackSink(ReplySink):
    """A ReplySink of one Turn."""

    max_chars: int | None = MAX_CHARS
    max_chunks: int | None = MAX_CHUNKS  # None once Slack has refused a file

    def __init__(
        self,
        writer: Writer,
        thread: Thread,
        send_budget: SendBudget,
        target: Target,
        turn: TurnView,
        status: Status,
        pace: Pace,
    ) -> None:
        self._writer, self._thread, self._send_budget, self._target, self._turn = (
            writer,
            thread,
            send_budget,
            target,
            turn,
        )
        self._status, self._pace = status, pace
        self.cuts = ()
        self._streams: dict[str, _Stream] = {}
        self._plain: set[str] = set()  # messages that are known to be no open streams
        self._growing: set[str] = set()  # those of them that grow all the same
        self._shared: set[str] = set()  # the names of files that this sink has put there
        self._replaced: dict[str, str] = {}  # messages that Slack changes no more, and what stands there for them
        self._told: set[str] = set()  # the nonces of what was told
        self._way: _Way | None = None
        self._looks_first = turn.state.ended  # a bot that ended may have told its end

    def edit_interval_s(self) -> float:
        """Seconds until this answer may be edited again."""
        return self._pace.interval_s() if self._streams else WAITING_S

    async def ready(self, chunk: Chunk) -> bool:
        """Whether there is room for an answer that is not complete: for a stream, or for a placeholder."""
        if self._way is None and self._may_stream(chunk) and await self._send_budget.spare(START):
            self._way = _Way.STREAM
        if self._way is None and await self._send_budget.spare_placeholder(self._target.channel):
            self._way = _Way.PLACEHOLDER
        return self._way is not None

    async def send(self, chunk: Chunk) -> str:
        """Make a new message: a stream, a placeholder, or the whole; or find the one that a crash has left."""
        if chunk.again and (found := await self._thread.find(chunk.nonce, chunk.text)) is not None:
            await self._status.clear()
            return message_id(self._target.channel, found)
        await self._status.over()
        way = self._way if chunk.final or self._way or await self.ready(chunk) else None
        self._way = None
        if not chunk.final and way is _Way.STREAM:
            try:
                return await self._start(chunk)
            except Refused as error:
                log.info("No stream can be had.", action="stream_refused", reason=str(error))
                ts, _ = await self._new(self._bodies(chunk), chunk.nonce)
                self._growing.add(ts)
                return message_id(self._target.channel, ts)
        return await self._post(chunk, placed=way is _Way.PLACEHOLDER)

    async def edit(self, external_id: str, chunk: Chunk) -> str | None:
        """Give the message another text, or take it for final; the id of the one that replaces it where Slack refuses."""
        began, ts = monotonic(), self._standing(external_id)
        await (self._finish(ts, chunk) if chunk.final else self._grow(ts, chunk))
        self._pace.note(monotonic() - began)
        now = self._standing(external_id)
        return None if now == ts_of(external_id) else message_id(self._target.channel, now)

    async def remove(self, external_id: str) -> None:
        """Take a message away; one that is gone already is no error."""
        ts = self._standing(external_id)
        if ts in self._streams:
            await self._close(ts)
        try:
            await self._writer.delete(ts)
        except Refused:
            if ts in self._plain:
                raise
            await self._close(ts)  # a bot that ended has left it streaming
            await self._writer.delete(ts)

    async def notice(self, sentence: str, nonce: str, *, quiet: bool = False) -> None:
        """Tell a sentence in the thread, once."""
        if nonce in self._told or (self._looks_first and await self._thread.find(nonce) is not None):
            return
        await self._status.over()
        plain = Body({"markdown_text": harmless(sentence)}), Body({"text": escaped(sentence)})
        await self._first_taken(plain, lambda arguments: self._writer.post(arguments, nonce))
        self._told.add(nonce)

    def _standing(self, external_id: str) -> str:
        """The message, or the one that replaced it."""
        ts = ts_of(external_id)
        while ts in self._replaced:
            ts = self._replaced[ts]
        return ts

    # New messages

    def _may_stream(self, chunk: Chunk) -> bool:
        known = bool(self._target.asker and self._target.team)  # of a forgotten one nothing is
        return known and bool(settled(chunk.text).strip()) and self._fits(settled(chunk.text))

    async def _start(self, chunk: Chunk) -> str:
        words = settled(chunk.text)
        ts = await self._writer.start(words)
        self._streams[ts] = _Stream(words, monotonic())
        self._pace.begin()
        return message_id(self._target.channel, ts)

    async def _post(self, chunk: Chunk, *, placed: bool) -> str:
        chunk, file = await self._with_file(chunk)
        offered = self._bodies(chunk) if chunk.final else self._placeholders(chunk)
        ts, whole = await self._new(offered, chunk.nonce, placed=placed)
        await self._attach(chunk, file, whole=whole)
        return message_id(self._target.channel, ts)

    async def _new(self, offered: Iterable[Body], nonce: str, *, placed: bool = False) -> tuple[str, bool]:
        """A new message: its `ts`, and whether all of the words are in it."""
        ts = ""

        async def post(arguments: Json) -> None:
            nonlocal ts
            ts = await self._writer.post(arguments, nonce, placed=placed)

        whole = await self._first_taken(offered, post)
        self._plain.add(ts)
        return ts, whole

    # While it grows

    async def _grow(self, ts: str, chunk: Chunk) -> None:
        """Show more of it, if that makes nobody wait."""
        stream = self._streams.get(ts)
        if stream is not None:
            await self._append(ts, stream, chunk)
            if ts in self._streams and monotonic() - stream.began > STREAM_FOR_S:
                await self._make_room_after(stream, chunk)
        elif ts not in self._plain:  # a bot that ended has left it
            await self._close(ts)
            self._growing.add(ts)
        if ts in self._growing and await self._send_budget.spare(UPDATE, keep=_UPDATES_KEPT):
            try:
                await self._update(ts, chunk)
            except Refused as error:
                log.info("A preview is left out.", action="preview_refused", reason=str(error))

    async def _append(self, ts: str, stream: _Stream, chunk: Chunk) -> None:
        words = settled(chunk.text)
        more = _rest(stream.sent, words)
        if not more or stream.full or not self._fits(words) or not await self._send_budget.spare(APPEND):
            return
        try:
            await self._writer.append(ts, more)
        except (Refused, Unsure) as error:
            if isinstance(error, Refused) and error.limited:
                return  # the next preview has its words as well
            self._note_end(ts, error)
            if not _is_stopped(error):
                await self._close(ts)
                self._growing.add(ts)
        else:
            stream.sent = words

    async def _make_room_after(self, stream: _Stream, chunk: Chunk) -> None:
        """Let this message end where it is, and another stream follow it, before Slack ends this one."""
        if not stream.full and chunk.index + 1 < MAX_CHUNKS and await self._send_budget.spare(START):
            self._way, stream.full = _Way.STREAM, True
            self.cuts = (*self._cuts_before(chunk), max(_LEAST_CUT, len(chunk.text)))

    # At its end

    async def _finish(self, ts: str, chunk: Chunk) -> None:
        whole, left = True, ts not in self._plain and ts not in self._streams
        chunk, file = await self._with_file(chunk, left=left)
        if not await self._stop(ts, chunk):
            await self._close(ts)
            try:
                whole = await self._update(ts, chunk)
            except Refused as error:
                log.warning("A message cannot be changed.", action="update_refused", reason=str(error))
                whole = await self._replace(ts, chunk, left=left)
        await self._attach(chunk, file, whole=whole, left=left)

    async def _replace(self, ts: str, chunk: Chunk, *, left: bool) -> bool:
        """Another message in the place of one that Slack does not change, once; whether all of the words are in it.

        `left`: a process that ended has written the message, and may have replaced it. Raises Refused.
        """
        nonce, whole = f"{chunk.nonce}-new", True
        now = await self._thread.find(nonce) if left else None
        if now is None or now == ts:
            now, whole = await self._new(self._bodies(chunk), nonce)
        self._plain.add(now)
        self._replaced[ts] = now
        try:
            await self._writer.delete(ts)
        except Refused as error:
            log.info("What was replaced stays.", action="replaced_stays", reason=str(error))
        return whole

    async def _stop(self, ts: str, chunk: Chunk) -> bool:
        """End a stream with the rest of its text; False where that cannot be, or it is none."""
        stream, words = self._streams.get(ts), harmless(chunk.text)
        more = None if stream is None else _rest(stream.sent, words)
        if stream is None or more is None or not markdown_fits(words, self._controls(chunk)):
            return False
        try:
            if not await self._stopped_at_once(ts, more, chunk):
                more = await self._appended(ts, more)
                await self._writer.stop(ts, more, self._controls(chunk), chunk.nonce)
        except (Refused, Unsure) as error:
            self._note_end(ts, error)
            return False
        self._streams.pop(ts)
        self._plain.add(ts)
        return True

    async def _stopped_at_once(self, ts: str, more: str, chunk: Chunk) -> bool:
        """Whether the stream could be ended without a wait."""
        if not await self._send_budget.spare(STOP):
            return False
        try:
            await self._writer.stop(ts, more, self._controls(chunk), chunk.nonce, at_once=True)
        except Refused as error:
            if error.limited:
                return False
            raise
        return True

    async def _appended(self, ts: str, more: str) -> str:
        """Let the end wait for its place with everything there to read; what could not be shown."""
        if not more or not await self._send_budget.spare(APPEND):
            return more
        try:
            await self._writer.append(ts, more)
        except Refused as error:
            if error.limited:
                return more
            raise
        return ""

    def _note_end(self, ts: str, error: Refused | Unsure) -> None:
        """A stream ends before its time; after some refusals it is none already."""
        log.info("A stream has ended.", action="stream_ended", reason=str(error))
        self._streams.pop(ts, None)
        if isinstance(error, Refused) and error.refusal in _NO_STREAM:
            self._plain.add(ts)

    async def _close(self, ts: str) -> None:
        """Let the message be no stream any more, whoever began it: none is changed or taken away."""
        if ts in self._plain:
            return
        self._streams.pop(ts, None)
        self._plain.add(ts)
        try:
            await self._writer.stop(ts)
        except Refused as error:
            log.debug("It was no stream.", action="stream_ended", reason=str(error))

    async def _update(self, ts: str, chunk: Chunk) -> bool:
        async def update(arguments: Json) -> None:
            await self._writer.update(ts, arguments, preview=not chunk.final)

        return await self._first_taken(self._bodies(chunk), update)

    # A file below its beginning, or more messages where Slack takes none

    async def _with_file(self, chunk: Chunk, *, left: bool = False) -> tuple[Chunk, str | None]:
        """The chunk with its file's id: Slack has that before a message promises it. Without, where it takes no file."""
        if chunk.whole is None:
            return chunk, None
        file = await self._upload(chunk, chunk.whole, left=left)
        if self.max_chunks is not None:
            return chunk, file
        return replace(chunk, text=split(chunk.whole, self.max_chars, self.cuts)[chunk.index], whole=None), None

    async def _upload(self, chunk: Chunk, content: str, *, left: bool) -> str | None:
        """The file's id; None where Slack has it already, or takes none.

        `left`: a process that ended has written the message, and may have come as far as the file.
        """
        name = _file_of(chunk)
        if name in self._shared or self.max_chunks is None:
            return None
        if left and await self._thread.has_file(name):
            self._shared.add(name)
            return None
        try:
            return await self._writer.upload(name, content.encode())
        except Refused as error:
            self._do_without_files(error)
            return None

    async def _attach(self, chunk: Chunk, file: str | None, *, whole: bool, left: bool = False) -> None:
        """Show the file, once; also of a text that no message holds all of."""
        if not chunk.final:
            return
        if not whole and chunk.whole is None:
            file = await self._upload(chunk, chunk.text, left=left)
        if file is not None:
            try:
                await self._writer.share(file, _FILE_TITLE)
                self._shared.add(_file_of(chunk))
            except Refused as error:
                self._do_without_files(error)
        if not whole and self.max_chunks is None:
            self.cuts = self._cuts_before(chunk)
            self.max_chars = max(_LEAST_CUT, len(chunk.text) // 2)

    def _do_without_files(self, error: Refused) -> None:
        """Let what is too long for the usual number of messages come in more of them."""
        log.warning("A file is refused.", action="file_refused", reason=str(error))
        self.max_chunks = None

    def _cuts_before(self, chunk: Chunk) -> tuple[int, ...]:
        """What the messages before this one hold at most."""
        return (*self.cuts, *[self.max_chars or MAX_CHARS] * chunk.index)[: chunk.index]

    # What a message holds

    async def _first_taken(self, offered: Iterable[Body], call: Callable[[Json], Awaitable[object]]) -> bool:
        """Call with the first body that Slack takes; whether it is the whole. Raises Refused with the last one's reason."""
        refused: Refused | None = None
        for body in offered:
            try:
                await call(body.arguments)
            except Refused as error:
                refused = error
                if error.refusal not in _ABOUT_THE_BODY:
                    raise
                log.info("Slack takes no such message.", action="body_refused", reason=str(error))
            else:
                return body.whole
        assert refused is not None  # there is a body
        raise refused

    def _bodies(self, chunk: Chunk) -> Iterable[Body]:
        has_file = chunk.final and self.max_chunks is not None
        rest = text("rest_in_file", self._turn.language) if has_file else "…"
        return bodies(chunk.text, self._controls(chunk), rest=rest)

    def _placeholders(self, chunk: Chunk) -> Iterable[Body]:
        """What stands there until the whole answer does: with buttons, or as bare words."""
        words = text("thinking", self._turn.language)
        section = {"type": "section", "text": {"type": "plain_text", "text": words}}
        yield Body({"text": words, "blocks": [section, *self._controls(chunk)]})
        yield Body({"text": words})

    def _controls(self, chunk: Chunk) -> list[Json]:
        if not chunk.last:
            return []
        if chunk.final:
            return answered_blocks(chunk.turn_id, self._turn.language, chunk.choices)
        return streaming_blocks(chunk.turn_id, self._turn.language)

    def _fits(self, words: str) -> bool:
        return markdown_fits(words, answered_blocks(self._turn.turn_id, self._turn.language))


def _file_of(chunk: Chunk) -> str:
    """The file's name, by which it is known again."""
    return f"{chunk.nonce}.md"


def _is_stopped(error: Refused | Unsure) -> bool:
    """Whether a person wants to see no more of it."""
    return isinstance(error, Refused) and error.refusal == _STOPPED


def _rest(sent: str, words: str) -> str | None:
    """What of `words` is not sent; None where something else was. White space at the end is nothing."""
    if words.startswith(sent):
        return words[len(sent) :]
    return "" if sent.startswith(words) and not sent[len(words) :].strip() else None
