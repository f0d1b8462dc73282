"""Target: where on Discord an answer goes, as it is kept with the Turn.

Knows ids and the life of an interaction's token; sends nothing.
"""

from __future__ import annotations

from datetime import UTC, datetime, timedelta

import discord

from core.values import Value

INTERACTION_LIFE = timedelta(minutes=14)
"""An interaction's token lives 15 minutes; what is begun in the last one may come too late."""


class Target(Value):
    """Where an answer goes. With `token` it first completes the interaction `interaction`, while that lives.

    `reply_to` is the message that is answered; `asker` is who wrote it; `ephemeral`: only the asker sees the answer.
    """

    channel: int
    reply_to: int | None = None
    asker: int | None = None
    interaction: int | None = None
    token: str | None = None
    ephemeral: bool = False

    @property
    def token_lives(self) -> bool:
        """Whether the interaction can still be completed."""
        if self.token is None or self.interaction is None:
            return False
        return datetime.now(UTC) - discord.utils.snowflake_time(self.interaction) < INTERACTION_LIFE
