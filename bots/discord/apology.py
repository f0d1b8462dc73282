"""Apology: what whoever asked is told in private where the bot may not write in the channel. Never silence.

Best effort: people may have closed their direct messages too, and then only the log knows.
"""

from __future__ import annotations

import discord
import structlog

from bots.discord.wire import Refused, surely
from bots.texts import text

log = structlog.get_logger(__name__)

NOT_ALLOWED = frozenset({50001, 50013})
"""No access to the channel, no permission in it."""


async def apologise(client: discord.Client, asker: int, channel: int, about: int, language: str) -> None:
    """Tell `asker` once that there is an answer to the message `about`, and why it does not come."""
    try:
        user = await surely(lambda: client.fetch_user(asker), what="asker")
        sentence = text("channel_closed", language, channel=f"<#{channel}>")
        await surely(lambda: user.send(sentence, nonce=f"pjx{about}"), what="private")
    except Refused as error:
        log.warning("The asker cannot be told.", action="asker_untold", reason=str(error))
