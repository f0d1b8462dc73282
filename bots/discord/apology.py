"""Apology: what whoever asked is told in private where Discord does not take what the bot would write. Never silence.

Best effort: people may have closed their direct messages too, and then only the log knows.
"""

from __future__ import annotations

import discord
import structlog

from bots.discord.wire import Refused, surely
from bots.texts import text

log = structlog.get_logger(__name__)

_TAKEN_AWAY = frozenset({10003, 10008})
"""The channel or the message is gone: somebody wanted it so."""


async def apologise(
    client: discord.Client, asker: int, channel: int, about: int, language: str, refused: Refused
) -> None:
    """Tell `asker` once that there is an answer to the message `about`, and why it does not come."""
    if refused.refusal in _TAKEN_AWAY:
        return
    try:
        private = await surely(lambda: client.create_dm(discord.Object(asker)), what="asker")
        sentence = text("channel_closed", language, channel=f"<#{channel}>")
        await surely(lambda: private.send(sentence, nonce=f"pjx{about}"), what="private")
    except Refused as error:
        log.warning("The asker cannot be told.", action="asker_untold", reason=str(error))
