"""Speaker: sentences of the bot's own, which are no answers: refusals, what a command says, a file for one person.

Knows messages to reply to and people to write to; knows no Turn.
"""

from __future__ import annotations

import io
from functools import partial
from typing import Any

import discord
import structlog

from bots.discord.apology import apologise
from bots.discord.replying import as_reply
from bots.discord.sink import MAX_CHARS
from bots.discord.wire import Refused, surely
from bots.splitting import split
from bots.texts import text

log = structlog.get_logger(__name__)

File = tuple[str, bytes]


class Speaker:
    """One per client."""

    def __init__(self, client: discord.Client) -> None:
        self._client = client

    async def reply(
        self, message: discord.Message, words: str, language: str, file: File | None = None, *, kind: str
    ) -> None:
        """Reply with as many messages as it takes; the same event and `kind` again is the same reply."""
        for index, piece in enumerate(split(words, MAX_CHARS)):
            nonce = f"{message.id}-{kind}{index}"[-25:]

            async def post(piece: str = piece, nonce: str = nonce, index: int = index, **reply: Any) -> object:
                files = files_of(file) if index == 0 else []
                return await message.channel.send(piece, nonce=nonce, files=files, **reply)

            try:
                await surely(partial(as_reply, post, message.channel.id, message.id), what="reply")
            except Refused as error:
                log.warning("A reply cannot be sent.", action="reply_refused", kind=kind, reason=str(error))
                await apologise(self._client, message.author.id, message.channel.id, message.id, language, error)
                return

    async def hand_over(self, message: discord.Message, language: str, file: File) -> None:
        """Give a file to its owner alone."""

        async def post() -> object:
            return await message.author.send(text("privacy_exported", language), files=files_of(file))

        try:
            await surely(post, what="export")
        except Refused as error:
            log.info("An export cannot be handed over.", action="export_refused", reason=str(error))
            await self.reply(message, text("direct_message_closed", language), language, kind="dm")


def files_of(file: File | None) -> list[discord.File]:
    """What a message carries of it; made anew for each try to send it."""
    return [discord.File(io.BytesIO(file[1]), file[0])] if file else []
