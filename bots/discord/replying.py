"""Replying: a message as a reply to another one; as an ordinary one where the bot may not read what was said before.

Knows discord.py's calls; sends nothing of its own.
"""

from __future__ import annotations

from collections.abc import Awaitable, Callable
from typing import TypeVar

import discord

T = TypeVar("T")

_NO_HISTORY = 160002
"""Discord takes a reply only from who may read the channel's history."""


async def as_reply(send: Callable[..., Awaitable[T]], channel: int, question: int | None) -> T:
    """The result of `send`, given what makes a message a reply to the message `question`, if there is one still."""
    if question is None:
        return await send()
    reference = discord.MessageReference(message_id=question, channel_id=channel, fail_if_not_exists=False)
    try:
        return await send(reference=reference)
    except discord.Forbidden as error:
        if error.code != _NO_HISTORY:
            raise
        return await send()
