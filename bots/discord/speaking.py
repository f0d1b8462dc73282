"""Speaker: sentences of the bot's own, which are no answers: refusals, what a command says, a file for one person.

Knows messages to reply to and people to write to; knows no Turn.
"""

from __future__ import annotations

import io

import discord
import structlog

from bots.discord.apology import NOT_ALLOWED, apologise
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
        reference = discord.MessageReference(
            message_id=message.id, channel_id=message.channel.id, fail_if_not_exists=False
        )
        for index, piece in enumerate(split(words, MAX_CHARS)):
            nonce = f"{message.id}-{kind}{index}"[-25:]

            async def post(piece: str = piece, nonce: str = nonce, index: int = index) -> object:
                files = files_of(file) if index == 0 else []
                return await message.channel.send(piece, nonce=nonce, reference=reference, files=files)

            try:
                await surely(post, what="reply")
            except Refused as error:
                log.warning("A reply cannot be sent.", action="reply_refused", kind=kind, reason=str(error))
                if error.refusal in NOT_ALLOWED:
                    await apologise(self._client, message.author.id, message.channel.id, message.id, language)
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
