"""Status: what `/status` says of this bot beside what it says on every platform."""

from __future__ import annotations

import discord

from bots.commands import Call, Outcome, Said, Told
from bots.texts import text


def whole_status(client: discord.Client, said: Call | Said, outcome: Outcome, language: str) -> Outcome:
    """`outcome` of what was said; of a status, with that the bot may not read messages, where it may not."""
    of_status = isinstance(said, Call) and said.name == "status"
    if not of_status or not isinstance(outcome, Told) or client.intents.message_content:
        return outcome
    return Told(f"{outcome.text}\n{text('status_degraded', language)}")
