"""DiscordSink: an answer onto Discord, as messages in a channel or as the completion of an interaction.

Knows the calls, their nonces and which of two ways a message goes: an interaction's own while its token lives, the
channel's otherwise. Knows no ledger: what was sent is asked of it by the id that it returned.
"""

from __future__ import annotations

import io
from collections.abc import AsyncIterator, Awaitable, Callable
from contextlib import AbstractContextManager, asynccontextmanager, nullcontext
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
from bots.discord.indicator import TypingIndicators
from bots.discord.places import channel_of
from bots.discord.replying import as_reply
from bots.discord.targets import Target
from bots.discord.wire import TOO_MANY_OLD_EDITS, Refused, surely
from bots.pacing import Allowance, EditBudget, EditBudgets
from bots.splitting import ended
from bots.texts import text
from core.history import TurnView

T = TypeVar("T")

log = structlog.get_logger(__name__)

MAX_CHARS = 2_000
MAX_CHUNKS = 5
"""A longer answer becomes a file below its beginning."""

EDITS_PER_S = 0.9
"""Of one channel; Discord allows about five in five seconds."""

EDITS_TOGETHER_PER_S = 30.0
"""Of all channels; some of what is allowed is left for what somebody waits for."""

UNREAD_AFTER = timedelta(seconds=20)
"""An answer that was edited for longer looks read to whoever left meanwhile: its end is then told by a message."""

_OF_AN_INTERACTION = discord.WebhookType.application.value
_ORIGINAL: Any = "@original"  # discord.py asks for a number, and Discord takes this word as well
_UNKNOWN_MESSAGE, _NO_PERMISSION = 10008, 50013
_NO_WAY = frozenset({10003, 10008, 10015, 10062, 50001, 50013, 50027})
"""Unknown channel, message, webhook or interaction; no access, no permission, a token that ended: try the other way."""

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
        self._channel = client.get_partial_messageable(target.channel)
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
        return str(message.id)

    async def _send(self, chunk: Chunk) -> discord.Message:
        async def complete() -> discord.Message:
            return await self._webhook().edit_message(_ORIGINAL, **self._body(chunk))

        async def post() -> discord.Message:
            question = self._target.reply_to if chunk.index == 0 else None
            return await as_reply(write, self._target.channel, question)

        async def write(**reply: Any) -> discord.Message:
            return await self._channel.send(nonce=chunk.nonce, **reply, **_sendable(self._body(chunk)))

        async def follow_up() -> discord.Message:
            body = _sendable(self._body(chunk))
            return await self._webhook().send(wait=True, ephemeral=self._target.ephemeral, **body)

        first = chunk.index == 0 and self._target.token_lives
        after = (follow_up, post) if self._target.ephemeral else (post, follow_up)
        return await self._by_any_of("send", complete if first else None, *after)

    async def edit(self, external_id: str, chunk: Chunk) -> None:
        """Give the message another text and the buttons that belong to it now.

        A preview that somebody would have to wait for is left out: the next one has its text as well.
        """
        if not chunk.final and not self._allowance.spare():
            return
        began = monotonic()
        async with self._apologising():
            try:
                await self._with_file_or_without(partial(self._edit, int(external_id)), chunk)
            except Refused as error:
                if error.refusal != TOO_MANY_OLD_EDITS:
                    raise
                if chunk.final:
                    await self.notice(chunk.text, f"{chunk.nonce}-new")
        self._budget.note(monotonic() - began)
        if chunk.final and chunk.last and not self._target.ephemeral and _age(external_id) > UNREAD_AFTER:
            await self._tell_end(int(external_id), chunk)

    async def remove(self, external_id: str) -> None:
        """Take a message away; one that is gone already is no error."""
        message = self._channel.get_partial_message(int(external_id))

        async def withdraw() -> None:
            await self._webhook().delete_message(int(external_id))

        try:
            await self._by_any_of("remove", message.delete, withdraw)
        except Refused as error:
            if error.refusal != _UNKNOWN_MESSAGE:
                raise

    async def notice(self, sentence: str, nonce: str, *, quiet: bool = False) -> None:
        """Tell a sentence: as the interaction's completion where it has none yet, else as a reply, which pings the asker
        unless it is `quiet`.
        """
        calls: dict[str, Any] = {"mention_author": False, "silent": True} if quiet else {}

        async def complete() -> None:
            await self._webhook().edit_message(_ORIGINAL, content=sentence)

        async def post() -> None:
            await as_reply(write, self._target.channel, self._target.reply_to)

        async def write(**reply: Any) -> None:
            await self._channel.send(sentence, nonce=nonce, **reply, **calls)

        async def follow_up() -> None:
            await self._webhook().send(sentence, ephemeral=self._target.ephemeral, silent=quiet)

        first = self._target.token_lives and not self._completed
        after = (follow_up, post) if self._target.ephemeral else (post, follow_up)
        async with self._apologising():
            await self._by_any_of("notice", complete if first else None, *after)
        self._completed = True
        self._on_shown()

    async def _edit(self, message_id: int, chunk: Chunk) -> None:
        async def complete() -> object:
            return await self._webhook().edit_message(_ORIGINAL, **self._body(chunk))

        async def follow_up() -> object:
            return await self._webhook().edit_message(message_id, **self._body(chunk))

        async def change() -> object:
            return await self._channel.get_partial_message(message_id).edit(**self._body(chunk))

        await self._by_any_of("edit", complete if chunk.index == 0 else None, change, follow_up)
        self._completed = self._completed or chunk.index == 0

    async def _tell_end(self, message_id: int, chunk: Chunk) -> None:
        message = self._channel.get_partial_message(message_id)
        sentence = text("answer_complete", self._language, link=message.jump_url)
        try:
            await surely(lambda: self._channel.send(sentence, nonce=f"{chunk.nonce}-end", silent=True), what="end")
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

    async def _by_any_of(self, what: str, *ways: Callable[[], Awaitable[T]] | None) -> T:
        """The result of the first way that Discord takes. Raises Refused with the last one's reason."""
        refused: Refused | None = None
        for way in ways:
            if way is None:
                continue
            try:
                return await surely(way, what=what)
            except _NoToken:
                continue
            except Refused as error:
                refused = error
                if error.refusal not in _NO_WAY:
                    raise
        assert refused is not None  # the channel's own way is always tried
        raise refused

    def _webhook(self) -> discord.Webhook:
        """The interaction's own way. Raises _NoToken where there is none, or none any more."""
        if not self._target.token_lives or self._client.application_id is None:
            raise _NoToken
        data: Any = {"id": self._client.application_id, "type": _OF_AN_INTERACTION, "token": self._target.token}
        state = self._client._connection  # noqa: SLF001 - as discord.py does it itself: `partial` knows no proxy
        return discord.Webhook.from_state(data, state=state)

    def _body(self, chunk: Chunk) -> dict[str, Any]:
        """What the message holds: text, buttons, and the file of a long answer."""
        view = None
        if chunk.last:
            view = (
                answered_view(chunk.turn_id, self._language, chunk.choices)
                if chunk.final
                else streaming_view(chunk.turn_id, self._language)
            )
        whole = [discord.File(io.BytesIO(chunk.whole.encode()), _FILE_NAME)] if chunk.whole is not None else []
        return {"content": chunk.text, "view": view, "attachments": whole}


class _NoToken(Exception):
    """There is no interaction to complete."""


class Sinks:
    """Opens the sink of a Turn, with typing shown until there is something to read."""

    def __init__(self, client: discord.Client, allowance: Allowance, typing: TypingIndicators) -> None:
        self._client, self._allowance, self._typing = client, allowance, typing
        self._budgets = EditBudgets(EDITS_PER_S, EDITS_TOGETHER_PER_S)

    @asynccontextmanager
    async def open(self, turn: TurnView) -> AsyncIterator[DiscordSink]:
        """The sink of the Turn, for as long as it is delivered."""
        target = _target(turn)
        with self._budgets.streaming(str(target.channel)) as budget, self.waiting(turn) as on_shown:
            yield DiscordSink(self._client, target, turn.language, budget, self._allowance, on_shown)

    def waiting(self, turn: TurnView) -> AbstractContextManager[Callable[[], None]]:
        """Typing, where the answer is still to come; an interaction shows by itself that it is thought about."""
        target = _target(turn)
        if turn.state.ended or target.token_lives:
            return nullcontext(_nothing)
        return self._typing.shown(target.channel)


def _target(turn: TurnView) -> Target:
    return Target.model_validate({"channel": channel_of(turn.place), **turn.target})  # a forgotten one is empty


def _nothing() -> None:
    """Nothing is shown that would end."""


def _sendable(body: dict[str, Any]) -> dict[str, Any]:
    """The body of an edit as that of a new message, which names files and takes no empty view."""
    sendable = {"content": body["content"], "files": body["attachments"]}
    return {**sendable, "view": body["view"]} if body["view"] is not None else sendable


def _age(external_id: str) -> timedelta:
    return datetime.now(UTC) - discord.utils.snowflake_time(int(external_id))
