"""DiscordSink: an answer onto Discord, as messages in a channel or as the completion of an interaction.

Knows the calls, their nonces and which way a message goes: an interaction's own while its token lives, the channel's
otherwise, and for what one person alone is to see, their direct messages. Knows no ledger: what was sent is asked of it
by the id that it returned.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import asynccontextmanager
from dataclasses import replace
from datetime import UTC, datetime, timedelta
from functools import partial
from time import monotonic
from typing import Any, TypeVar

import discord
import structlog

from bots.delivery import Chunk, ReplySink
from bots.discord.apology import apologise
from bots.discord.controls import answered_view, streaming_view
from bots.discord.replying import as_reply
from bots.discord.targets import Target
from bots.discord.ways import ORIGINAL, Ways
from bots.discord.wire import TOO_MANY_OLD_EDITS, Refused, surely
from bots.pacing import Allowance, EditBudget
from bots.splitting import ended
from bots.texts import text

T = TypeVar("T")

log = structlog.get_logger(__name__)

MAX_CHARS = 2_000
MAX_CHUNKS = 5
"""A longer answer becomes a file below its beginning."""

UNREAD_AFTER = timedelta(seconds=20)
"""An answer that was edited for longer looks read to whoever left meanwhile: its end is then told by a message."""

_UNKNOWN_MESSAGE, _NO_PERMISSION = 10008, 50013
_FILE_NAME = "answer.md"


class DiscordSink(ReplySink):
    """A ReplySink of one Turn."""

    max_chars: int | None = MAX_CHARS
    max_chunks: int | None = MAX_CHUNKS

    def __init__(
        self,
        client: discord.Client,
        target: Target,
        language: str,
        budget: EditBudget,
        allowance: Allowance,
        on_shown: Callable[[], None],
    ) -> None:
        self._client, self._target, self._language = client, target, language
        self._budget, self._allowance, self._on_shown = budget, allowance, on_shown
        self._ways = Ways(client, target)
        self._completed = False  # whether the interaction shows something other than that it is being thought about

    def edit_interval_s(self) -> float:
        """Seconds until this answer may be edited again."""
        return self._budget.interval_s()

    async def send(self, chunk: Chunk) -> str:
        """Make a new message, the first one as the interaction's own, where there is one."""
        async with self._apologising():
            message = await self._with_file_or_without(self._send, chunk)
        self._completed = True
        self._on_shown()
        return self._ways.external_id(message)

    async def _send(self, chunk: Chunk) -> discord.Message:
        async def complete() -> discord.Message:
            return await self._ways.interaction().edit_message(ORIGINAL, **self._body(chunk))

        async def post() -> discord.Message:
            question = self._target.reply_to if chunk.index == 0 else None
            return await as_reply(write, self._target.channel, question)

        async def write(**reply: Any) -> discord.Message:
            return await self._ways.channel.send(nonce=chunk.nonce, **reply, **_sendable(self._body(chunk)))

        async def follow_up() -> discord.Message:
            body = _sendable(self._body(chunk))
            return await self._ways.interaction().send(wait=True, ephemeral=self._target.ephemeral, **body)

        async def whisper() -> discord.Message:
            return await self._whisper(chunk)

        first = chunk.index == 0 and self._target.token_lives
        after = (follow_up, whisper) if self._target.ephemeral else (post, follow_up)
        return await self._ways.first_of("send", complete if first else None, *after)

    async def edit(self, external_id: str, chunk: Chunk) -> None:
        """Give the message another text and the buttons that belong to it now.

        A preview that somebody would have to wait for is left out: the next one has its text as well.
        """
        if not chunk.final and not self._allowance.spare():
            return
        began = monotonic()
        async with self._apologising():
            try:
                await self._with_file_or_without(partial(self._edit, external_id), chunk)
            except Refused as error:
                if error.refusal != TOO_MANY_OLD_EDITS:
                    raise
                if chunk.final:
                    await self.notice(chunk.text, f"{chunk.nonce}-new")
        self._budget.note(monotonic() - began)
        if chunk.final and chunk.last and not self._target.ephemeral and _age(external_id) > UNREAD_AFTER:
            await self._tell_end(external_id, chunk)

    async def remove(self, external_id: str) -> None:
        """Take a message away; one that is gone already is no error."""
        message = self._ways.message(external_id)

        async def withdraw() -> None:
            await self._ways.interaction().delete_message(message.id)

        try:
            await self._ways.first_of("remove", message.delete, withdraw)
        except Refused as error:
            if error.refusal != _UNKNOWN_MESSAGE:
                raise

    async def notice(self, sentence: str, nonce: str, *, quiet: bool = False) -> None:
        """Tell a sentence: as the interaction's completion where it has none yet, else as a reply, which pings the asker
        unless it is `quiet`.
        """
        calls: dict[str, Any] = {"mention_author": False, "silent": True} if quiet else {}

        async def complete() -> None:
            await self._ways.interaction().edit_message(ORIGINAL, content=sentence)

        async def post() -> None:
            await as_reply(write, self._target.channel, self._target.reply_to)

        async def write(**reply: Any) -> None:
            await self._ways.channel.send(sentence, nonce=nonce, **reply, **calls)

        async def follow_up() -> None:
            await self._ways.interaction().send(sentence, ephemeral=self._target.ephemeral, silent=quiet)

        async def whisper() -> None:
            await (await self._ways.private()).send(sentence, nonce=nonce, silent=quiet)

        first = self._target.token_lives and not self._completed
        after = (follow_up, whisper) if self._target.ephemeral else (post, follow_up)
        async with self._apologising():
            await self._ways.first_of("notice", complete if first else None, *after)
        self._completed = True
        self._on_shown()

    async def _edit(self, external_id: str, chunk: Chunk) -> None:
        message = self._ways.message(external_id)
        whispered = message.channel.id != self._target.channel

        async def complete() -> object:
            return await self._ways.interaction().edit_message(ORIGINAL, **self._body(chunk))

        async def follow_up() -> object:
            return await self._ways.interaction().edit_message(message.id, **self._body(chunk))

        async def change() -> object:
            return await message.edit(**self._body(chunk, buttons=not whispered))

        async def whisper() -> object:  # what stands there cannot be changed any more
            return await self._whisper(chunk) if chunk.final else None

        first = complete if chunk.index == 0 else None
        ways: tuple[Callable[[], Awaitable[object]] | None, ...]
        if whispered:
            ways = (change,)
        elif self._target.ephemeral:
            ways = (first, follow_up, whisper)
        else:
            ways = (first, change, follow_up)
        await self._ways.first_of("edit", *ways)
        self._completed = self._completed or chunk.index == 0

    async def _whisper(self, chunk: Chunk) -> discord.Message:
        """Bring the chunk to the asker's direct messages, where the buttons of this place mean nothing."""
        body = _sendable(self._body(chunk, buttons=False))
        return await (await self._ways.private()).send(nonce=chunk.nonce, **body)

    async def _tell_end(self, external_id: str, chunk: Chunk) -> None:
        sentence = text("answer_complete", self._language, link=self._ways.message(external_id).jump_url)
        try:
            await surely(lambda: self._ways.channel.send(sentence, nonce=f"{chunk.nonce}-end", silent=True), what="end")
        except Refused as error:  # the answer is there all the same
            log.info("The end cannot be told.", action="end_untold", turn_id=chunk.turn_id, reason=str(error))

    @asynccontextmanager
    async def _apologising(self) -> AsyncIterator[None]:
        """Where Discord refuses what is done inside the block, the asker is told in private."""
        try:
            yield
        except Refused as error:
            target = self._target
            if target.asker is not None:
                about = target.reply_to or target.interaction or 0
                await apologise(self._client, target.asker, target.channel, about, self._language, error)
            raise

    async def _with_file_or_without(self, write: Callable[[Chunk], Awaitable[T]], chunk: Chunk) -> T:
        """Write the chunk; where the bot may attach no files, its text alone, which says so."""
        try:
            return await write(chunk)
        except Refused as error:
            if chunk.whole is None or error.refusal != _NO_PERMISSION:
                raise
            beginning = chunk.text.removesuffix(text("rest_in_file", self._language)).rstrip()
            words = ended(beginning, MAX_CHARS, text("rest_unattached", self._language))
            return await write(replace(chunk, text=words, whole=None))

    def _body(self, chunk: Chunk, *, buttons: bool = True) -> dict[str, Any]:
        """What the message holds: text, buttons, and the file of a long answer."""
        view = None
        if chunk.last and buttons:
            view = (
                answered_view(chunk.turn_id, self._language, chunk.choices)
                if chunk.final
                else streaming_view(chunk.turn_id, self._language)
            )
        whole = [discord.File(io.BytesIO(chunk.whole.encode()), _FILE_NAME)] if chunk.whole is not None else []
        return {"content": chunk.text, "view": view, "attachments": whole}


def _sendable(body: dict[str, Any]) -> dict[str, Any]:
    """The body of an edit as that of a new message, which names files and takes no empty view."""
    sendable = {"content": body["content"], "files": body["attachments"]}
    return {**sendable, "view": body["view"]} if body["view"] is not None else sendable


def _age(external_id: str) -> timedelta:
    return datetime.now(UTC) - discord.utils.snowflake_time(int(external_id))
